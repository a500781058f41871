package recovery

import (
	"maps"
	"slices"
	"time"
)

// Restore takes over what an earlier run of this program saved. Times that lie
// ahead of now, as after a clock was set back, are brought back to it.
func (m *Machine) Restore(services map[string]*Service, restarts []time.Time, now time.Time) {
	past := func(t time.Time) time.Time {
		if t.After(now) {
			return now
		}
		return t
	}
	for key, s := range services {
		if s.ID == "" || !slices.Contains(Phases, s.Phase) {
			continue
		}
		s.Key, s.policy = key, m.defaults() // until the container's labels are seen
		s.watched = true
		s.Attempts = max(s.Attempts, 0)
		s.LastRestart, s.FailingSince, s.HealthySince, s.Gone = past(s.LastRestart), past(s.FailingSince), past(s.HealthySince), past(s.Gone)
		for i := range s.Life.Marks {
			s.Life.Marks[i].Received = past(s.Life.Marks[i].Received)
		}
		if ahead := s.Hold.Since.Sub(now); ahead > 0 { // a hold lasts as long as before the clock was set back
			s.Hold.Since = now
			if !s.Due.IsZero() {
				s.Due = s.Due.Add(-ahead)
			}
		}
		if latest := now.Add(m.longestWait(s)); s.Due.After(latest) {
			s.Due = latest
		}
		if s.inFlight() && s.Phase != Launching { // which began after the stop that it mends
			s.began = s.LastRestart
		}
		m.Services[key] = s
		m.touch(s)
		if s.Gone.IsZero() {
			m.byID[s.ID] = key
		}
	}
	for _, t := range restarts {
		m.Restarts = append(m.Restarts, past(t))
	}
	slices.SortFunc(m.Restarts, time.Time.Compare)
}

// RestoreSnoozes takes over the pauses that people asked an earlier run for. One
// that was asked for in what is the future now, since the clock was set back,
// begins anew.
func (m *Machine) RestoreSnoozes(all map[string]Snooze, now time.Time) {
	for key, s := range all {
		if s.Asked.After(now) {
			s.Asked, s.Until = now, now.Add(s.Until.Sub(s.Asked))
		}
		if longest := now.Add(LongestSnooze); s.Until.After(longest) {
			s.Until = longest
		}
		m.Snoozes[key] = s
	}
}

// longestWait is the longest that a phase may last from now on.
func (m *Machine) longestWait(s *Service) time.Duration {
	p := m.Settings.Policy
	if s.Phase == Waiting {
		return max(time.Duration(float64(p.Max)*(1+p.Jitter)), p.UnhealthyFor)
	}
	return max(p.VerifyTimeout, longestVerify)
}

// InFlight lists the services with a call under way.
func (m *Machine) InFlight() (all []*Service) {
	for _, key := range slices.Sorted(maps.Keys(m.timed)) {
		if s := m.timed[key]; s.inFlight() {
			all = append(all, s)
		}
	}
	return all
}

// PersistentServices are those that are worth saving.
func (m *Machine) PersistentServices() map[string]*Service {
	out := map[string]*Service{}
	for key := range m.saved {
		out[key] = m.Services[key]
	}
	return out
}

// Changed says whether what is worth saving has changed since it was last
// asked.
func (m *Machine) Changed() bool {
	changed := m.changed
	m.changed = false
	return changed
}

// signature tells apart what is worth saving of a service; zero for nothing.
type signature struct {
	id, after, holdOn         string
	phase                     Phase
	attempts, stops, marks    int
	open, gone, asked, gaveUp bool
	due, lastRestart, started int64
}

func (s *Service) signature() signature {
	if !s.Persistent() {
		return signature{}
	}
	return signature{s.ID, s.After, string(s.Hold.Kind) + s.Hold.On, s.Phase, s.Attempts, s.Stops, len(s.Life.Marks), s.Open, !s.Gone.IsZero(), s.Asked, s.GaveUp,
		s.Due.UnixNano(), s.LastRestart.UnixNano(), s.Life.Started.UnixNano()}
}

// touch notes whether time changes a service, and whether it is worth saving.
func (m *Machine) touch(s *Service) {
	if m.Services[s.Key] == s {
		if now := s.signature(); now != m.saved[s.Key] {
			if now.phase != m.saved[s.Key].phase {
				m.stirred[s.container.Service()] = true
			}
			m.changed = true
			if m.saved[s.Key] = now; now == (signature{}) {
				delete(m.saved, s.Key)
			}
		}
	}
	if m.Services[s.Key] == s && (s.Phase != Idle || s.Attempts > 0 || !s.Gone.IsZero() || s.settles()) {
		m.timed[s.Key] = s
	} else if m.timed[s.Key] == s {
		delete(m.timed, s.Key)
	}
}

// forgetDone ends a service that nobody watches, as one that was restarted for
// another's sake, once nothing is left to remember.
func (m *Machine) forgetDone(s *Service) {
	if !s.watched && s.Phase == Idle && s.Attempts == 0 {
		m.forget(s)
	}
}

// forget ends a service.
func (m *Machine) forget(s *Service) {
	if _, saved := m.saved[s.Key]; saved {
		m.changed = true
	}
	delete(m.saved, s.Key)
	delete(m.Services, s.Key)
	delete(m.timed, s.Key)
	if m.byID[s.ID] == s.Key {
		delete(m.byID, s.ID)
	}
}
