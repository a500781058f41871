package recovery

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// callReach is how long after a restart was asked for the engine's signal may
// come that belongs to it. Who stops a container later is somebody else.
const callReach = 5 * time.Second

// mark keeps what the engine reports about the end of a container's life.
func (m *Machine) mark(id string, mark Mark, now time.Time) []Action {
	if m.offline && mark.At.Before(now) { // of the past, which the engine remembers
		mark.Received = mark.At
	}
	s := m.Services[m.byID[id]]
	if s == nil {
		if mark.Kind == Asked && !stops(mark.Signal, mark.Signal) {
			return nil
		}
		life, known := m.early[id]
		if !known && len(m.early) >= maxEarly {
			clear(m.early) // rather forget than grow: unseen containers are left alone
		}
		life.note(mark)
		m.early[id] = life
		return nil
	}
	if mark.Kind == Asked && !stops(mark.Signal, s.container.StopSignal) {
		return nil
	}
	// A restart or stop of ours that stops a running container causes one mark of each
	// kind, which may be reported late; what comes twice is somebody else's.
	stopping := (s.Phase == Restarting || s.Phase == ShuttingDown) && s.container.State == "running"
	late := s.Life.stoppedByUs() && !mark.At.After(s.LastRestart)
	if (s.Phase == Restarting || s.Phase == ShuttingDown) && s.container.ID == "" { // an earlier run asked, and may not have been heard
		stopping = mark.Kind == Asked && mark.At.Sub(s.began) <= callReach || slices.ContainsFunc(s.Life.Marks, func(o Mark) bool { return o.Ours })
	}
	if (s.Phase == Waiting || s.Phase == GivenUp) && s.Stops > 0 { // the call to stop it has failed, and may stop it all the same
		stopping = s.Life.asked(now, patience(s.container))
	}
	mark.Ours = (stopping || late) && !mark.At.Before(s.began) && !s.Life.ours(mark)
	s.Life.note(mark)
	m.touch(s)
	if s.container.State == "running" && !s.inFlight() && s.Life.stopping(now, patience(s.container)) {
		return m.step(s, Stopping, now) // before its end is seen
	}
	if s.Phase == Waiting && s.container.State == "exited" && m.classify(s, s.container, now) == Down {
		return m.step(s, Down, now) // that a person stopped it is heard behind its end
	}
	return nil
}

func (m *Machine) destroyed(id string, now time.Time) (out []Action) {
	delete(m.early, id)
	m.part(id)
	delete(m.joined, id)
	delete(m.owners, id)
	delete(m.twins, id)
	delete(m.host.late, id)
	if s := m.Services[m.byID[id]]; s != nil && s.ID == id {
		out = m.step(s, Removed, now)
		if !s.Persistent() && !s.inFlight() && s.Gone.IsZero() {
			m.forget(s)
		}
	}
	delete(m.byID, id)
	return out
}

// listed compares a list with what is known. Who is not in it is gone; who is
// healthy and at rest is taken as listed; twins are told apart.
func (m *Machine) listed(all []Container, now time.Time) (out []Action) {
	there := make(map[string]bool, len(all))
	running := map[string][]string{}
	for _, c := range all {
		there[c.ID] = true
		if c.State == "running" && m.Settings.Watched(c) {
			running[c.Service()] = append(running[c.Service()], c.ID)
		}
	}
	clear(m.twins)
	for _, ids := range running {
		if len(ids) > 1 {
			for _, id := range ids {
				m.twins[id] = true
			}
		}
	}
	for id := range m.peers {
		if !there[id] {
			m.part(id)
		}
	}
	for _, c := range all {
		m.meet(c, false)
		if m.joined[c.ID] == nil && c.NetworkOf != "" {
			m.joined[c.ID] = &tenant{Container: slim(c)}
		}
	}
	maps.DeleteFunc(m.joined, func(id string, _ *tenant) bool { return !there[id] })
	maps.DeleteFunc(m.owners, func(id string, _ Container) bool { return !there[id] })
	maps.DeleteFunc(m.early, func(id string, _ Life) bool { return !there[id] })
	for _, id := range slices.Sorted(maps.Keys(m.byID)) {
		if !there[id] {
			out = append(out, m.destroyed(id, now)...)
		}
	}
	for _, c := range all {
		if s := m.Services[m.byID[c.ID]]; s != nil && c.State != s.container.State {
			s.unseen = true
		}
		if !m.NeedsLook(c) {
			if s := m.service(c); s != nil || m.Settings.Watched(c) && c.State == "running" {
				out = append(out, m.seen(c, now)...)
			}
		}
		if s := m.Services[m.byID[c.ID]]; s != nil && s.ID == c.ID && !s.unseen && orphaned(all, c) && m.Settings.Watched(c) && m.wanted(s, now) {
			out = append(out, m.step(s, Orphaned, now)...)
		}
	}
	return out
}

