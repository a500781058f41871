package watchdog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// This file decides. It is pure: no clock, no socket, no goroutine; the time
// comes in with each event, and what is to be done goes out as actions.
//
// One service passes through these phases. "fails" is: probes have failed as
// often as the healthcheck's retries say, or it died by itself.
//
//	phase       event                              next phase   what is done
//	idle        fails, attempts left               waiting      until the backoff since the last restart is over
//	idle        fails, none left                   given up     one critical alert
//	waiting     due, and the storm guard agrees    restarting   restart; the attempt counts from here
//	waiting     healthy by itself                  idle
//	restarting  the call succeeded                 verifying    warning: restarted
//	restarting  failed half-way: not running       restarting   start, once
//	restarting  failed                             as if it fails again
//	verifying   healthy                            idle         info: recovered; dependents follow
//	verifying   fails, or no verdict in time       as if it fails again
//	idle        healthy for stable-for             idle         attempts are forgotten
//	given up    healthy by itself                  idle         info: recovered; attempts stay until stable
//	given up    recreated, or reset by a person    idle         attempts are forgotten
//	any         stopped by a person, paused, gone  idle         left alone
//	any but     restarted by somebody else         idle         watched anew; attempts stay
//	 given up
//
// A restart of a dependent passes through waiting, restarting and verifying in
// the same way, but counts no attempt.

// Phase is where a service stands.
type Phase string

// The phases of a service.
const (
	Idle       Phase = ""
	Waiting    Phase = "waiting"
	Restarting Phase = "restarting"
	Verifying  Phase = "verifying"
	GivenUp    Phase = "given up"
)

// Service is what is known and decided about one service.
type Service struct {
	Key, ID, Name string
	Phase         Phase
	// Attempts counts restarts since the service was last stable.
	Attempts int
	// Due is when the phase ends: the restart of waiting, the deadline of
	// verifying.
	Due time.Time
	// LastRestart is when the last restart ended.
	LastRestart time.Time
	// FailingSince and HealthySince are zero where they do not apply.
	FailingSince, HealthySince time.Time
	// StartedAt is the engine's, of the start that is known.
	StartedAt time.Time
	// Stopped says that somebody stopped the container since it started, Died
	// that it ended.
	Stopped, Died bool
	StoppedAt     time.Time
	// StartTried says that a restart failed half-way and a start followed.
	StartTried bool
	// After is the service for whose sake this one is restarted.
	After  string
	Reason string
	Output string

	policy    Policy
	container Container
	watched   bool
}

// Event is something that happened; one of the types below.
type Event interface{ isEvent() }

type (
	// Seen is a container's state, freshly inspected or listed.
	Seen struct{ Container Container }
	// SeenAll is Seen for many at once.
	SeenAll struct{ Containers []Container }
	// Killed is a signal that somebody sent, Died an end, at the engine's time.
	Killed struct {
		ID, Signal string
		At         time.Time
	}
	// Died is the end of a container's main process.
	Died struct {
		ID       string
		ExitCode int
		At       time.Time
	}
	// Gone is a container that was removed.
	Gone struct{ ID string }
	// Done is the end of a restart or start that was asked for. Seen is the
	// container as it is now; nil where nobody knows.
	Done struct {
		Key  string
		Err  error
		Seen *Container
		// Missing says that there is no such container any more.
		Missing bool
	}
	// Depends asks for a restart for the sake of another service.
	Depends struct {
		Container Container
		After     string
	}
	// Tick lets time pass.
	Tick struct{}
	// Online says that the engine can be asked, and that what it says has been
	// seen; Offline that it is lost. Time stands still in between.
	Online  struct{}
	Offline struct{}
	// Reset forgets a service's attempts, on a person's word.
	Reset struct{ Name string }
)

func (Seen) isEvent()    {}
func (SeenAll) isEvent() {}
func (Killed) isEvent()  {}
func (Died) isEvent()    {}
func (Gone) isEvent()    {}
func (Done) isEvent()    {}
func (Depends) isEvent() {}
func (Tick) isEvent()    {}
func (Reset) isEvent()   {}
func (Online) isEvent()  {}
func (Offline) isEvent() {}

