package recovery

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// One service passes through these phases. "Failing" is: its probes have
// failed as often as the healthcheck's retries say, or it died by itself.
//
//	phase       input                              next phase   what is done
//	idle        failing, attempts left             waiting      until the backoff since the last restart is over
//	idle        failing, none left                 given up     one critical alert
//	waiting     due, and the limits allow it       restarting   restart; the attempt counts from here
//	waiting     healthy by itself                  idle
//	restarting  the call succeeded                 verifying    warning: restarted
//	restarting  failed half-way: not running       restarting   start, once
//	restarting  failed                             as if it were failing again
//	verifying   healthy                            idle         info: recovered; dependents follow
//	verifying   failing, or no verdict in time     as if it were failing again
//	idle        healthy for stable-for             idle         attempts are forgotten
//	given up    healthy by itself                  idle         info: recovered; attempts stay until stable
//	given up    recreated, or reset by a person    idle         attempts are forgotten
//	any         stopped by a person, paused, gone  idle         left alone
//	any but     restarted by somebody else         idle         watched anew; attempts stay
//	 given up
//
// A restart of a dependent passes through waiting, restarting and verifying in
// the same way, but counts no attempt.

// Machine holds all services. It is not safe for concurrent use.
type Machine struct {
	Settings Settings
	Services map[string]*Service
	// Restarts are the times of those within the window.
	Restarts []time.Time
	// Throttled says that restarts wait for the limits, and that an alert
	// said so.
	Throttled bool

	offline   bool
	offlineAt time.Time // zero: since the beginning
	byID      map[string]string
	warned    map[string]bool
}

// NewMachine returns a machine that knows nothing yet.
func NewMachine(s Settings) *Machine {
	return &Machine{Settings: s, Services: map[string]*Service{}, offline: true, byID: map[string]string{}, warned: map[string]bool{}}
}

// Restore takes over what an earlier run of this program saved.
func (m *Machine) Restore(services map[string]*Service, restarts []time.Time) {
	for key, s := range services {
		s.policy = m.Settings.Policy // until the container's labels are seen
		s.watched = true
		if s.Phase == Restarting {
			// The call was cut off with the program: whatever it left
			// behind, nobody but this program stopped the container.
			s.Phase, s.Due, s.Died = Verifying, s.LastRestart, true
		}
		m.Services[key] = s
		m.byID[s.ID] = key
	}
	m.Restarts = restarts
}

// Apply takes one input at a time and returns what is to be done.
func (m *Machine) Apply(in Input, now time.Time) []Action {
	var out []Action
	switch in := in.(type) {
	case Seen:
		out = m.seen(in.Container, now)
	case SeenAll:
		for _, c := range in.Containers {
			out = append(out, m.seen(c, now)...)
		}
	case Killed:
		m.update(m.byID[in.ID], func(s *Service) {
			// A signal from before the start that is known concerns an earlier run.
			if s.Phase != Restarting && endsProcess(in.Signal) && in.At.After(s.StartedAt) {
				s.Stopped, s.StoppedAt = true, now
			}
		})
	case Died:
		m.update(m.byID[in.ID], func(s *Service) {
			if s.Phase != Restarting && in.At.After(s.StartedAt) {
				s.Died = true
			}
		})
	case Gone:
		m.update(m.byID[in.ID], func(s *Service) { s.removed() })
		delete(m.byID, in.ID)
	case Done:
		m.update(in.Key, func(s *Service) { out = append(out, s.withPhase(s.done(in, now))...) })
		if in.Seen != nil {
			out = append(out, m.seen(*in.Seen, now)...)
		}
	case Depends:
		out = m.depends(in, now)
	case Reset:
		out = m.resetByName(in.Name)
	case Offline:
		if !m.offline {
			m.offline, m.offlineAt = true, now
		}
	case Online:
		m.online(now)
	}
	if m.offline {
		return out
	}
	for _, key := range m.keys() {
		m.update(key, func(s *Service) { out = append(out, s.withPhase(s.tick(now))...) })
	}
	return append(out, m.dispatch(now)...)
}

