package recovery

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// fewestLate, and half of those watched, is how many probes must time out
	// for the host to be the cause.
	fewestLate = 3
	// slowerBy, and slowCall, is how much longer the engine's calls must take
	// than they usually do.
	slowerBy = 10
	slowCall = time.Second
	// easeTime is how long nothing may speak for an overload before it is over.
	easeTime = 30 * time.Second
	// overloadLook is how often containers are inspected during one, and
	// suspectLook how often the others are when one's probe has timed out, with
	// lookTime for the answers.
	overloadLook = 10 * time.Second
	suspectLook  = 5 * time.Second
	lookTime     = time.Second
	// mostLooks bounds the inspections at once.
	mostLooks = 64
)

// overload is what is known of the load of the host that all containers share.
// A restart adds to it, so none is made while it lasts.
type overload struct {
	late   map[string]time.Time // containers whose last probe timed out, by id, and how long that counts
	calls  callTimes
	idle   bool      // it is known to have been idle of late
	since  time.Time // zero: there is none
	eased  time.Time // since when nothing speaks for it
	looked time.Time // when containers were last inspected for its sake
}

// Overloaded says whether the host is taken for overloaded.
func (m *Machine) Overloaded() bool { return !m.host.since.IsZero() }

// RestoreAlarms takes over what an earlier run told people and what is not
// over: that the storm guard holds restarts back, and that the host is
// overloaded.
func (m *Machine) RestoreAlarms(throttled, overloaded bool, now time.Time) {
	m.Throttled = throttled
	if overloaded {
		m.host.since = now
	}
}

// noteProbe keeps whether a container's last probe timed out: its own check
// did, or the engine ended it. One that waits for another is no sign of a load,
// nor is one on a host that is idle.
func (m *Machine) noteProbe(c Container, now time.Time) {
	if c.ProbeTimedOut && !m.host.idle && c.State == "running" && m.Settings.Watched(c) {
		m.host.late[c.ID] = now.Add(max(3*(c.interval()+c.timeout()), 2*time.Minute))
	} else {
		delete(m.host.late, c.ID)
	}
}

// assess decides whether the host is overloaded, and says so when that changes.
func (m *Machine) assess(now time.Time) (out []Action) {
	h := &m.host
	if !m.Settings.ByCause {
		return nil
	}
	maps.DeleteFunc(h.late, func(_ string, until time.Time) bool { return !now.Before(until) })
	watched := 0
	if len(h.late) >= fewestLate {
		watched = m.probed()
	}
	late := len(h.late) >= fewestLate && 2*len(h.late) >= watched
	slow := h.calls.slow(m.Overloaded())
	switch {
	case (late || slow) && !m.Overloaded():
		h.since, h.eased = now, time.Time{}
		text := fmt.Sprintf("the probes of %d of %d services time out", len(h.late), watched)
		if !late {
			recent, usual := h.calls.figures()
			text = fmt.Sprintf("the engine's calls take %s, and usually %s", recent.Round(time.Millisecond), usual.Round(100*time.Microsecond))
		}
		out = append(out, Action{Kind: DoAlert, Event: EventOverloaded, Severity: Critical, Text: "the host is overloaded: " + text + "; nothing is restarted until that is over"})
	case late || slow:
		h.eased = time.Time{}
	case !m.Overloaded():
		return nil
	case h.eased.IsZero():
		h.eased = now
	case now.Sub(h.eased) >= easeTime:
		return m.overloadOver(now)
	}
	if now.Sub(h.looked) >= overloadLook {
		h.looked = now
		out = append(out, Action{Kind: DoLook, IDs: m.overloadLooks()})
	}
	return out
}

