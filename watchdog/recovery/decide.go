package recovery

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/report"
)

// HoldKind says what a hold waits for.
type HoldKind string

// The kinds of holds, and how each of them ends but by health.
const (
	// ForOwner: the container whose network it lives in is up.
	ForOwner HoldKind = "owner"
	// ForRecreation: a person recreates it.
	ForRecreation HoldKind = "recreation"
	// ForDependency: a container of this engine that it depends on is healthy.
	ForDependency HoldKind = "dependency"
	// ForRecovery: its dependency is healthy, and its own probes have had time.
	ForRecovery HoldKind = "recovery"
	// ForOther: a dependency that the engine knows nothing bad of; --hold-max.
	ForOther HoldKind = "other"
	// ForStart: its target starts, loads or recovers; --hold-max.
	ForStart HoldKind = "start"
	// ForPerson: the causes change.
	ForPerson HoldKind = "person"
	// ForNotified: its action is to notify people, who mend it or reset it.
	ForNotified HoldKind = "notified"
	// ForHost: the host is not overloaded any more.
	ForHost HoldKind = "host"
)

// Hold is what a service waits for before a restart could help.
type Hold struct {
	Kind HoldKind `json:"kind"`
	// On is the service, the container or the address that it waits for.
	On    string    `json:"on,omitempty"`
	Since time.Time `json:"since"`
}

// String says what is waited for.
func (h Hold) String() string {
	switch h.Kind {
	case ForOwner, ForDependency, ForOther:
		return h.On
	case ForRecreation:
		return "its recreation"
	case ForRecovery:
		return "its own probes, after " + h.On
	case ForStart:
		return "its target to start"
	case ForPerson, ForNotified:
		return "a person"
	case ForHost:
		return "the overloaded host"
	}
	return ""
}

// decision is what the causes of the last failed probe suggest; a zero hold is
// a restart.
type decision struct {
	hold Hold
	text string
	// loud decisions are alerted at once: nobody else will.
	loud bool
	// look are containers to inspect, since one of them may be meant.
	look []string
}

// blamed is a failed check that blames another than its own container.
type blamed struct {
	report.Failure
	peer  peer
	found bool // it is of this engine
}

// decide is the decision table: the first row that fits.
//
//	| the failed checks                                          | decision                 |
//	| whatever they are, while the host is overloaded            | hold, at most --hold-max |
//	| one blames a container of this engine that is not healthy  | hold for it              |
//	| one is the container's own or unknown, or blames nobody    | restart                  |
//	| one blames a dependency that nothing bad is known of       | hold, at most --hold-max |
//	| all say that their target starts                           | hold, at most --hold-max |
//	| else: configuration or the host                            | hold for a person        |
//
// A report decides about its own container, and about no other. Two that blame
// each other would wait for ever: for them the first row does not count.
func (m *Machine) decide(s *Service, now time.Time) decision {
	c := s.container
	if s.policy.ByCause && !s.Released && m.heldByLoad(s) {
		return decision{hold: Hold{ForHost, "", now}, text: "held: the host is overloaded, and a restart would add to that: " + s.Cause}
	}
	if !s.policy.ByCause || c.State != "running" || len(c.Failures) == 0 || !c.failing() {
		return decision{}
	}
	var own, starting int
	var others []blamed
	for _, f := range c.Failures {
		switch f.Cause.Class {
		case probe.Dependency:
			p, found, known := m.dependency(c, f)
			switch {
			case !known, found && m.blames(p, s):
				own++
			default:
				others = append(others, blamed{f, p, found})
			}
		case probe.Starting:
			starting++
		case probe.Self, probe.Unknown:
			own++
		}
	}
	for _, b := range others {
		if d, bad := m.forDependency(c, b, now); bad {
			return d
		}
	}
	limited := s.policy.HoldMax > 0 && !s.Released
	switch {
	case own > 0, !limited && (len(others) > 0 || starting == len(c.Failures)):
		return decision{}
	case len(others) > 0:
		b := others[0]
		d := decision{hold: Hold{ForOther, b.address(), now}, loud: true}
		if !b.found && b.Cause.Host != "" {
			d.look = m.strangers(c)
		}
		d.text = fmt.Sprintf("held for %s: %s depends on %s, of which the engine knows nothing bad: %s", s.policy.HoldMax, orIt(b.Check), d.hold.On, s.Cause)
		return d
	case starting == len(c.Failures):
		return decision{hold: Hold{ForStart, "", now}, text: fmt.Sprintf("held for %s: its target says that it is starting: %s", s.policy.HoldMax, s.Cause)}
	}
	why := classes(c.Failures)
	return decision{hold: Hold{ForPerson, why, now}, loud: true,
		text: fmt.Sprintf("a person must mend it, and no restart helps (%s): %s", why, s.Cause)}
}

