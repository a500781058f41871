package recovery

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Message is something that happened; one of the types below.
type Message interface{ isMessage() }

type (
	// Seen is a container's state, freshly inspected.
	Seen struct{ Container Container }
	// Listed is a list of all containers: who is not in it is gone. Those that
	// need no inspection are taken as they are listed.
	Listed struct{ All []Container }
	// Signalled is a signal that somebody sent to a container.
	Signalled struct {
		ID, Signal string
		At         time.Time // by the engine's clock, as in those below
	}
	// Exited is the end of a container's main process.
	Exited struct {
		ID       string
		ExitCode int
		At       time.Time
	}
	// StopDone is the end of a request to stop a container.
	StopDone struct {
		ID string
		At time.Time
	}
	// Destroyed is a container that was removed.
	Destroyed struct{ ID string }
	// CallEnded is the end of a restart or start that was asked for. Seen is the
	// container as it is now; nil where that is not known.
	CallEnded struct {
		Key  string
		Err  error
		Seen *Container
		// Missing says that the container was inspected and is not there.
		Missing bool
	}
	// Dependents are the containers to restart after a recovery, with what each
	// of them needs.
	Dependents struct {
		Of  string
		All []Dependent
	}
	// Tick lets time pass.
	Tick struct{}
	// Online says that the engine can be asked, and that what it lists has been
	// seen; Offline that it is lost. Time stands still in between.
	Online  struct{}
	Offline struct{}
	// ResetAsked clears the attempts of the services of that name.
	ResetAsked struct{ Name string }
)

func (Seen) isMessage()       {}
func (Listed) isMessage()     {}
func (Signalled) isMessage()  {}
func (Exited) isMessage()     {}
func (StopDone) isMessage()   {}
func (Destroyed) isMessage()  {}
func (CallEnded) isMessage()  {}
func (Dependents) isMessage() {}
func (Tick) isMessage()       {}
func (Online) isMessage()     {}
func (Offline) isMessage()    {}
func (ResetAsked) isMessage() {}

// Machine holds all services. It is not safe for concurrent use.
type Machine struct {
	Settings Settings
	Services map[string]*Service
	// Restarts are the times of those within the window, dependents' aside.
	Restarts []time.Time
	// Throttled says that the rate limit is reached, and that people know.
	Throttled bool
	// Trace, if set, is called with every pair of the table that is passed.
	Trace func(Phase, Input)

	// ruleFor is the table. (The rules feed inputs to services themselves, so the
	// compiler wants it to be reached through a variable.)
	ruleFor   func(Phase, Input) rule
	offline   bool
	offlineAt time.Time           // zero: since the beginning
	byID      map[string]string   // keys by container id
	timed     map[string]*Service // those that time changes, by key
	early     map[string]Life     // what came of containers before they were seen
	joined    map[string]Container
	owners    map[string]Container // those whose network others live in, by id
	twins     map[string]bool      // ids of running containers that share a service's labels
	audited   string               // the last service that Audit named
	saved     map[string]string    // the signatures of those worth saving, by key
	changed   bool                 // one of them has changed
}

// NewMachine returns a machine that knows nothing yet.
func NewMachine(s Settings) *Machine {
	return &Machine{ruleFor: ruleFor, Settings: s, Services: map[string]*Service{}, offline: true, byID: map[string]string{}, timed: map[string]*Service{}, saved: map[string]string{}, early: map[string]Life{},
		joined: map[string]Container{}, owners: map[string]Container{}, twins: map[string]bool{}}
}

// goneAfter is how long a service is remembered whose container was removed
// and not created anew.
const goneAfter = 10 * time.Minute