// Severity of a report to people.
type Severity string

// The severities.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// ActionKind says what is to be done.
type ActionKind string

// The kinds of actions.
const (
	DoRestart ActionKind = "restart"
	DoStart   ActionKind = "start"
	DoCascade ActionKind = "cascade"
	DoAlert   ActionKind = "alert"
	DoLog     ActionKind = "log"
)

// Action is one thing to do, with all that is needed to explain it.
type Action struct {
	Kind     ActionKind
	Key      string
	ID, Name string
	// Container is what a restart is about.
	Container Container
	Policy    Policy
	Attempt   int
	Delay     time.Duration
	Severity  Severity // of an alert
	Topic     string   // what an alert is about: restarted, recovered, gave-up, storm …
	Text      string
	Reason    string
	Output    string
	// Failed marks a restart that failed or did not help; Took is how long a
	// recovery took since the first failure.
	Failed bool
	Took   time.Duration
}

// Machine holds all services. It is not safe for concurrent use.
type Machine struct {
	Settings Settings
	Services map[string]*Service
	// Restarts are the times of those within the window.
	Restarts []time.Time
	// Storm says that the guard is holding back, and that it was told.
	Storm bool

	offline   bool
	offlineAt time.Time // zero: since the beginning
	byID      map[string]string
	warned    map[string]bool
}

// NewMachine returns a machine that knows nothing yet.
func NewMachine(s Settings) *Machine {
	return &Machine{Settings: s, Services: map[string]*Service{}, offline: true, byID: map[string]string{}, warned: map[string]bool{}}
}

// Adopt takes over what an earlier run of this program remembered.
func (m *Machine) Adopt(services map[string]*Service, restarts []time.Time) {
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

// Apply takes one event at a time and returns what is to be done.
func (m *Machine) Apply(e Event, now time.Time) []Action {
	var out []Action
	switch e := e.(type) {
	case Seen:
		out = m.seen(e.Container, now)
	case SeenAll:
		for _, c := range e.Containers {
			out = append(out, m.seen(c, now)...)
		}
	case Killed:
		m.update(m.byID[e.ID], func(s *Service) {
			// Before the start that is known: an echo of an earlier life.
			if s.Phase != Restarting && endsProcess(e.Signal) && e.At.After(s.StartedAt) {
				s.Stopped, s.StoppedAt = true, now
			}
		})
	case Died:
		m.update(m.byID[e.ID], func(s *Service) {
			if s.Phase != Restarting && e.At.After(s.StartedAt) {
				s.Died = true
			}
		})
	case Gone:
		m.update(m.byID[e.ID], func(s *Service) { s.gone() })
		delete(m.byID, e.ID)
	case Done:
		m.update(e.Key, func(s *Service) { out = append(out, s.done(e, now)...) })
		if e.Seen != nil {
			out = append(out, m.seen(*e.Seen, now)...)
		}
	case Depends:
		out = m.depends(e, now)
	case Reset:
		out = m.reset(e.Name)
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
		m.update(key, func(s *Service) { out = append(out, s.tick(now)...) })
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
				s.calm()
			}
			if !s.memorable() {
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
			out = append(out, Action{Kind: DoLog, Severity: Warning, Key: key, ID: c.ID, Name: c.Name, Text: w})
		}
	}
	if s.Phase == Restarting {
		return out // the end of the call brings the truth
	}
	if s.ID != c.ID {
		// While compose recreates a container, the old one stands beside it.
		if m.byID[s.ID] == key && (c.State != "running" || !c.StartedAt.After(s.StartedAt)) {
			return out
		}
		delete(m.byID, s.ID)
		out = append(out, s.recreated(c)...)
	}
	m.byID[c.ID] = key
	s.container = c
	return append(out, s.observe(c, now)...)
}

// depends makes a service wait for a restart for the sake of another.
func (m *Machine) depends(e Depends, now time.Time) []Action {
	c := e.Container
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
	s.Phase, s.Due, s.After = Waiting, now, e.After
	s.Reason = e.After + " was restarted"
	return nil
}

