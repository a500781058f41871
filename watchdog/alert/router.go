package alert

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"healthcheck/watchdog/recovery"
)

// Sink is where alerts of a severity, and of all above it, are sent.
type Sink struct {
	MinSeverity recovery.Severity
	URL         string
}

// Escalation is where a critical alert goes as well that is not resolved
// within a time.
type Escalation struct {
	After time.Duration
	URL   string
}

// Delivery is one message for one receiver.
type Delivery struct {
	URL, Title, Text string
}

// rank orders the severities.
func rank(s recovery.Severity) int {
	return slices.Index([]recovery.Severity{recovery.Info, recovery.Warning, recovery.Critical}, s)
}

// ParseSeverity reads a severity's name.
func ParseSeverity(text string) (recovery.Severity, error) {
	if s := recovery.Severity(strings.ToLower(text)); rank(s) >= 0 {
		return s, nil
	}
	return "", fmt.Errorf("%q is not info, warning or critical", text)
}

// Router decides who receives an alert. It is pure: time comes in with each
// call. The end of an incident goes to everybody whom its alerts went to.
type Router struct {
	Sinks       []Sink
	Escalations []Escalation
	// Every is how long the same alert is not repeated.
	Every time.Duration
	// Host is named in every message.
	Host string

	open map[string]*incident
	sent map[string]time.Time
}

// incident is something that is wrong, from its first alert to its end.
type incident struct {
	action    recovery.Action
	since     time.Time       // of the first critical alert; zero: none yet
	notified  map[string]bool // by URL
	escalated map[int]bool
}

// subject is what an alert and its resolution are about.
func subject(a recovery.Action) string {
	switch a.Event {
	case recovery.EventEngineLost, recovery.EventEngineBack:
		return "engine"
	case recovery.EventThrottled, recovery.EventThrottleOver:
		return "throttle"
	case recovery.EventOrphaned:
		return a.Key + "/orphan"
	}
	return a.Key
}

// Route takes an alert and returns the messages that it makes.
func (r *Router) Route(a recovery.Action, now time.Time) []Delivery {
	if r.open == nil {
		r.open, r.sent = map[string]*incident{}, map[string]time.Time{}
	}
	id := subject(a)
	inc := r.open[id]
	var urls []string
	if !r.repeated(id+"/"+string(a.Event), now) {
		for _, s := range r.Sinks {
			if rank(s.MinSeverity) <= rank(a.Severity) {
				urls = append(urls, s.URL)
			}
		}
	}
	if a.Severity == recovery.Info {
		if inc != nil {
			for _, url := range r.receivers() {
				if inc.notified[url] {
					urls = append(urls, url)
				}
			}
			delete(r.open, id)
		}
		return r.deliver(a, "resolved: ", urls)
	}
	if inc == nil {
		inc = &incident{notified: map[string]bool{}, escalated: map[int]bool{}}
		r.open[id] = inc
	}
	inc.action = a
	if a.Severity == recovery.Critical && inc.since.IsZero() {
		inc.since = now
	}
	for _, url := range urls {
		inc.notified[url] = true
	}
	return r.deliver(a, "", urls)
}

// repeated says whether an alert was sent a short time ago, and notes it.
func (r *Router) repeated(key string, now time.Time) bool {
	if last, ok := r.sent[key]; ok && now.Sub(last) < r.Every {
		return true
	}
	for k, t := range r.sent {
		if now.Sub(t) >= r.Every {
			delete(r.sent, k)
		}
	}
	r.sent[key] = now
	return false
}

// receivers lists the receivers in their order.
func (r *Router) receivers() (urls []string) {
	for _, s := range r.Sinks {
		urls = append(urls, s.URL)
	}
	for _, e := range r.Escalations {
		urls = append(urls, e.URL)
	}
	return urls
}

// Tick escalates what has been open too long.
func (r *Router) Tick(now time.Time) (out []Delivery) {
	for _, id := range slices.Sorted(maps.Keys(r.open)) {
		inc := r.open[id]
		for i, e := range r.Escalations {
			if inc.since.IsZero() || inc.escalated[i] || now.Sub(inc.since) < e.After {
				continue
			}
			inc.escalated[i], inc.notified[e.URL] = true, true
			out = append(out, r.deliver(inc.action, fmt.Sprintf("unresolved for %s: ", e.After), []string{e.URL})...)
		}
	}
	return out
}

// Next is when Tick will have something to do; zero for never.
func (r *Router) Next() (next time.Time) {
	for _, inc := range r.open {
		for i, e := range r.Escalations {
			if due := inc.since.Add(e.After); !inc.since.IsZero() && !inc.escalated[i] && (next.IsZero() || due.Before(next)) {
				next = due
			}
		}
	}
	return next
}

func (r *Router) deliver(a recovery.Action, prefix string, urls []string) (out []Delivery) {
	slices.Sort(urls)
	title, text := message(a, r.Host, prefix)
	for _, url := range slices.Compact(urls) {
		out = append(out, Delivery{url, title, text})
	}
	return out
}
