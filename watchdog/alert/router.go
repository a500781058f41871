package alert

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
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
	// Format is how alerts read there; nil: as the router's.
	Format *Format
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
	// Severity decides how long it is tried.
	Severity recovery.Severity
	// Fault is why the receiver's own template was not used; empty: it was, or
	// there is none.
	Fault string
}

// rank orders the severities; -1 for none of them.
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

// Incident is something that is wrong, from its first alert to its end.
type Incident struct {
	Opened time.Time `json:"opened"`
	// Critical is when it became critical; zero: it is not.
	Critical time.Time `json:"critical,omitzero"`
	// Last is its last alert, which escalations repeat.
	Last Message `json:"last"`
	// Sent is when each kind of alert was last sent, Notified the receivers
	// that have got any, and Escalated the escalations that were made.
	Sent      map[recovery.Event]time.Time `json:"sent"`
	Notified  []string                     `json:"notified,omitempty"`
	Escalated []string                     `json:"escalated,omitempty"`
}

// Pending is a message that its receiver has not taken yet.
type Pending struct {
	Receiver string            `json:"receiver"`
	Severity recovery.Severity `json:"severity"`
	Title    string            `json:"title"`
	Text     string            `json:"text"`
}

// State is what must survive a restart of the watchdog: the incidents that are
// open, by what they are about, and the messages on their way. Receivers are
// named by a hash, since an address may hold a token.
type State struct {
	Incidents map[string]*Incident `json:"incidents,omitempty"`
	Pending   []Pending            `json:"pending,omitempty"`
}

// Has says whether the incident that an alert of this event opens is open: of
// those about the host or the engine, not about one service.
func (s State) Has(event recovery.Event) bool {
	return s.Incidents[Subject(event, "")] != nil
}

// receiverID names a receiver without its address.
func receiverID(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:6])
}

// Router decides who receives an alert. It is pure: time comes in with each
// call. The end of an incident goes to everybody whom its alerts went to, and
// ends the suppression of repeated alerts with it (as prometheus/alertmanager
// does, notify/notify.go).
type Router struct {
	// Sinks receive what is about all services, and about those that name no
	// receivers of their own; Named are the others, by name.
	Sinks []Sink
	Named map[string][]Sink
	// Format is how alerts read where the receiver has none of its own; nil: the
	// built-in form.
	Format      *Format
	Escalations []Escalation
	// Every is how long the same alert of an incident is not repeated.
	Every time.Duration
	// Host is named in every message.
	Host string

	open    map[string]*Incident
	singles map[string]time.Time // alerts that belong to no incident, as sent
}

// Restore takes over the incidents of an earlier run. Times ahead of now are
// brought back to it.
func (r *Router) Restore(incidents map[string]*Incident, now time.Time) {
	r.open = map[string]*Incident{}
	for id, inc := range incidents {
		if inc == nil || inc.Opened.IsZero() {
			continue
		}
		for _, t := range []*time.Time{&inc.Opened, &inc.Critical} {
			if t.After(now) {
				*t = now
			}
		}
		for event, t := range inc.Sent {
			if t.After(now) {
				inc.Sent[event] = now
			}
		}
		r.open[id] = inc
	}
}

// Incidents is a copy of what is open.
func (r *Router) Incidents() map[string]*Incident {
	out := map[string]*Incident{}
	for id, inc := range r.open {
		c := *inc
		c.Sent, c.Notified, c.Escalated = maps.Clone(inc.Sent), slices.Clone(inc.Notified), slices.Clone(inc.Escalated)
		out[id] = &c
	}
	return out
}

// Subject is what an alert of an event about a service and its resolution are
// about: the name of their incident.
func Subject(event recovery.Event, service string) string {
	switch event {
	case recovery.EventEngineLost, recovery.EventEngineBack:
		return "engine"
	case recovery.EventThrottled, recovery.EventThrottleOver:
		return "throttle"
	case recovery.EventOverloaded, recovery.EventOverloadOver:
		return "overload"
	}
	return "service " + service
}

// Route takes an alert and returns the messages that it makes.
func (r *Router) Route(a recovery.Action, now time.Time) []Delivery {
	if r.open == nil {
		r.open = map[string]*Incident{}
	}
	id := Subject(a.Event, a.Key)
	inc := r.open[id]
	m := newMessage(a, r.Host)
	m.Fields.Time = now
	switch {
	case a.Closes && inc != nil:
		var sinks []Sink
		for _, url := range r.Receivers() {
			if slices.Contains(inc.Notified, receiverID(url)) {
				sinks = append(sinks, sinkAt(url, r.named(a), r.sinks()))
			}
		}
		if len(sinks) == 0 { // whom it went to is not there any more
			sinks = r.sinksFor(a)
		}
		delete(r.open, id)
		m.Severity = inc.worst() // it is tried for as long as what it ends
		m.Fields.State, m.Fields.Duration = stateResolved, now.Sub(inc.Opened).Round(time.Second)
		return r.deliver(m, "resolved: ", sinks)
	case a.Severity == recovery.Info || a.Closes:
		if r.repeated(id+"/"+string(a.Event), now) {
			return nil
		}
		return r.deliver(m, "", r.sinksFor(a))
	}
	if inc == nil {
		inc = &Incident{Opened: now, Sent: map[recovery.Event]time.Time{}}
		r.open[id] = inc
	}
	m.Fields.Duration = now.Sub(inc.Opened).Round(time.Second)
	inc.Last = m
	if a.Severity == recovery.Critical && inc.Critical.IsZero() {
		inc.Critical = now
	}
	if last, ok := inc.Sent[a.Event]; ok && now.Sub(last) < r.Every {
		return nil
	}
	if inc.Sent == nil {
		inc.Sent = map[recovery.Event]time.Time{}
	}
	inc.Sent[a.Event] = now
	sinks := r.sinksFor(a)
	for _, sink := range sinks {
		inc.notify(sink.URL)
	}
	return r.deliver(m, "", sinks)
}

