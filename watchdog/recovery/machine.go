package recovery

import (
	"maps"
	"slices"
	"time"
)

// Machine holds all services. It is not safe for concurrent use.
type Machine struct {
	Settings Settings
	Services map[string]*Service
	// Restarts are the times of those within the window, dependents' aside.
	Restarts []time.Time
	// Snoozes are the pauses that people asked for, by service; that of all
	// services has no name.
	Snoozes map[string]Snooze
	// Throttled says that the rate limit is reached, and that people know.
	Throttled bool
	// Gathers says that evidence is taken before a restart, which waits for it.
	Gathers bool
	// Trace, if set, is called with every pair of the table that is passed.
	Trace func(Phase, Input)

	// ruleFor is the table. (The rules feed inputs to services themselves, so the
	// compiler wants it to be reached through a variable.)
	ruleFor    func(Phase, Input) rule
	offline    bool
	offlineAt  time.Time            // zero: since the beginning
	byID       map[string]string    // keys by container id
	timed      map[string]*Service  // those that time changes, by key
	early      map[string]Life      // what came of containers before they were seen
	joined     map[string]*tenant   // those that live in another's network, by id
	owners     map[string]Container // those whose network others live in, by id
	peers      map[string]peer      // all containers, by id
	reportable map[string]bool      // of those, the ones that others may report
	stirred    map[string]bool      // services of which something has changed that others may be held for
	introduced bool                 // the aliases of a container became known
	twins      map[string]bool      // ids of running containers that share a service's labels
	host       overload
	audited    string               // the last service that Audit named
	common     *Policy              // the policy of those whose labels change nothing; nil: not known yet
	saved      map[string]signature // the signatures of those worth saving, by key
	changed    bool                 // one of them has changed
}

// NewMachine returns a machine that knows nothing yet.
func NewMachine(s Settings) *Machine {
	return &Machine{ruleFor: ruleFor, Settings: s, Services: map[string]*Service{}, Snoozes: map[string]Snooze{}, offline: true, byID: map[string]string{}, timed: map[string]*Service{}, saved: map[string]signature{}, early: map[string]Life{},
		joined: map[string]*tenant{}, owners: map[string]Container{}, twins: map[string]bool{}, peers: map[string]peer{}, reportable: map[string]bool{}, stirred: map[string]bool{}, host: overload{late: map[string]time.Time{}}}
}

// Use replaces what is watched and how. What is known of containers stays, and
// is judged anew when they are seen.
func (m *Machine) Use(s Settings) { m.Settings, m.common = s, nil }

// defaults are the policy of a service whose labels change nothing.
func (m *Machine) defaults() *Policy {
	if m.common == nil {
		p := m.Settings.Policy
		m.common = &p
	}
	return m.common
}

// policy is Settings.For, with one copy for all containers that have no policy
// of their own.
func (m *Machine) policy(c Container) (*Policy, []string) {
	if !hasSettings(c.Labels) {
		return m.defaults(), nil
	}
	p, wrong := m.Settings.For(c)
	return &p, wrong
}

// goneAfter is how long a service is remembered whose container was removed
// and not created anew.
const goneAfter = 10 * time.Minute

// maxEarly bounds what is kept of containers that were not seen yet.
const maxEarly = 1024

// Apply takes one message at a time and returns what is to be done.
func (m *Machine) Apply(msg Message, now time.Time) []Action {
	return append(m.Take(msg, now), m.Settle(now)...)
}

// Take is the part of Apply that concerns the message alone. Settle must follow,
// but may follow several.
func (m *Machine) Take(msg Message, now time.Time) (out []Action) {
	switch msg := msg.(type) {
	case Seen:
		out = m.seen(msg.Container, now)
	case Listed:
		out = m.listed(msg.All, now)
	case Signalled:
		out = m.mark(msg.ID, Mark{Kind: Asked, At: msg.At, Received: now, Signal: msg.Signal}, now)
	case Exited:
		out = m.mark(msg.ID, Mark{Kind: Ended, At: msg.At, Received: now, ExitCode: msg.ExitCode}, now)
	case StopDone:
		out = m.mark(msg.ID, Mark{Kind: Stopped, At: msg.At, Received: now}, now)
	case Destroyed:
		out = m.destroyed(msg.ID, now)
	case CallEnded:
		out = m.callEnded(msg, now)
	case Gathered:
		m.gathered(msg)
	case Dependents:
		out = m.dependents(msg, now)
	case ResetAsked:
		for _, s := range m.Named(msg.Name) {
			out = append(out, m.step(s, Reset, now)...)
		}
	case SnoozeAsked:
		out = m.snooze(msg, now)
	case ResumeAsked:
		out = m.resume(msg)
	case EngineCall:
		m.host.idle = msg.Idle
		m.host.calls.note(msg.Took, m.Overloaded())
	case Offline:
		if !m.offline {
			m.offline, m.offlineAt = true, now
		}
	case Online:
		m.online(now)
	}
	return out
}

// Settle is the part of Apply that concerns all services that time changes, or
// that wait for something: it takes as long as they are many.
func (m *Machine) Settle(now time.Time) (out []Action) {
	if m.offline {
		return nil
	}
	out = append(out, m.endSnoozes(now)...)
	out = append(out, m.assess(now)...)
	out = append(out, m.passTime(now)...)
	out = append(out, m.review(now)...)
	out = append(out, m.dispatch(now)...)
	return append(out, m.review(now)...)
}

// Named lists the services of a name, as ServiceStatus.Called understands it.
func (m *Machine) Named(name string) (all []*Service) {
	for _, key := range slices.Sorted(maps.Keys(m.Services)) {
		if s := m.Services[key]; calledBy(s.Key, s.Name, name) {
			all = append(all, s)
		}
	}
	return all
}

// online lets time go on: what was to be verified gets back what the outage
// took, or its whole time where that is not known.
func (m *Machine) online(now time.Time) {
	if !m.offline {
		return
	}
	for _, s := range m.Services {
		s.evidence.taken, s.evidence.id = false, "" // what came before or in the outage is old
		switch {
		case s.Phase != Verifying:
		case m.offlineAt.IsZero():
			s.Due = now.Add(s.policy.verifyFor(s.container))
		default:
			s.Due = s.Due.Add(now.Sub(m.offlineAt))
		}
	}
	m.offline = false
}