// overloadOver lets what was held become healthy by itself; what does not run
// is restarted.
func (m *Machine) overloadOver(now time.Time) []Action {
	took := now.Sub(m.host.since).Round(time.Second)
	m.host.since, m.host.eased = time.Time{}, time.Time{}
	out := []Action{{Kind: DoAlert, Event: EventOverloadOver, Severity: Info, Closes: true, Text: fmt.Sprintf("the host is not overloaded any more, after %s", took)}}
	for _, s := range m.held() {
		if s.Hold.Kind == ForHost {
			out = append(out, m.step(s, DependencyUp, now)...)
		}
	}
	return out
}

// overloadLooks names what is to be inspected while the host is overloaded:
// what timed out, and what is held.
func (m *Machine) overloadLooks() []string {
	ids := map[string]bool{}
	for id := range m.host.late {
		ids[id] = true
	}
	for _, s := range m.held() {
		if s.Hold.Kind == ForHost {
			ids[s.ID] = true
		}
	}
	if len(ids) == 0 {
		return m.Audit(fewestLate)
	}
	all := slices.Sorted(maps.Keys(ids))
	return all[:min(len(all), mostLooks)]
}

// suspect asks, as the probe of s has timed out, to look at the others: where
// theirs have, too, the host is the cause. It returns when that is known.
func (m *Machine) suspect(s *Service, now time.Time) (until time.Time, look []string) {
	h := &m.host
	if !s.container.ProbeTimedOut || m.host.idle || !s.policy.ByCause || !m.Settings.ByCause || m.Overloaded() {
		return time.Time{}, nil
	}
	if now.Sub(h.looked) >= suspectLook {
		for id, key := range m.byID {
			if o := m.Services[key]; o != nil && o != s && o.ID == id && o.probed() && h.late[id].IsZero() {
				look = append(look, id)
			}
		}
		if len(look)+len(h.late) < fewestLate {
			return time.Time{}, nil
		}
		slices.Sort(look)
		look = look[:min(len(look), mostLooks)]
		h.looked = now
	}
	return h.looked.Add(lookTime), look
}

// probed says whether a service runs with a healthcheck.
func (s *Service) probed() bool {
	return s.watched && s.Gone.IsZero() && s.container.State == "running" && s.container.HasHealthcheck
}

// probed counts the services that run with a healthcheck.
func (m *Machine) probed() (n int) {
	for _, s := range m.Services {
		if s.probed() {
			n++
		}
	}
	return n
}

// heldByLoad says whether s must wait since the host is overloaded: whatever
// its causes are, unless a restart of ours has left it stopped.
func (m *Machine) heldByLoad(s *Service) bool {
	c := s.container
	return m.Overloaded() && s.watched && (c.State == "running" || s.Life.ended(c.stopWindow()) != endByUs)
}

// callTimes are the times that calls to the engine took.
type callTimes struct {
	usual, recent []time.Duration
}

const (
	usualCalls  = 64
	fewestCalls = 16 // before anything is usual
	recentCalls = 5
)

// note keeps the time of one call; those made while the host is overloaded are
// not usual.
func (c *callTimes) note(took time.Duration, overloaded bool) {
	keep := func(times []time.Duration, most int) []time.Duration {
		times = append(times, took)
		return times[max(0, len(times)-most):]
	}
	c.recent = keep(c.recent, recentCalls)
	if !overloaded {
		c.usual = keep(c.usual, usualCalls)
	}
}

// slow says whether the last calls took ten times as long as usual; five times
// once that was so.
func (c *callTimes) slow(already bool) bool {
	if len(c.usual) < fewestCalls || len(c.recent) < recentCalls {
		return false
	}
	recent, usual := c.figures()
	if already {
		return recent >= slowCall/2 && recent >= slowerBy/2*usual
	}
	return recent >= slowCall && recent >= slowerBy*usual
}

// figures are the medians.
func (c *callTimes) figures() (recent, usual time.Duration) {
	median := func(times []time.Duration) time.Duration {
		sorted := slices.Sorted(slices.Values(times))
		return sorted[len(sorted)/2]
	}
	return median(c.recent), median(c.usual)
}