// worst is the severity of the worst alert of an incident.
func (inc *Incident) worst() recovery.Severity {
	if inc.Critical.IsZero() {
		return recovery.Warning
	}
	return recovery.Critical
}

func (inc *Incident) notify(url string) {
	if id := receiverID(url); !slices.Contains(inc.Notified, id) {
		inc.Notified = append(inc.Notified, id)
	}
}

// sinksFor lists the receivers of an alert: of its named ones, those that its
// severity is enough for.
func (r *Router) sinksFor(a recovery.Action) []Sink {
	return slices.DeleteFunc(r.named(a), func(s Sink) bool { return rank(s.MinSeverity) > rank(a.Severity) })
}

// named lists the receivers that the service of an alert names, and else those
// of all. A name that is not known stands for those of all.
func (r *Router) named(a recovery.Action) (all []Sink) {
	names := a.Policy.Receivers
	if len(names) == 0 {
		names = []string{recovery.DefaultReceivers}
	}
	for _, name := range names {
		sinks, known := r.Named[name]
		if !known {
			sinks = r.Sinks
		}
		all = append(all, sinks...)
	}
	return all
}

// sinkAt is the first receiver of an address; that of an escalation alone has
// no template of its own.
func sinkAt(url string, lists ...[]Sink) Sink {
	for _, sinks := range lists {
		if i := slices.IndexFunc(sinks, func(s Sink) bool { return s.URL == url }); i >= 0 {
			return sinks[i]
		}
	}
	return Sink{URL: url}
}

// sinks are those of all services, and then the named ones by name.
func (r *Router) sinks() []Sink {
	all := slices.Clone(r.Sinks)
	for _, name := range slices.Sorted(maps.Keys(r.Named)) {
		all = append(all, r.Named[name]...)
	}
	return all
}

// repeated says whether an alert without an incident was sent a short time
// ago, and notes it.
func (r *Router) repeated(key string, now time.Time) bool {
	if last, ok := r.singles[key]; ok && now.Sub(last) < r.Every {
		return true
	}
	maps.DeleteFunc(r.singles, func(_ string, t time.Time) bool { return now.Sub(t) >= r.Every })
	if r.singles == nil {
		r.singles = map[string]time.Time{}
	}
	r.singles[key] = now
	return false
}

// Receivers lists the receivers' addresses in their order, each once.
func (r *Router) Receivers() (urls []string) {
	for _, s := range r.sinks() {
		urls = append(urls, s.URL)
	}
	for _, e := range r.Escalations {
		urls = append(urls, e.URL)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(urls, func(url string) bool {
		again := seen[url]
		seen[url] = true
		return again
	})
}

// id names an escalation.
func (e Escalation) id() string { return e.After.String() + " " + receiverID(e.URL) }

// Tick escalates what has been open too long.
func (r *Router) Tick(now time.Time) (out []Delivery) {
	for _, id := range slices.Sorted(maps.Keys(r.open)) {
		inc := r.open[id]
		for _, e := range r.Escalations {
			if inc.Critical.IsZero() || slices.Contains(inc.Escalated, e.id()) || now.Sub(inc.Critical) < e.After {
				continue
			}
			inc.Escalated = append(inc.Escalated, e.id())
			inc.notify(e.URL)
			m := inc.Last
			m.Fields.State, m.Fields.Time, m.Fields.Duration = stateUnresolved, now, now.Sub(inc.Opened).Round(time.Second)
			out = append(out, r.deliver(m, fmt.Sprintf("unresolved for %s: ", e.After), []Sink{sinkAt(e.URL, r.sinks())})...)
		}
	}
	return out
}

// Next is when Tick will have something to do; zero for never.
func (r *Router) Next() (next time.Time) {
	for _, inc := range r.open {
		for _, e := range r.Escalations {
			if due := inc.Critical.Add(e.After); !inc.Critical.IsZero() && !slices.Contains(inc.Escalated, e.id()) && (next.IsZero() || due.Before(next)) {
				next = due
			}
		}
	}
	return next
}

// deliver makes one message for each address, as the first receiver there has it.
func (r *Router) deliver(m Message, prefix string, sinks []Sink) (out []Delivery) {
	slices.SortStableFunc(sinks, func(a, b Sink) int { return strings.Compare(a.URL, b.URL) })
	for _, sink := range slices.CompactFunc(sinks, func(a, b Sink) bool { return a.URL == b.URL }) {
		title, text, fault := cmp.Or(sink.Format, r.Format).apply(m, prefix)
		out = append(out, Delivery{sink.URL, title, text, m.Severity, fault})
	}
	return out
}