// wanted says whether a service is to run, and this program is in charge of
// that: an orphan that somebody stopped is nobody's trouble.
func (m *Machine) wanted(s *Service, now time.Time) bool {
	switch m.classify(s, s.container, now) {
	case Paused, Stopping, Down, Finished, Vanished, Revived:
		return false
	}
	return true
}

// NeedsLook says whether a listed container must be inspected, since the list
// does not say enough: what is watched and not healthy and at rest, and what
// shares a network with another.
func (m *Machine) NeedsLook(c Container) bool {
	s := m.service(c)
	watched := m.Settings.Watched(c)
	switch {
	case c.NetworkOf != "" && (watched || c.State == "running"), m.isOwner(c):
		return true
	case s == nil:
		return watched && (c.State == "running" && c.Health != "healthy" || m.early[c.ID].Marks != nil)
	case !watched && s.ID != c.ID:
		return false
	}
	return s.inFlight() || s.Phase != Idle || s.ID != c.ID || c.State != "running" || c.Health != "healthy" || s.container.State != "running"
}

// Audit names up to n containers that are healthy and at rest, others at each
// call: the list does not say whether they are still probed.
func (m *Machine) Audit(n int) (ids []string) {
	var keys []string
	for key, s := range m.Services {
		if s.watched && s.Phase == Idle && s.container.Health == "healthy" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	start, _ := slices.BinarySearch(keys, m.audited)
	for i := range min(n, len(keys)) {
		key := keys[(start+i)%len(keys)]
		ids = append(ids, m.Services[key].ID)
		m.audited = key + "\x00" // the next call goes on behind it
	}
	return ids
}

// service is the one that a container belongs to, or nil. A container stays
// with its service when it is renamed.
func (m *Machine) service(c Container) *Service {
	if key, ok := m.byID[c.ID]; ok {
		return m.Services[key]
	}
	return m.Services[m.key(c)]
}

// key is the name of a container's service. Containers that run at the same
// time under the same compose labels are services of their own.
func (m *Machine) key(c Container) string {
	key := c.Service()
	if s := m.Services[key]; m.twins[c.ID] && s != nil && s.ID != c.ID && m.twins[s.ID] {
		return key + " (" + c.ID[:min(12, len(c.ID))] + ")"
	}
	return key
}

// seen routes a container's state to its service.
func (m *Machine) seen(c Container, now time.Time) []Action {
	m.relate(c)
	if !c.StartedAt.IsZero() || m.peers[c.ID].id == "" { // inspected, or new
		m.meet(c, !c.StartedAt.IsZero())
	}
	if !c.StartedAt.IsZero() {
		m.noteProbe(c, now)
	}
	out := m.seenService(c, now)
	return append(out, m.askReported(c, now)...)
}

// seenService is seen, for the service that the container belongs to.
func (m *Machine) seenService(c Container, now time.Time) []Action {
	var out []Action
	s := m.service(c)
	watched := m.Settings.Watched(c)
	early := m.early[c.ID]
	delete(m.early, c.ID)
	switch {
	case s == nil && !watched:
		if c.State == "running" && (c.Health == "healthy" || c.Health == "" && !c.HasHealthcheck) {
			out = append(out, m.staleDependents(c, now)...)
		}
		return out
	case s == nil:
		s = &Service{Key: m.key(c), ID: c.ID, Name: clean(c.Name), Life: early, policy: m.defaults()}
		if s.Key != c.Service() {
			out = append(out, s.log(EventTwins, Warning, "two running containers have the labels of %s: both are watched", c.Service()))
		}
		m.Services[s.Key], m.byID[c.ID] = s, s.Key
		s.begin(c)
	case s.ID != c.ID && !watched:
		return out
	}
	policy, wrong := m.policy(c)
	for _, w := range wrong {
		if !s.warned[w] {
			if s.warned == nil {
				s.warned = map[string]bool{}
			}
			s.warned[w] = true
			out = append(out, s.log(EventLabelIgnored, Warning, "%s", w))
		}
	}
	if s.inFlight() {
		if s.ID == c.ID {
			s.policy = policy // an earlier run made the call, perhaps
		}
		// The end of the call brings the truth.
		in := m.classify(s, c, now)
		if s.ID != c.ID {
			in = Recreated
		} else if !watched && s.After == "" {
			in = OptedOut
		}
		return append(out, m.step(s, in, now)...)
	}
	if s.ID != c.ID {
		// While compose recreates a container, the old one stands beside it.
		if m.byID[s.ID] == s.Key && (c.State != "running" || !c.StartedAt.After(s.Life.Started)) {
			return out
		}
		delete(m.byID, s.ID)
		s.policy, s.watched, s.container = policy, watched, c
		s.ID, s.Name, s.Gone = c.ID, clean(c.Name), time.Time{}
		m.byID[c.ID] = s.Key
		out = append(out, m.step(s, Recreated, now)...)
		s.Life = early
		s.begin(c)
	}
	if !watched && s.After == "" {
		if s.watched {
			out = append(out, m.step(s, OptedOut, now)...)
		}
		m.forgetDone(s)
		return out
	}
	first := s.container.ID == ""
	s.policy, s.watched, s.Name, s.Gone = policy, watched, clean(c.Name), time.Time{}
	m.byID[c.ID] = s.Key // an inspection may arrive behind its removal: the next list tells
	out = append(out, m.observe(s, c, now)...)
	if first && s.Phase == Waiting && s.After == "" {
		out = append(out, m.plan(s, now)...) // until now its labels were not known
	}
	return out
}

// begin takes over the start of a container's life that is seen for the first
// time.
func (s *Service) begin(c Container) {
	s.Life.Marks = slices.DeleteFunc(s.Life.Marks, func(k Mark) bool { return k.Kind == Asked && !stops(k.Signal, c.StopSignal) })
	s.Life.begin(c.StartedAt)
	s.begun = false
}

// observe is what a container's state means for its service.
func (m *Machine) observe(s *Service, c Container, now time.Time) (out []Action) {
	switch {
	case s.begun && s.Life.another(c.StartedAt): // the life that our restart began
	case s.begun, s.Life.overtaken(c.StartedAt):
		return nil // of a life before
	}
	s.container, s.unseen = c, false
	if s.met.IsZero() {
		s.met = now
	}
	if s.Life.another(c.StartedAt) {
		first := s.Life.Started.IsZero() || s.begun
		s.begun = false
		s.lastEnd = s.Life.ended(c.stopWindow())
		s.Life.begin(c.StartedAt)
		s.met = now
		if !first {
			out = m.step(s, NewLife, now)
		}
	}
	if c.State == "running" && !s.Life.stopping(now, patience(c)) {
		// It was asked to stop, and went on.
		s.Life.Marks = slices.DeleteFunc(s.Life.Marks, func(k Mark) bool { return !k.Ours && k.Kind != Ended })
	}
	out = append(out, m.step(s, m.classify(s, c, now), now)...)
	m.touch(s)
	m.forgetDone(s)
	return out
}

// callEnded is the end of a restart, start or stop.
func (m *Machine) callEnded(e CallEnded, now time.Time) []Action {
	s := m.Services[e.Key]
	if s == nil || !s.inFlight() {
		return nil
	}
	began := s.LastRestart
	s.err, s.LastRestart = e.Err, now
	in := CallFailed
	switch c := e.Seen; {
	case s.Phase == ShuttingDown:
		in = m.stopEnded(s, e, now)
	case e.Missing:
		in = CallGone
	case c == nil && e.Err == nil:
		in, s.begun = CallSucceeded, true
	case c == nil || c.State == "running" && !s.Life.another(c.StartedAt):
		if e.Err == nil {
			in = CallSucceeded
		} else if s.Life.stopping(now, patience(s.container)) {
			in = CallStopped
		}
	case e.Err == nil || s.Life.another(c.StartedAt) && (c.State == "running" || !c.StartedAt.Before(began)):
		in, s.met = CallSucceeded, now
		s.Life.begin(c.StartedAt)
	case c.State == "exited" || c.State == "created" || c.State == "dead":
		in = CallHalfway
		if s.Life.another(c.StartedAt) { // somebody restarted it just before, and the call stopped that life
			s.Life.begin(c.StartedAt)
		}
		switch s.Life.ended(c.stopWindow()) {
		case endByPerson:
			in = CallStopped
		case endUnknown:
			if c.FinishedAt.Before(began) && !c.FinishedAt.IsZero() {
				in = CallStopped // before the call, and nobody saw by whom
				break
			}
			// Whatever events come or do not come: the call stopped it.
			s.Life.note(Mark{Kind: Ended, At: cmp.Or(later(c.FinishedAt, s.Life.Started), now), Received: now, ExitCode: c.ExitCode, Ours: true})
		}
	}
	if e.Seen != nil {
		s.begun = false // of a call before, behind which nobody could look
		s.container = *e.Seen
		s.policy, _ = m.policy(*e.Seen)
	}
	out := m.step(s, in, now)
	if in == CallGone {
		delete(m.byID, s.ID)
		return out
	}
	if !s.Gone.IsZero() { // it was removed meanwhile
		return append(out, m.step(s, Removed, now)...)
	}
	if e.Seen != nil && in == CallFailed { // somebody may have paused it meanwhile
		out = append(out, m.seen(*e.Seen, now)...)
	}
	if e.Seen != nil && in == CallSucceeded {
		if t := m.joined[s.ID]; t != nil {
			t.life.doubtful = e.Seen.StartedAt // looked at behind the call, it is believed
		}
		out = append(out, m.seen(*e.Seen, now)...)
	}
	return out
}

// StillStopping says whether a call that an earlier run of this program made is
// still stopping the container: its end is yet to come.
func (m *Machine) StillStopping(key string, c Container, now time.Time) bool {
	s := m.Services[key]
	return s != nil && s.inFlight() && c.State == "running" && !s.Life.another(c.StartedAt) && s.Life.asked(now, c.stopWindow())
}

// later is t where it lies behind since, and zero otherwise.
func later(t, since time.Time) time.Time {
	if t.After(since) {
		return t
	}
	return time.Time{}
}
