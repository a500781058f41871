package simulation

import (
	"fmt"
	"strings"
	"time"

	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
)

// mailbox is what one receiver of alerts has got.
type mailbox struct {
	url  string
	open map[string]*open // incidents that it takes for open
	last map[string]sent  // the last message of each subject
	// lossy says that messages may be missing, which was nobody's fault.
	lossy bool
	life  int
}

// open is an incident as a receiver sees it.
type open struct {
	since, critical time.Time
}

type sent struct {
	text string
	at   time.Time
	life int
}

// killed is the end of a life: what was under way may come twice.
func (m *mailbox) killed() { m.life++ }

// subjectOf is what a message is about.
func subjectOf(title, text string) string {
	_, rest, _ := strings.Cut(title, "] ")
	key, _, _ := strings.Cut(rest, " on ")
	if key != "watchdog" {
		return "service " + key
	}
	switch {
	case strings.Contains(text, "overloaded"):
		return "overload"
	case strings.Contains(text, "storm"):
		return "throttle"
	}
	return "engine"
}

// received is a message that a receiver has taken.
func (a *auditor) received(r *request) {
	d := r.send
	m := a.mailboxes[d.URL]
	text, _, _ := strings.Cut(d.Text, "\n")
	a.w.say("%s gets %s %s", d.URL, d.Title, text)
	a.w.count("alerts")
	subject := subjectOf(d.Title, text)
	now := time.Now()
	last := m.last[subject]
	m.last[subject] = sent{d.Title + text, now, m.life}
	if last.text == d.Title+text && last.life != m.life {
		return // it came twice, since the watchdog was killed in between
	}
	rest, resolved := strings.CutPrefix(text, "resolved: ")
	_, escalated := strings.CutPrefix(text, "unresolved for ")
	switch o := m.open[subject]; {
	case resolved:
		if o == nil && !m.lossy && !a.loose(subject) {
			a.w.fail("incidents", "%s is told that %s is over (%s), and knew of nothing", d.URL, subject, rest)
		}
		delete(m.open, subject)
	case escalated && d.URL == "escalation":
		m.open[subject] = &open{now, now}
	case d.Severity == recovery.Info, d.Severity == recovery.Warning && a.brief(subject, text):
	default:
		if o == nil {
			o = &open{since: now}
			m.open[subject] = o
		}
		if d.Severity == recovery.Critical && o.critical.IsZero() {
			o.critical = now
		}
		if last.text == d.Title+text && now.Sub(last.at) < notifyEvery && !m.lossy {
			a.w.fail("incidents", "%s is told twice: %s: %s", d.URL, d.Title, text)
		}
	}
}

// loose says whether a service is watched by some lives of the watchdog, and not
// by others: not all that is said of it opens an incident.
func (a *auditor) loose(subject string) bool {
	for _, s := range a.w.history.specs {
		if "service "+s.key() == subject {
			return s.labels["watchdog.enable"] == ""
		}
	}
	return false
}

// brief says whether an alert is about something that is over as it is sent.
func (a *auditor) brief(subject, text string) bool {
	if strings.HasPrefix(text, "restarted: ") {
		for _, s := range a.w.history.specs {
			if "service "+s.key() == subject {
				return !settings(a.w.people.all).Watched(recovery.Container{Labels: s.fullLabels(), HasHealthcheck: s.checked})
			}
		}
	}
	if strings.HasPrefix(text, "not restarted, since its action is ") && strings.HasSuffix(text, " was restarted") {
		a.w.count("not restarted after another")
		return true
	}
	return strings.HasPrefix(text, "dry run: ") || strings.HasPrefix(text, "unhealthy after a restart, and not watched")
}

// incidents compares what the receivers know with what is open.
func (a *auditor) incidents(state alert.State) {
	for url, m := range a.mailboxes {
		if m.lossy {
			continue
		}
		for subject, o := range m.open {
			if state.Incidents[subject] == nil {
				a.w.fail("incidents", "%s was never told that %s is over, open for %s", url, subject, time.Since(o.since))
			}
		}
		for subject, inc := range state.Incidents {
			if m.open[subject] == nil && (url == "all" || url == "critical" && !inc.Critical.IsZero()) {
				a.w.fail("incidents", "%s was never told of %s: %s", url, subject, fmt.Sprint(inc.Last))
			}
			if url == "escalation" && m.open[subject] == nil && !inc.Critical.IsZero() && time.Since(inc.Critical) > escalateAfter+time.Minute && time.Since(a.w.life.began) > time.Minute {
				a.w.fail("incidents", "%s is critical since %s, and was not escalated", subject, time.Since(inc.Critical))
			}
		}
	}
}