func (m *Machine) reset(name string) []Action {
	var out []Action
	for _, key := range slices.Sorted(maps.Keys(m.Services)) {
		s := m.Services[key]
		if s.Key != name && s.Name != name || s.Phase == Restarting {
			continue
		}
		s.Attempts, s.Phase, s.FailingSince = 0, Idle, time.Time{}
		out = append(out, s.log(Info, "reset by a person"))
	}
	return out
}

// dispatch lets the services whose time has come be restarted, as far as the
// storm guard allows, those that have waited longest first.
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
			return append(out, m.holdBack(len(due)-i)...)
		}
		running++
		m.Restarts = append(m.Restarts, now)
		out = append(out, s.begin(now))
	}
	if m.Storm && len(due) == 0 && running == 0 {
		m.Storm = false
		out = append(out, Action{Kind: DoAlert, Severity: Info, Topic: "storm-over", Text: "the storm is over: no restart is held back"})
	}
	return out
}

// holdBack tells once that restarts wait.
func (m *Machine) holdBack(n int) []Action {
	if m.Storm {
		return nil
	}
	m.Storm = true
	return []Action{{Kind: DoAlert, Severity: Critical, Topic: "storm", Text: fmt.Sprintf(
		"storm: %d restarts are held back, at most %d at once and %d per %s", n, m.Settings.MaxConcurrent, m.Settings.MaxRestarts, m.Settings.Window)}}
}

// Next is when time alone will change something; zero for never.
func (m *Machine) Next(now time.Time) time.Time {
	var next time.Time
	if m.offline {
		return next
	}
	take := func(t time.Time) {
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
				take(s.Due)
			} else if len(m.Restarts) > 0 { // held back by the guard
				take(m.Restarts[0].Add(m.Settings.Window))
			}
		case Verifying:
			if !s.Stopped {
				take(s.Due)
			}
		case Idle:
			if s.Attempts > 0 && !s.HealthySince.IsZero() {
				take(s.HealthySince.Add(s.policy.StableFor))
			}
		}
	}
	return next
}

// endsProcess says whether a signal is one that people stop containers with.
func endsProcess(signal string) bool {
	switch strings.TrimPrefix(strings.ToUpper(signal), "SIG") {
	case "15", "9", "2", "3", "6", "TERM", "KILL", "INT", "QUIT", "ABRT", "37", "RTMIN+3":
		return true
	}
	return false
}

func (s *Service) log(sev Severity, format string, args ...any) Action {
	return Action{Kind: DoLog, Severity: sev, Key: s.Key, ID: s.ID, Name: s.Name, Attempt: s.Attempts, Text: fmt.Sprintf(format, args...), Reason: s.Reason}
}

func (s *Service) alert(sev Severity, topic, format string, args ...any) Action {
	a := s.log(sev, format, args...)
	a.Kind, a.Topic, a.Output, a.Policy = DoAlert, topic, s.Output, s.policy
	return a
}

// calm ends whatever was going on.
func (s *Service) calm() {
	s.Phase, s.After, s.StartTried = Idle, "", false
	s.FailingSince, s.Due = time.Time{}, time.Time{}
}

func (s *Service) gone() {
	if s.Phase != GivenUp && s.Phase != Restarting {
		s.calm()
	}
	s.HealthySince = time.Time{}
}

// recreated takes a new container in an old one's place. It keeps the count,
// but for one that was given up: somebody has mended it.
func (s *Service) recreated(c Container) (out []Action) {
	if s.Phase == GivenUp {
		s.Attempts = 0
		out = append(out, s.log(Info, "recreated: attempts are forgotten"))
	}
	s.calm()
	s.ID, s.Name, s.StartedAt = c.ID, c.Name, c.StartedAt
	s.Stopped, s.Died, s.HealthySince = false, false, time.Time{}
	return out
}

// stopPatience is how long a container that somebody asked to stop may take
// before it counts as one that goes on.
const stopPatience = 2 * time.Minute