// maxEarly bounds what is kept of containers that were not seen yet.
const maxEarly = 1024

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
		s.Key, s.policy = key, m.Settings.Policy // until the container's labels are seen
		s.watched = true
		s.Attempts = max(s.Attempts, 0)
		s.LastRestart, s.FailingSince, s.HealthySince, s.Gone = past(s.LastRestart), past(s.FailingSince), past(s.HealthySince), past(s.Gone)
		if latest := now.Add(m.longestWait(s)); s.Due.After(latest) {
			s.Due = latest
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

// longestWait is the longest that a phase may last from now on.
func (m *Machine) longestWait(s *Service) time.Duration {
	p := m.Settings.Policy
	if s.Phase == Waiting {
		return max(time.Duration(float64(p.Max)*(1+p.Jitter)), p.UnhealthyFor)
	}
	return max(p.VerifyTimeout, longestVerify)
}

// Apply takes one message at a time and returns what is to be done.
func (m *Machine) Apply(msg Message, now time.Time) []Action {
	var out []Action
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
	case Dependents:
		out = m.dependents(msg, now)
	case ResetAsked:
		for _, s := range m.Named(msg.Name) {
			out = append(out, m.step(s, Reset, now)...)
		}
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
	out = append(out, m.passTime(now)...)
	return append(out, m.dispatch(now)...)
}

// Named lists the services of a name: the service's, or its container's.
func (m *Machine) Named(name string) (all []*Service) {
	for _, key := range slices.Sorted(maps.Keys(m.Services)) {
		if s := m.Services[key]; s.Key == name || s.Name == name {
			all = append(all, s)
		}
	}
	return all
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
	// A restart of ours that stops a running container causes one mark of each
	// kind, which may be reported late; what comes twice is somebody else's.
	stopping := s.Phase == Restarting && s.container.State == "running"
	late := s.Life.stoppedByUs() && !mark.At.After(s.LastRestart)
	mark.Ours = (stopping || late) && !mark.At.Before(s.began) && !s.Life.ours(mark)
	s.Life.note(mark)
	m.touch(s)
	if s.container.State == "running" && !s.inFlight() && s.Life.stopping(now, patience(s.container)) {
		return m.step(s, Stopping, now) // before its end is seen
	}
	return nil
}

func (m *Machine) destroyed(id string, now time.Time) (out []Action) {
	delete(m.early, id)
	delete(m.joined, id)
	delete(m.owners, id)
	delete(m.twins, id)
	if s := m.Services[m.byID[id]]; s != nil && s.ID == id {
		out = m.step(s, Removed, now)
		if !s.Persistent() && !s.inFlight() && s.Gone.IsZero() {
			m.forget(s)
		}
	}
	delete(m.byID, id)
	return out
}

// signature tells apart what is worth saving of a service.
func (s *Service) signature() string {
	if !s.Persistent() {
		return ""
	}
	return fmt.Sprint(s.ID, s.Phase, s.Attempts, s.Open, s.Due.UnixNano(), s.LastRestart.UnixNano(), len(s.Life.Marks), s.Life.Started.UnixNano(), s.Gone.IsZero(), s.After, s.HeldFor)
}

// touch notes whether time changes a service, and whether it is worth saving.
func (m *Machine) touch(s *Service) {
	if m.Services[s.Key] == s {
		if signature := s.signature(); signature != m.saved[s.Key] {
			m.changed = true
			if m.saved[s.Key] = signature; signature == "" {
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
	if m.saved[s.Key] != "" {
		m.changed = true
	}
	delete(m.saved, s.Key)
	delete(m.Services, s.Key)
	delete(m.timed, s.Key)
	if m.byID[s.ID] == s.Key {
		delete(m.byID, s.ID)
	}
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
	for _, c := range all {
		if _, known := m.joined[c.ID]; !known && c.NetworkOf != "" {
			m.joined[c.ID] = slim(c)
		}
	}
	for _, known := range []map[string]Container{m.joined, m.owners} {
		maps.DeleteFunc(known, func(id string, _ Container) bool { return !there[id] })
	}
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
		if s := m.Services[m.byID[c.ID]]; s != nil && s.ID == c.ID && orphaned(all, c) && m.Settings.Watched(c) {
			out = append(out, m.step(s, Orphaned, now)...)
		}
	}
	return out
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
		s = &Service{Key: m.key(c), ID: c.ID, Name: clean(c.Name), Life: early}
		if s.Key != c.Service() {
			out = append(out, s.log(EventTwins, Warning, "two running containers have the labels of %s: both are watched", c.Service()))
		}
		m.Services[s.Key], m.byID[c.ID] = s, s.Key
		s.begin(c)
	case s.ID != c.ID && !watched:
		return out
	}
	policy, wrong := m.Settings.For(c)
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
		// The end of the call brings the truth.
		in := s.classify(c, now)
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
	s.policy, s.watched, s.Name, s.Gone = policy, watched, clean(c.Name), time.Time{}
	m.byID[c.ID] = s.Key // an inspection may arrive behind its removal: the next list tells
	return append(out, m.observe(s, c, now)...)
}

// begin takes over the start of a container's life that is seen for the first
// time.
func (s *Service) begin(c Container) {
	s.Life.Marks = slices.DeleteFunc(s.Life.Marks, func(k Mark) bool { return k.Kind == Asked && !stops(k.Signal, c.StopSignal) })
	s.Life.begin(c.StartedAt)
}

// observe is what a container's state means for its service.
func (m *Machine) observe(s *Service, c Container, now time.Time) (out []Action) {
	s.container, s.unseen = c, false
	if c.StartedAt.After(s.Life.Started) {
		first := s.Life.Started.IsZero()
		s.lastEnd = s.Life.ended(c.stopWindow())
		s.Life.begin(c.StartedAt)
		if !first {
			out = m.step(s, NewLife, now)
		}
	}
	if s.Life.Started.After(c.StartedAt) && !c.StartedAt.IsZero() {
		return out // older than what is known
	}
	if c.State == "running" && !s.Life.stopping(now, patience(c)) {
		// It was asked to stop, and went on.
		s.Life.Marks = slices.DeleteFunc(s.Life.Marks, func(k Mark) bool { return !k.Ours && k.Kind != Ended })
	}
	out = append(out, m.step(s, s.classify(c, now), now)...)
	m.touch(s)
	m.forgetDone(s)
	return out
}

// callEnded is the end of a restart or start.
func (m *Machine) callEnded(e CallEnded, now time.Time) []Action {
	s := m.Services[e.Key]
	if s == nil || !s.inFlight() {
		return nil
	}
	began := s.LastRestart
	s.err, s.LastRestart = e.Err, now
	in := CallFailed
	switch c := e.Seen; {
	case e.Missing:
		in = CallGone
	case c == nil && e.Err == nil:
		in = CallSucceeded
		s.Life.begin(now)
	case c == nil || c.State == "running" && !c.StartedAt.After(s.Life.Started):
		if e.Err == nil {
			in = CallSucceeded
		} else if s.Life.stopping(now, patience(s.container)) {
			in = CallStopped
		}
	case e.Err == nil || c.StartedAt.After(s.Life.Started):
		in = CallSucceeded
		s.Life.begin(c.StartedAt)
	case c.State == "exited" || c.State == "created" || c.State == "dead":
		in = CallHalfway
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
		s.container = *e.Seen
	}
	out := m.step(s, in, now)
	if in == CallGone {
		delete(m.byID, s.ID)
		return out
	}
	if !s.Gone.IsZero() { // it was removed meanwhile
		return append(out, m.step(s, Removed, now)...)
	}
	if e.Seen != nil && in == CallSucceeded {
		out = append(out, m.seen(*e.Seen, now)...)
	}
	return out
}

// later is t where it lies behind since, and zero otherwise.
func later(t, since time.Time) time.Time {
	if t.After(since) {
		return t
	}
	return time.Time{}
}

// passTime is what time alone changes.
func (m *Machine) passTime(now time.Time) (out []Action) {
	for _, key := range slices.Sorted(maps.Keys(m.timed)) {
		s := m.timed[key]
		if s == nil {
			continue
		}
		switch {
		case !s.Gone.IsZero() && !s.inFlight() && now.Sub(s.Gone) >= goneAfter:
			m.forget(s)
			out = append(out, Action{Kind: DoForget, Key: s.Key})
		case s.unseen:
		case (s.Phase == Verifying || s.Phase == Held) && !s.Due.IsZero() && !s.Due.After(now):
			out = append(out, m.step(s, Due, now)...)
		case s.settles() && now.Sub(s.container.StartedAt) >= minUptime:
			out = append(out, m.step(s, Healthy, now)...)
		case s.Phase == Idle && s.Attempts > 0 && !s.HealthySince.IsZero() && now.Sub(s.HealthySince) >= s.policy.StableFor:
			out = append(out, m.step(s, Stable, now)...)
		}
		m.forgetDone(s)
	}
	return out
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
	running := 0
	for _, s := range m.timed {
		switch {
		case s.inFlight():
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
		own := s.After == "" && !s.policy.DryRun
		if own && len(m.Restarts) >= m.Settings.MaxRestarts {
			limited++
			continue
		}
		if running >= m.Settings.MaxConcurrent {
			continue
		}
		out = append(out, m.step(s, Due, now)...)
		if s.Phase == Restarting {
			running++
			if own {
				m.Restarts = append(m.Restarts, now)
			}
		}
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
	for _, s := range m.timed {
		if !s.Gone.IsZero() {
			take(s.Gone.Add(goneAfter))
		}
		switch s.Phase {
		case Waiting:
			if s.Due.After(now) {
				take(s.Due)
			} else if !m.blocked(s) && !s.unseen && len(m.Restarts) >= m.Settings.MaxRestarts { // held back by the limit
				take(m.Restarts[0].Add(m.Settings.Window))
			}
		case Verifying, Held:
			take(s.Due)
		case Idle:
			if s.settles() {
				take(s.container.StartedAt.Add(minUptime))
			}
			if s.Attempts > 0 && !s.HealthySince.IsZero() {
				take(s.HealthySince.Add(s.policy.StableFor))
			}
		}
	}
	return next
}