// forDependency is the table's first row: b blames a container of this engine
// that is not healthy, or that is restarted on this one's word.
func (m *Machine) forDependency(c Container, b blamed, now time.Time) (decision, bool) {
	if !b.found {
		return decision{}, false
	}
	bad, handled := m.bad(b.peer)
	if !bad && !m.answersFor(c, b.peer) {
		return decision{}, false
	}
	is := "which it reports as failing"
	switch p := b.peer; {
	case p.state != "running":
		is = "which is " + clean(p.state)
	case p.health == "unhealthy" || p.health == "starting":
		is = "which is " + p.health
	case bad:
		is = "which is being recovered"
	}
	return decision{hold: Hold{ForDependency, b.peer.service, now}, loud: bad && !handled,
		text: fmt.Sprintf("held: %s depends on %s, %s", orIt(b.Check), b.peer.service, is)}, true
}

// address is what a failure blames, in words.
func (b blamed) address() string {
	switch {
	case b.found:
		return b.peer.service
	case b.Cause.Port != "":
		return net.JoinHostPort(b.Cause.Host, b.Cause.Port)
	}
	return b.Cause.Host
}

// orIt is the name of a check, which only a report of a wrong call lacks.
func orIt(check string) string { return cmp.Or(check, "it") }

// classes lists the classes of failures, each once.
func classes(all []report.Failure) string {
	var names []string
	for _, f := range all {
		if name := string(f.Cause.Class); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}

// blames says whether the container p itself depends on s, directly or through
// others, by its own report, and nobody is restarting it: then one of the
// circle must be restarted.
func (m *Machine) blames(p peer, s *Service) bool {
	seen := map[string]bool{}
	queue := []peer{p}
	for len(queue) > 0 {
		p, queue = queue[0], queue[1:]
		n := m.Services[m.byID[p.id]]
		if seen[p.id] || n == nil || !n.container.failing() || n.Phase != Held && n.Phase != GivenUp {
			continue
		}
		seen[p.id] = true
		for _, f := range n.container.Failures {
			if f.Cause.Class != probe.Dependency {
				continue
			}
			switch d, found, _ := m.dependency(n.container, f); {
			case found && d.id == s.ID:
				return true
			case found:
				queue = append(queue, d)
			}
		}
	}
	return false
}

// holdBy carries a decision out that is no restart. Of several that are held
// for one, only the first tells people.
func (m *Machine) holdBy(s *Service, d decision, now time.Time) (out []Action) {
	same := s.Phase == Held && s.Hold.Kind == d.hold.Kind && s.Hold.On == d.hold.On
	if same && (!d.loud || s.Open) {
		return nil
	}
	known := slices.ContainsFunc(m.held(), func(o *Service) bool {
		return o != s && o.Open && d.hold.Kind != ForPerson && o.Hold.Kind == d.hold.Kind && o.Hold.On == d.hold.On
	})
	if same {
		if known {
			return nil
		}
		d.hold, d.look = s.Hold, nil
	}
	event, severity := EventHeld, Warning
	s.Phase, s.Hold, s.Due = Held, d.hold, time.Time{}
	s.After, s.Needs = "", nil
	switch d.hold.Kind {
	case ForHost:
		if s.policy.HoldMax > 0 {
			s.Due = d.hold.Since.Add(s.policy.HoldMax)
		}
	case ForOther, ForStart:
		s.Due = d.hold.Since.Add(s.policy.HoldMax)
	case ForPerson:
		event, severity = EventNeedsPerson, Critical
	}
	if d.loud && !known && len(d.look) == 0 { // else after the look
		out = append(out, s.alert(event, severity, "%s", d.text))
	} else {
		out = append(out, s.log(event, severity, "%s", d.text))
	}
	if len(d.look) > 0 {
		out = append(out, Action{Kind: DoLook, Key: s.Key, IDs: d.look})
	}
	return out
}

// rejudge looks at a held service again, whose probe has failed once more, or
// of whose dependency something has changed.
func (m *Machine) rejudge(s *Service, now time.Time) []Action {
	m.update(s, now)
	switch s.Hold.Kind {
	case ForRecreation:
		return nil
	case ForNotified:
		if s.policy.Remedy == RemedyNotify {
			return nil
		}
		return m.plan(s, now) // its labels have changed
	case ForOwner:
		return m.ownerMissed(s, now)
	}
	d := m.decide(s, now)
	switch {
	case d.hold.Kind == "":
		return m.plan(s, now)
	case s.Hold.Kind == ForRecovery && d.hold.Kind != ForDependency && d.hold.Kind != ForPerson && d.hold.Kind != ForHost:
		return nil // its time is not over
	case s.Hold.Kind == ForDependency && d.hold.Kind == ForOther && d.hold.On == s.Hold.On:
		return m.dependencyUp(s, now)
	}
	return m.holdBy(s, d, now)
}

// verdictTime is how long the container's own probes take to decide.
func (c Container) verdictTime() time.Duration {
	return time.Duration(c.retries())*c.interval() + verifySlack
}

// dependencyUp gives a service time to become healthy by itself, whose
// dependency is healthy again, or whose host is not overloaded any more: its
// own probes decide. What does not run has none.
func (m *Machine) dependencyUp(s *Service, now time.Time) []Action {
	if s.container.State != "running" {
		return m.plan(s, now)
	}
	wait := s.container.verdictTime()
	if s.Hold.Kind == ForHost {
		s.Hold.On = "the host"
	}
	s.Hold.Kind, s.Due = ForRecovery, now.Add(wait)
	return []Action{s.log(EventHeld, Info, "%s is up again: it has %s to become healthy", s.Hold.On, wait)}
}

// release ends a hold whose time is over.
func (m *Machine) release(s *Service, now time.Time) []Action {
	out := []Action{s.log(EventReleased, Warning, "held for %s, waiting for %s: %s now", now.Sub(s.Hold.Since).Round(time.Second), s.Hold, s.announced())}
	s.Released, s.input = true, Failing
	return append(out, m.plan(s, now)...)
}

// review looks again at what is held, where something has changed about what
// it waits for. What is decided may in turn matter to others.
func (m *Machine) review(now time.Time) (out []Action) {
	for range 8 { // levels of dependencies at once; the others come next time
		if len(m.stirred) == 0 && !m.introduced {
			return out
		}
		stirred, introduced := m.stirred, m.introduced
		m.stirred, m.introduced = map[string]bool{}, false
		for _, s := range m.held() {
			if stirred[s.Hold.On] || introduced && s.Hold.Kind == ForOther {
				out = append(out, m.reconsider(s, now)...)
			}
		}
	}
	return out
}

// reconsider looks at a service of whose dependency something has changed.
func (m *Machine) reconsider(s *Service, now time.Time) []Action {
	switch s.Hold.Kind {
	case ForDependency:
		if !m.stillBad(s) {
			return m.step(s, DependencyUp, now)
		}
	case ForOther, ForRecovery:
	default:
		return nil
	}
	if s.container.State == "running" && s.container.failing() {
		return m.step(s, Failing, now)
	}
	return nil
}

// stillBad says whether the dependency that s is held for is not healthy yet.
func (m *Machine) stillBad(s *Service) bool {
	for _, p := range m.peers {
		if p.service != s.Hold.On {
			continue
		}
		if bad, _ := m.bad(p); !bad && !(m.answersFor(s.container, p) && m.reporter(m.Services[m.byID[p.id]], m.Services[m.byID[p.id]].container) != nil) {
			return false
		}
	}
	return true
}

// held lists the held services by key.
func (m *Machine) held() (all []*Service) {
	for _, s := range m.timed {
		if s.Phase == Held {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *Service) int { return strings.Compare(a.Key, b.Key) })
	return all
}