// observe is what a container's state means for its service.
func (s *Service) observe(c Container, now time.Time) (out []Action) {
	s.Name = c.Name
	if c.StartedAt.After(s.StartedAt) && c.State == "running" {
		if !s.StartedAt.IsZero() && (s.Phase == Waiting || s.Phase == Verifying) {
			out = append(out, s.log(Info, "restarted by somebody else: watched anew"))
			s.calm()
		}
		s.StartedAt, s.Stopped, s.Died, s.HealthySince = c.StartedAt, false, false, time.Time{}
	}
	switch {
	case c.State == "running":
		return append(out, s.observeRunning(c, now)...)
	case c.State == "exited" && s.Died && !s.Stopped && s.policy.RestartExited && !c.ownPolicy() && s.Phase != Waiting:
		return append(out, s.fails(fmt.Sprintf("died by itself with exit code %d", c.ExitCode), c.LastOutput, now)...)
	case c.State == "exited" && (s.Phase == Verifying || s.Phase == Waiting) && !s.Stopped:
		return out // nobody stopped it: the deadline, or the restart, decides
	}
	if s.Phase == Waiting || s.Phase == Verifying {
		why := c.State
		if s.Stopped {
			why = "stopped by somebody"
		}
		out = append(out, s.log(Info, "%s: left alone", why))
		s.calm()
	}
	s.HealthySince = time.Time{}
	return out
}

func (s *Service) observeRunning(c Container, now time.Time) []Action {
	if s.Stopped && now.Sub(s.StoppedAt) > stopPatience {
		s.Stopped = false // it was asked to stop, and went on
	}
	switch {
	case c.failing():
		s.HealthySince = time.Time{}
		return s.fails(fmt.Sprintf("unhealthy: %d probes failed in a row", c.FailingStreak), c.LastOutput, now)
	case c.Health == "healthy" || c.Health == "" && !c.HasHealthcheck && s.Phase != Verifying:
		if s.HealthySince.IsZero() {
			s.HealthySince = now
		}
		return s.well(now)
	case s.Phase == Waiting && s.After == "" && c.Health == "starting":
		s.calm() // its probes begin anew
	}
	return nil
}

// well is a service that is healthy.
func (s *Service) well(now time.Time) (out []Action) {
	switch s.Phase {
	case Verifying:
		took := now.Sub(s.LastRestart).Round(time.Millisecond)
		if !s.FailingSince.IsZero() {
			took = now.Sub(s.FailingSince).Round(time.Millisecond)
		}
		by := fmt.Sprintf("by restart %d", s.Attempts)
		if s.After != "" {
			by = "after " + s.After
		}
		a := s.alert(Info, "recovered", "recovered in %s, %s", took, by)
		a.Took = took
		out = append(out, a)
		if s.policy.Cascade {
			out = append(out, Action{Kind: DoCascade, Key: s.Key, ID: s.ID, Name: s.Name, Container: s.container, Text: "dependents follow"})
		}
		s.calm()
	case GivenUp:
		out = append(out, s.alert(Info, "recovered", "recovered by itself"))
		s.calm()
	case Waiting:
		if s.After == "" {
			out = append(out, s.log(Info, "healthy again by itself"))
			s.calm()
		}
	}
	return out
}

// fails is a service that needs a restart: when, or never.
func (s *Service) fails(reason, output string, now time.Time) []Action {
	if output != "" {
		s.Output = output
	}
	if s.Phase == GivenUp || s.Stopped || s.Phase == Waiting && s.After == "" {
		return nil
	}
	var out []Action
	if s.Phase == Verifying {
		a := s.log(Warning, "restart %d did not help: %s", s.Attempts, reason)
		a.Failed = true
		out = append(out, a)
		s.After = "" // restarted for another's sake: now for its own
	}
	if !s.watched {
		s.calm()
		return append(out, s.alert(Warning, "dependent-ill", "ill after a restart, and not watched: %s", reason))
	}
	s.Reason = reason
	if s.FailingSince.IsZero() {
		s.FailingSince = now
	}
	if s.Attempts >= s.policy.MaxAttempts {
		s.Phase, s.Due = GivenUp, time.Time{}
		return append(out, s.alert(Critical, "gave-up", "gave up after %d restarts: %s; it is left alone until it is healthy, recreated, or reset", s.Attempts, reason))
	}
	s.Phase, s.Due = Waiting, now
	if s.Attempts == 0 {
		s.Due = s.FailingSince.Add(s.policy.UnhealthyFor)
	} else if d := s.LastRestart.Add(s.policy.jittered(s.policy.Delay(s.Attempts), s.Key, s.Attempts)); d.After(now) {
		s.Due = d
	}
	if s.Due.After(now) {
		a := s.log(Info, "restart %d comes in %s", s.Attempts+1, s.Due.Sub(now).Round(time.Millisecond))
		a.Delay = s.Due.Sub(now)
		out = append(out, a)
	}
	return out
}