// online lets time go on: what was to be verified gets back what the outage
// took, or its whole time where that is not known.
func (m *Machine) online(now time.Time) {
	if !m.offline {
		return
	}
	for _, s := range m.Services {
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

func (m *Machine) update(key string, f func(*Service)) {
	if s := m.Services[key]; s != nil {
		f(s)
	}
}

// keys lists the services that time changes, in an order that does not vary.
func (m *Machine) keys() []string {
	var keys []string
	for k, s := range m.Services {
		if s.Phase != Idle || s.Attempts > 0 {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// seen routes a container's state to its service.
func (m *Machine) seen(c Container, now time.Time) []Action {
	key := c.Service()
	s := m.Services[key]
	watched := m.Settings.Watched(c)
	if s == nil {
		if !watched {
			return nil
		}
		s = &Service{Key: key, ID: c.ID, Name: c.Name}
		m.Services[key] = s
	} else if !watched && s.After == "" {
		// Opted out by a new container's labels, or renamed while compose
		// recreates it: attempts stay with the service.
		if s.Phase != Restarting {
			s.watched = false
			if s.Phase != GivenUp {
				s.reset()
			}
			if !s.Persistent() {
				delete(m.Services, key)
				delete(m.byID, s.ID)
			}
		}
		return nil
	}
	policy, wrong := m.Settings.For(c)
	s.policy, s.watched = policy, watched
	var out []Action
	for _, w := range wrong {
		if text := key + ": " + w; !m.warned[text] {
			m.warned[text] = true
			out = append(out, Action{Kind: DoLog, Event: EventLabelIgnored, Severity: Warning, Key: key, ID: c.ID, Name: c.Name, Phase: s.Phase, Text: w})
		}
	}
	if s.Phase == Restarting {
		return out // the end of the call says what became of it
	}
	if s.ID != c.ID {
		// While compose recreates a container, the old one stands beside it.
		if m.byID[s.ID] == key && (c.State != "running" || !c.StartedAt.After(s.StartedAt)) {
			return out
		}
		delete(m.byID, s.ID)
		out = append(out, s.withPhase(s.recreated(c))...)
	}
	m.byID[c.ID] = key
	s.container = c
	return append(out, s.withPhase(s.observe(c, now))...)
}

// depends makes a dependent wait for its restart.
func (m *Machine) depends(in Depends, now time.Time) []Action {
	c := in.Container
	key := c.Service()
	if m.Settings.excluded(c) {
		return nil
	}
	s := m.Services[key]
	if s == nil {
		s = &Service{Key: key, ID: c.ID, Name: c.Name, StartedAt: c.StartedAt}
		m.Services[key] = s
	}
	if s.Phase != Idle {
		return nil // it is being restarted anyway, or was given up
	}
	m.byID[c.ID] = key
	s.ID, s.Name, s.container = c.ID, c.Name, c
	s.policy, _ = m.Settings.For(c)
	s.Phase, s.Due, s.After = Waiting, now, in.After
	s.Cause = in.After + " was restarted"
	return nil
}

// resetByName forgets the attempts of the services of that name.
func (m *Machine) resetByName(name string) []Action {
	var out []Action
	for _, key := range slices.Sorted(maps.Keys(m.Services)) {
		s := m.Services[key]
		if s.Key != name && s.Name != name || s.Phase == Restarting {
			continue
		}
		s.Attempts, s.Phase, s.FailingSince = 0, Idle, time.Time{}
		out = append(out, s.log(Info, EventReset, "reset by a person"))
	}
	return out
}

// dispatch lets the services whose time has come be restarted, as far as the
// limits allow, those that have waited longest first.
func (m *Machine) dispatch(now time.Time) []Action {
	m.Restarts = slices.DeleteFunc(m.Restarts, func(t time.Time) bool { return now.Sub(t) >= m.Settings.Window })
	var due []*Service
	running := 0
	for _, s := range m.Services {
		switch {
		case s.Phase == Restarting:
			running++
		case s.Phase == Waiting && !s.Due.After(now) && !s.Stopped:
			due = append(due, s)
		}
	}
	slices.SortFunc(due, func(a, b *Service) int {
		if c := a.Due.Compare(b.Due); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
	var out []Action
	for i, s := range due {
		if running >= m.Settings.MaxConcurrent || len(m.Restarts) >= m.Settings.MaxRestarts {
			return append(out, m.throttle(len(due)-i)...)
		}
		running++
		m.Restarts = append(m.Restarts, now)
		out = append(out, s.begin(now))
	}
	if m.Throttled && len(due) == 0 && running == 0 {
		m.Throttled = false
		out = append(out, Action{Kind: DoAlert, Event: EventThrottleOver, Severity: Info, Text: "the storm is over: no restart is throttled"})
	}
	return out
}

// throttle alerts once that n restarts wait for the limits.
func (m *Machine) throttle(n int) []Action {
	if m.Throttled {
		return nil
	}
	m.Throttled = true
	return []Action{{Kind: DoAlert, Event: EventThrottled, Severity: Critical, Text: fmt.Sprintf(
		"storm: %d restarts are throttled, at most %d at once and %d per %s", n, m.Settings.MaxConcurrent, m.Settings.MaxRestarts, m.Settings.Window)}}
}

// Next is when time alone will change something; zero for never.
func (m *Machine) Next(now time.Time) time.Time {
	var next time.Time
	if m.offline {
		return next
	}
	earliest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, s := range m.Services {
		switch s.Phase {
		case Waiting:
			if s.Stopped {
				continue
			}
			if s.Due.After(now) {
				earliest(s.Due)
			} else if len(m.Restarts) > 0 { // throttled
				earliest(m.Restarts[0].Add(m.Settings.Window))
			}
		case Verifying:
			if !s.Stopped {
				earliest(s.Due)
			}
		case Idle:
			if s.Attempts > 0 && !s.HealthySince.IsZero() {
				earliest(s.HealthySince.Add(s.policy.StableFor))
			}
		}
	}
	return next
}

// KnownIDs lists the containers that services were seen in.
func (m *Machine) KnownIDs() []string { return slices.Sorted(maps.Keys(m.byID)) }

// Fingerprint is a cheap sign of change in what is worth saving: it changes
// when a service becomes persistent, or its container stops or dies.
func (m *Machine) Fingerprint() (n int) {
	for _, s := range m.Services {
		if s.Persistent() {
			n++
		}
		if s.Stopped {
			n += 1 << 20
		}
		if s.Died {
			n += 1 << 40
		}
	}
	return n
}
