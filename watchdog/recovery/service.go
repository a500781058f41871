package recovery

import (
	"cmp"
	"fmt"
	"time"
)

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

// String is the phase as logs and status print it.
func (p Phase) String() string { return cmp.Or(string(p), "watching") }

// Service is what is known and decided about one service. Its methods are the
// transitions; machine.go has their table.
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
	// After is the dependency that this service is restarted after.
	After string
	// Cause is why the service needs a restart, Output what its last failed
	// probe printed.
	Cause, Output string

	policy    Policy
	container Container
	watched   bool
}

// Persistent says whether a service differs from one that was never seen, so
// that it must survive a restart of this program.
func (s *Service) Persistent() bool {
	return s.Phase != Idle || s.Attempts > 0 || s.Stopped || s.Died
}

func (s *Service) log(sev Severity, event Event, format string, args ...any) Action {
	return Action{Kind: DoLog, Event: event, Severity: sev, Key: s.Key, ID: s.ID, Name: s.Name, Phase: s.Phase, Attempt: s.Attempts, Text: fmt.Sprintf(format, args...), Cause: s.Cause}
}

func (s *Service) alert(sev Severity, event Event, format string, args ...any) Action {
	a := s.log(sev, event, format, args...)
	a.Kind, a.Output, a.Policy = DoAlert, s.Output, s.policy
	return a
}

// withPhase notes in the actions which phase the service is in after them.
func (s *Service) withPhase(actions []Action) []Action {
	for i := range actions {
		actions[i].Phase = s.Phase
	}
	return actions
}

// reset takes the service back to idle, whatever phase it was in.
func (s *Service) reset() {
	s.Phase, s.After, s.StartTried = Idle, "", false
	s.FailingSince, s.Due = time.Time{}, time.Time{}
}

// removed is the end of the service's container.
func (s *Service) removed() {
	if s.Phase != GivenUp && s.Phase != Restarting {
		s.reset()
	}
	s.HealthySince = time.Time{}
}

// recreated takes a new container in an old one's place. It keeps the count,
// but for one that was given up: somebody has mended it.
func (s *Service) recreated(c Container) (out []Action) {
	if s.Phase == GivenUp {
		s.Attempts = 0
		out = append(out, s.log(Info, EventRecreated, "recreated: attempts are forgotten"))
	}
	s.reset()
	s.ID, s.Name, s.StartedAt = c.ID, c.Name, c.StartedAt
	s.Stopped, s.Died, s.HealthySince = false, false, time.Time{}
	return out
}

// stopGrace is how long a container that somebody asked to stop may take
// before it counts as one that goes on.
const stopGrace = 2 * time.Minute

// observe is what a container's state means for its service.
func (s *Service) observe(c Container, now time.Time) (out []Action) {
	s.Name = c.Name
	if c.StartedAt.After(s.StartedAt) && c.State == "running" {
		if !s.StartedAt.IsZero() && (s.Phase == Waiting || s.Phase == Verifying) {
			out = append(out, s.log(Info, EventRestartedByOther, "restarted by somebody else: watched anew"))
			s.reset()
		}
		s.StartedAt, s.Stopped, s.Died, s.HealthySince = c.StartedAt, false, false, time.Time{}
	}
	switch {
	case c.State == "running":
		return append(out, s.observeRunning(c, now)...)
	case c.State == "exited" && s.Died && !s.Stopped && s.policy.RestartExited && !c.ownPolicy() && s.Phase != Waiting:
		return append(out, s.observeFailure(fmt.Sprintf("died by itself with exit code %d", c.ExitCode), c.LastOutput, now)...)
	case c.State == "exited" && (s.Phase == Verifying || s.Phase == Waiting) && !s.Stopped:
		return out // nobody stopped it: the deadline, or the restart, decides
	}
	if s.Phase == Waiting || s.Phase == Verifying {
		state := c.State
		if s.Stopped {
			state = "stopped by somebody"
		}
		out = append(out, s.log(Info, EventLeftAlone, "%s: left alone", state))
		s.reset()
	}
	s.HealthySince = time.Time{}
	return out
}

func (s *Service) observeRunning(c Container, now time.Time) []Action {
	if s.Stopped && now.Sub(s.StoppedAt) > stopGrace {
		s.Stopped = false // it was asked to stop, and went on
	}
	switch {
	case c.failing():
		s.HealthySince = time.Time{}
		return s.observeFailure(fmt.Sprintf("unhealthy: %d probes failed in a row", c.FailingStreak), c.LastOutput, now)
	case c.Health == "healthy" || c.Health == "" && !c.HasHealthcheck && s.Phase != Verifying:
		if s.HealthySince.IsZero() {
			s.HealthySince = now
		}
		return s.observeHealthy(now)
	case s.Phase == Waiting && s.After == "" && c.Health == "starting":
		s.reset() // its probes begin anew
	}
	return nil
}

