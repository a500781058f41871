package watchdog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Sink is where alerts of a severity, and of all above it, are sent.
type Sink struct {
	Least Severity
	URL   string
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
func (s Severity) rank() int { return slices.Index([]Severity{Info, Warning, Critical}, s) }

// ParseSeverity reads a severity's name.
func ParseSeverity(text string) (Severity, error) {
	if s := Severity(strings.ToLower(text)); s.rank() >= 0 {
		return s, nil
	}
	return "", fmt.Errorf("%q is not info, warning or critical", text)
}

// Book decides who is told what. It is pure, like the machine: time comes in
// with each call. What has begun is told to be over wherever it was told.
type Book struct {
	Sinks       []Sink
	Escalations []Escalation
	// Every is how long the same alert is not repeated.
	Every time.Duration
	// Host is named in every message.
	Host string

	open map[string]*incident
	sent map[string]time.Time
}

// incident is something that is wrong and was told.
type incident struct {
	action    Action
	since     time.Time       // of the first critical alert; zero: none yet
	told      map[string]bool // by URL
	escalated map[int]bool
}

// subject is what an alert and its resolution are about.
func subject(a Action) string {
	switch a.Topic {
	case "engine-lost", "engine-back":
		return "engine"
	case "storm", "storm-over":
		return "storm"
	case "orphan":
		return a.Key + "/orphan"
	}
	return a.Key
}

// Take takes an alert and returns who is to be told.
func (b *Book) Take(a Action, now time.Time) []Delivery {
	if b.open == nil {
		b.open, b.sent = map[string]*incident{}, map[string]time.Time{}
	}
	id := subject(a)
	inc := b.open[id]
	var urls []string
	if !b.repeated(id+"/"+a.Topic, now) {
		for _, s := range b.Sinks {
			if s.Least.rank() <= a.Severity.rank() {
				urls = append(urls, s.URL)
			}
		}
	}
	if a.Severity == Info {
		if inc != nil {
			for _, url := range b.all() {
				if inc.told[url] {
					urls = append(urls, url)
				}
			}
			delete(b.open, id)
		}
		return b.deliver(a, "resolved: ", urls)
	}
	if inc == nil {
		inc = &incident{told: map[string]bool{}, escalated: map[int]bool{}}
		b.open[id] = inc
	}
	inc.action = a
	if a.Severity == Critical && inc.since.IsZero() {
		inc.since = now
	}
	for _, url := range urls {
		inc.told[url] = true
	}
	return b.deliver(a, "", urls)
}

// repeated says whether an alert was sent a short time ago, and notes it.
func (b *Book) repeated(key string, now time.Time) bool {
	if last, ok := b.sent[key]; ok && now.Sub(last) < b.Every {
		return true
	}
	for k, t := range b.sent {
		if now.Sub(t) >= b.Every {
			delete(b.sent, k)
		}
	}
	b.sent[key] = now
	return false
}

// all lists the receivers in their order.
func (b *Book) all() (urls []string) {
	for _, s := range b.Sinks {
		urls = append(urls, s.URL)
	}
	for _, e := range b.Escalations {
		urls = append(urls, e.URL)
	}
	return urls
}

// Tick escalates what has waited too long.
func (b *Book) Tick(now time.Time) (out []Delivery) {
	for _, id := range slices.Sorted(maps.Keys(b.open)) {
		inc := b.open[id]
		for i, e := range b.Escalations {
			if inc.since.IsZero() || inc.escalated[i] || now.Sub(inc.since) < e.After {
				continue
			}
			inc.escalated[i], inc.told[e.URL] = true, true
			out = append(out, b.deliver(inc.action, fmt.Sprintf("unresolved for %s: ", e.After), []string{e.URL})...)
		}
	}
	return out
}

// Next is when Tick will have something to do; zero for never.
func (b *Book) Next() (next time.Time) {
	for _, inc := range b.open {
		for i, e := range b.Escalations {
			if due := inc.since.Add(e.After); !inc.since.IsZero() && !inc.escalated[i] && (next.IsZero() || due.Before(next)) {
				next = due
			}
		}
	}
	return next
}

func (b *Book) deliver(a Action, prefix string, urls []string) (out []Delivery) {
	slices.Sort(urls)
	for _, url := range slices.Compact(urls) {
		title, text := b.message(a, prefix)
		out = append(out, Delivery{url, title, text})
	}
	return out
}

// message is what a person reads: what, where, why, and what comes next.
func (b *Book) message(a Action, prefix string) (title, text string) {
	what := orElse(a.Key, "watchdog")
	title = fmt.Sprintf("[%s] %s on %s", a.Severity, what, b.Host)
	lines := []string{prefix + a.Text}
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, name+": "+value)
		}
	}
	add("service", a.Key)
	if a.Name != a.Key {
		add("container", a.Name)
	}
	add("host", b.Host)
	if a.Attempt > 0 {
		add("attempt", fmt.Sprintf("%d of %d", a.Attempt, a.Policy.MaxAttempts))
	}
	add("next", nextStep(a))
	if a.Severity != Info {
		add("last output of the failed probe", printable(a.Output))
	}
	return title, strings.Join(lines, "\n")
}

// nextStep says what will happen by itself.
func nextStep(a Action) string {
	switch a.Topic {
	case "restarted":
		if a.Attempt >= a.Policy.MaxAttempts {
			return "if this does not help, it is left alone"
		}
		return "if this does not help, restart " + fmt.Sprint(a.Attempt+1) + " comes after " + a.Policy.Delay(a.Attempt).String()
	case "gave-up":
		return "nothing, until it is healthy, recreated, or reset (watchdog reset " + a.Name + ")"
	case "storm":
		return "the restarts that are held back follow as the guard allows"
	case "engine-lost":
		return "it is tried again, for ever"
	}
	return ""
}

// printable keeps a probe's output to what no terminal or chat obeys.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}
