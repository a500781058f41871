package recovery

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// passTime is what time alone changes.
func (m *Machine) passTime(now time.Time) (out []Action) {
	var due []string
	for key, s := range m.timed {
		if _, ok := s.timeInput(now); ok || !s.watched && s.Phase == Idle {
			due = append(due, key)
		}
	}
	slices.Sort(due)
	for _, key := range due {
		s := m.timed[key]
		if s == nil {
			continue
		}
		if in, ok := s.timeInput(now); ok && in == Removed {
			m.forget(s)
			out = append(out, Action{Kind: DoForget, Key: s.Key})
		} else if ok {
			out = append(out, m.step(s, in, now)...)
		}
		m.forgetDone(s)
	}
	return out
}

// timeInput is the input that time alone makes for a service; Removed stands
// for the end of one whose container has been gone for long.
func (s *Service) timeInput(now time.Time) (Input, bool) {
	switch {
	case !s.Gone.IsZero() && !s.inFlight() && now.Sub(s.Gone) >= goneAfter:
		return Removed, true
	case s.unseen:
		return 0, false
	case (s.Phase == Verifying || s.Phase == Held) && !s.Due.IsZero() && !s.Due.After(now):
		return Due, true
	case s.settles() && !now.Before(s.settled(s.container)):
		return Healthy, true
	case s.Phase == Idle && s.Attempts > 0 && !s.HealthySince.IsZero() && now.Sub(s.HealthySince) >= s.policy.StableFor:
		return Stable, true
	}
	return 0, false
}

// settles says whether a container without a healthcheck, at rest, has not yet
// run for the minimum uptime.
func (s *Service) settles() bool {
	c := s.container
	return s.Phase == Idle && s.watched && c.State == "running" && !c.HasHealthcheck && c.Health == "" && s.HealthySince.IsZero() && !c.StartedAt.IsZero() && s.Gone.IsZero()
}

// dispatch lets the services whose time has come be restarted, those that have
// waited longest first, as far as the limits allow.
func (m *Machine) dispatch(now time.Time) (out []Action) {
	m.Restarts = slices.DeleteFunc(m.Restarts, func(t time.Time) bool { return now.Sub(t) >= m.Settings.Window || t.After(now) })
	var due []*Service
	running, most := 0, m.Settings.MaxConcurrent
	if m.Overloaded() {
		most = 1 // those that were held for too long, one after the other
	}
	for _, s := range m.timed {
		switch {
		case s.inFlight(), s.Phase == Verifying && m.Overloaded(), s.Phase == Waiting && s.evidence.asked:
			running++
		case s.Phase == Waiting && !s.Due.After(now) && !m.blocked(s) && !s.unseen:
			due = append(due, s)
		}
	}
	slices.SortFunc(due, func(a, b *Service) int {
		return cmp.Or(a.Due.Compare(b.Due), strings.Compare(a.Key, b.Key))
	})
	limited := 0
	for _, s := range due {
		if paused, told := m.paused(s, now); paused {
			out = append(out, told...)
			continue
		}
		own := s.After == "" && !s.policy.DryRun && (s.policy.Remedy != RemedyNotify || s.Asked)
		if own && len(m.Restarts) >= m.Settings.MaxRestarts {
			limited++
			continue
		}
		if running >= most && (s.comesNext() != RemedyNotify || s.policy.DryRun) { // people are notified at once
			continue
		}
		if m.Gathers && !s.policy.DryRun && s.comesNext() != RemedyNotify && !s.evidence.taken {
			running++
			s.evidence.asked = true
			out = append(out, Action{Kind: DoGather, Key: s.Key, ID: s.ID, Name: s.Name, Cause: s.Cause})
			continue
		}
		out = append(out, m.step(s, Due, now)...)
		if s.inFlight() {
			running++
			if own {
				m.Restarts = append(m.Restarts, now)
			}
		}
	}
	for _, s := range due {
		s.evidence.taken, s.evidence.id = false, "" // what was not restarted is looked at anew
	}
	switch {
	case limited > 0 && !m.Throttled:
		m.Throttled = true
		out = append(out, Action{Kind: DoAlert, Event: EventThrottled, Severity: Critical, Text: fmt.Sprintf(
			"storm: %d restarts wait, at most %d per %s", limited, m.Settings.MaxRestarts, m.Settings.Window)})
	case m.Throttled && limited == 0 && running == 0:
		m.Throttled = false
		out = append(out, Action{Kind: DoAlert, Event: EventThrottleOver, Severity: Info, Closes: true, Text: "the storm is over: no restart waits for the limit"})
	}
	return out
}

// evidence is what is gathered of a service before its restart. Until it is
// there, the service waits as before: who stops it meanwhile has stopped it, and
// one that becomes healthy is not restarted.
type evidence struct {
	asked, taken bool
	id           string
}

// gathered lets the restart come for which evidence was asked.
func (m *Machine) gathered(msg Gathered) {
	s := m.Services[msg.Key]
	if s == nil {
		return
	}
	s.evidence = evidence{}
	if s.Phase == Waiting && s.ID == msg.ID {
		s.evidence = evidence{taken: true, id: msg.Evidence}
	}
}

// Next is when time alone will change something; zero for never.
func (m *Machine) Next(now time.Time) (next time.Time) {
	if m.offline {
		return next
	}
	take := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, z := range m.Snoozes {
		take(z.Until)
	}
	if h := m.host; m.Overloaded() {
		take(h.looked.Add(overloadLook))
		if !h.eased.IsZero() {
			take(h.eased.Add(easeTime))
		}
		for _, until := range h.late {
			take(until)
		}
	}
	for _, s := range m.timed {
		if !s.Gone.IsZero() {
			take(s.Gone.Add(goneAfter))
		}
		switch s.Phase {
		case Waiting:
			if s.Due.After(now) {
				take(s.Due)
			} else if until, _ := m.pause(s, now); !until.IsZero() {
				take(until)
			} else if !m.blocked(s) && !s.unseen && len(m.Restarts) >= m.Settings.MaxRestarts { // held back by the limit
				take(m.Restarts[0].Add(m.Settings.Window))
			}
		case Verifying, Held:
			take(s.Due)
		case Idle:
			if s.settles() {
				take(s.settled(s.container))
			}
			if s.Attempts > 0 && !s.HealthySince.IsZero() {
				take(s.HealthySince.Add(s.policy.StableFor))
			}
		}
	}
	return next
}