// observeHealthy ends what was going on about a service that is healthy.
func (s *Service) observeHealthy(now time.Time) (out []Action) {
	switch s.Phase {
	case Verifying:
		since := s.FailingSince
		if since.IsZero() {
			since = s.LastRestart
		}
		by := fmt.Sprintf("by restart %d", s.Attempts)
		if s.After != "" {
			by = "after " + s.After
		}
		took := now.Sub(since).Round(time.Millisecond)
		a := s.alert(Info, EventRecovered, "recovered in %s, %s", took, by)
		a.Took = took
		out = append(out, a)
		if s.policy.Cascade {
			out = append(out, Action{Kind: DoCascade, Key: s.Key, ID: s.ID, Name: s.Name, Container: s.container, Text: "dependents follow"})
		}
		s.reset()
	case GivenUp:
		out = append(out, s.alert(Info, EventRecovered, "recovered by itself"))
		s.reset()
	case Waiting:
		if s.After == "" {
			out = append(out, s.log(Info, EventHealthyAgain, "healthy again by itself"))
			s.reset()
		}
	}
	return out
}

// observeFailure decides about a service that needs a restart: when it comes,
// or that none will.
func (s *Service) observeFailure(cause, output string, now time.Time) []Action {
	if output != "" {
		s.Output = output
	}
	if s.Phase == GivenUp || s.Stopped || s.Phase == Waiting && s.After == "" {
		return nil
	}
	var out []Action
	if s.Phase == Verifying {
		out = append(out, s.log(Warning, EventRestartIneffective, "restart %d did not help: %s", s.Attempts, cause))
		s.After = "" // restarted after its dependency: now for its own sake
	}
	if !s.watched {
		s.reset()
		return append(out, s.alert(Warning, EventDependentFailing, "failing after a restart, and not watched: %s", cause))
	}
	s.Cause = cause
	if s.FailingSince.IsZero() {
		s.FailingSince = now
	}
	if s.Attempts >= s.policy.MaxAttempts {
		s.Phase, s.Due = GivenUp, time.Time{}
		return append(out, s.alert(Critical, EventGaveUp, "gave up after %d restarts: %s; it is left alone until it is healthy, recreated, or reset", s.Attempts, cause))
	}
	s.Phase, s.Due = Waiting, now
	if s.Attempts == 0 {
		s.Due = s.FailingSince.Add(s.policy.UnhealthyFor)
	} else if d := s.LastRestart.Add(s.policy.jittered(s.policy.Delay(s.Attempts), s.Key, s.Attempts)); d.After(now) {
		s.Due = d
	}
	if s.Due.After(now) {
		a := s.log(Info, EventWaiting, "restart %d comes in %s", s.Attempts+1, s.Due.Sub(now).Round(time.Millisecond))
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
	a := s.log("", EventRestarting, "restart %d of %d", s.Attempts, s.policy.MaxAttempts)
	if s.After != "" {
		a.Text = "restart after " + s.After
	}
	a.Kind, a.Container, a.Policy, a.Output = DoRestart, s.container, s.policy, s.Output
	return a
}

// done is the end of a restart or start.
func (s *Service) done(d Done, now time.Time) []Action {
	if s.Phase != Restarting {
		return nil
	}
	s.LastRestart = now
	up := d.Err == nil || d.Seen != nil && d.Seen.State == "running" && d.Seen.StartedAt.After(s.StartedAt)
	switch {
	case d.Missing:
		out := s.log(Info, EventLeftAlone, "gone: left alone")
		s.reset()
		return []Action{out}
	case up:
		s.Phase, s.Due = Verifying, now.Add(s.policy.verifyFor(s.container))
		s.Stopped, s.Died, s.HealthySince = false, false, time.Time{}
		s.StartedAt = now
		if d.Seen != nil {
			s.StartedAt = d.Seen.StartedAt
		}
		if s.policy.DryRun {
			return []Action{s.log(Warning, EventDryRun, "dry run: would have been restarted")}
		}
		if s.After != "" {
			return []Action{s.alert(Warning, EventRestarted, "restarted: %s", s.Cause)}
		}
		return []Action{s.alert(Warning, EventRestarted, "restarted (%d of %d): %s", s.Attempts, s.policy.MaxAttempts, s.Cause)}
	case d.Seen != nil && (d.Seen.State == "exited" || d.Seen.State == "created" || d.Seen.State == "dead") && !s.StartTried:
		s.StartTried = true
		a := s.log(Warning, EventStarting, "the restart failed half-way (%v): starting it", d.Err)
		a.Kind, a.Container, a.Policy = DoStart, s.container, s.policy
		return []Action{a}
	}
	out := []Action{s.log(Warning, EventRestartFailed, "the restart failed: %v", d.Err)}
	s.Phase = Verifying // observeFailure returns it to waiting from there
	return append(out, s.observeFailure(fmt.Sprintf("the restart failed: %v", d.Err), "", now)...)
}

// tick is what time alone changes.
func (s *Service) tick(now time.Time) []Action {
	switch {
	case s.Phase == Verifying && !s.Due.After(now) && !s.Stopped:
		if !s.container.HasHealthcheck && s.container.Health == "" && !s.Died {
			s.HealthySince = now
			return s.observeHealthy(now)
		}
		return s.observeFailure(fmt.Sprintf("no verdict within %s after the restart", now.Sub(s.LastRestart).Round(time.Second)), "", now)
	case s.Phase == Idle && s.Attempts > 0 && !s.HealthySince.IsZero() && now.Sub(s.HealthySince) >= s.policy.StableFor:
		s.Attempts = 0
		return []Action{s.log(Info, EventStable, "stable for %s: attempts are forgotten", s.policy.StableFor)}
	}
	return nil
}