// begin asks for the restart. From here on the attempt counts, whatever
// becomes of the call or of this program.
func (s *Service) begin(now time.Time) Action {
	if s.After == "" {
		s.Attempts++
	}
	s.Phase, s.Due, s.LastRestart, s.StartTried = Restarting, time.Time{}, now, false
	text := fmt.Sprintf("restart %d of %d", s.Attempts, s.policy.MaxAttempts)
	if s.After != "" {
		text = "restart after " + s.After
	}
	return Action{Kind: DoRestart, Key: s.Key, ID: s.ID, Name: s.Name, Container: s.container, Policy: s.policy, Attempt: s.Attempts, Text: text, Reason: s.Reason, Output: s.Output}
}

// done is the end of a restart or start.
func (s *Service) done(e Done, now time.Time) []Action {
	if s.Phase != Restarting {
		return nil
	}
	s.LastRestart = now
	up := e.Err == nil || e.Seen != nil && e.Seen.State == "running" && e.Seen.StartedAt.After(s.StartedAt)
	switch {
	case e.Missing:
		out := s.log(Info, "gone: left alone")
		s.calm()
		return []Action{out}
	case up:
		s.Phase, s.Due = Verifying, now.Add(s.policy.verifyFor(s.container))
		s.Stopped, s.Died, s.HealthySince = false, false, time.Time{}
		if e.Seen != nil {
			s.StartedAt = e.Seen.StartedAt
		} else {
			s.StartedAt = now
		}
		if s.policy.DryRun {
			return []Action{s.log(Warning, "dry run: would have been restarted")}
		}
		if s.After != "" {
			return []Action{s.alert(Warning, "restarted", "restarted: %s", s.Reason)}
		}
		return []Action{s.alert(Warning, "restarted", "restarted (%d of %d): %s", s.Attempts, s.policy.MaxAttempts, s.Reason)}
	case e.Seen != nil && (e.Seen.State == "exited" || e.Seen.State == "created" || e.Seen.State == "dead") && !s.StartTried:
		s.StartTried = true
		a := s.log(Warning, "the restart failed half-way (%v): starting it", e.Err)
		a.Kind, a.Container, a.Policy = DoStart, s.container, s.policy
		return []Action{a}
	}
	out := []Action{s.log(Warning, "the restart failed: %v", e.Err)}
	s.Phase = Verifying // what fails returns to waiting from there
	return append(out, s.fails(fmt.Sprintf("the restart failed: %v", e.Err), "", now)...)
}

// tick is what time alone changes.
func (s *Service) tick(now time.Time) []Action {
	switch {
	case s.Phase == Verifying && !s.Due.After(now) && !s.Stopped:
		if !s.container.HasHealthcheck && s.container.Health == "" && !s.Died {
			s.HealthySince = now
			return s.well(now)
		}
		return s.fails(fmt.Sprintf("no verdict within %s after the restart", now.Sub(s.LastRestart).Round(time.Second)), "", now)
	case s.Phase == Idle && s.Attempts > 0 && !s.HealthySince.IsZero() && now.Sub(s.HealthySince) >= s.policy.StableFor:
		s.Attempts = 0
		return []Action{s.log(Info, "stable for %s: attempts are forgotten", s.policy.StableFor)}
	}
	return nil
}
