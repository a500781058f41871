package recovery

import (
	"fmt"
	"time"
)

// Input is what happened to a service, as far as its transitions can tell.
type Input int

// The inputs. Those of the first group are read off the container as it is
// seen; the others are events.
const (
	Healthy   Input = iota // runs, and is healthy; without a healthcheck: for the minimum uptime
	Starting               // runs, and there is no verdict yet
	Failing                // runs, and its probes have failed as often as its retries say
	Paused                 // is paused
	Stopping               // runs, and somebody has asked it to stop
	Down                   // was stopped by somebody, or never started
	Finished               // ended with exit code 0, and no policy of its own revives it
	Died                   // ended by itself
	EndedByUs              // was stopped by a restart of ours that did not start it
	Vanished               // does not run, and nobody saw it end
	Revived                // ended, and its own restart policy is in charge
	Unjoined               // could not start in the network of another container
	Orphaned               // lives in the network of a container that is removed

	NewLife   // was started by somebody else
	Recreated // another container has taken its place
	Removed   // the container was removed
	OptedOut  // is not watched any more
	Reset     // somebody asked for a reset
	Due       // the phase's time has come
	Stable    // healthy for as long as clears the attempts
	Follow    // what it depends on has recovered: it is to be restarted, too
	Unfollow  // what it was to follow did not recover

	DependencyUp // what it is held for is up again

	CallSucceeded // the restart or start that was asked for has started it; after a stop: it was started again
	CallHalfway   // the call stopped it, and did not start it
	CallFailed    // it changed nothing
	CallStopped   // somebody has stopped it meanwhile
	CallGone      // there is no such container any more

	inputs int = iota
)

var inputNames = [...]string{
	Healthy: "healthy", Starting: "starting", Failing: "failing", Paused: "paused", Stopping: "stopping", Down: "down", Finished: "finished",
	Died: "died", EndedByUs: "ended by us", Vanished: "vanished", Revived: "revived", Unjoined: "unjoined", Orphaned: "orphaned",
	NewLife: "new life", Recreated: "recreated", Removed: "removed", OptedOut: "opted out", Reset: "reset", Due: "due", Stable: "stable",
	Follow: "follow", Unfollow: "unfollow", DependencyUp: "dependency up", CallSucceeded: "call succeeded", CallHalfway: "call half-way", CallFailed: "call failed", CallStopped: "call stopped", CallGone: "call gone",
}

// Inputs lists them.
func Inputs() (all []Input) {
	for in := range Input(inputs) {
		all = append(all, in)
	}
	return all
}

func (i Input) String() string { return inputNames[i] }

// minUptime is how long a container without a healthcheck must run to count as
// recovered: the time after which Docker's own restart policy starts over
// (moby, restartmanager).
const minUptime = 10 * time.Second

// stopPatience is how long a container that somebody asked to stop may take,
// beyond its stop timeout, before it counts as one that goes on.
const stopPatience = 2 * time.Minute

// stopWindow is how long the engine takes to stop c, at most: its stop timeout
// and the wait after the kill (moby, daemon/stop.go). Negative is for ever.
func (c Container) stopWindow() time.Duration {
	const engineDefault, slack = 10, 15 * time.Second
	seconds := engineDefault
	if c.StopTimeout != nil {
		seconds = *c.StopTimeout
	}
	if seconds < 0 {
		return -1
	}
	return time.Duration(seconds)*time.Second + slack
}

// patience is how long a container that was asked to stop may go on running.
func patience(c Container) time.Duration {
	if w := c.stopWindow(); w >= 0 {
		return w + stopPatience
	}
	return -1
}

// classify reads the input off a container as it is seen now.
func (m *Machine) classify(s *Service, c Container, now time.Time) Input {
	report := m.reported(s, c, now)
	switch c.State {
	case "running":
		switch {
		case s.Life.stopping(now, patience(c)):
			return Stopping
		case c.failing(), report == counted:
			return Failing
		case report == fresh:
			return Starting
		case c.Health == "healthy", !c.HasHealthcheck && c.Health == "" && !now.Before(s.settled(c)):
			return Healthy
		}
		return Starting
	case "paused":
		return Paused
	case "restarting":
		return Revived
	case "created", "removing":
		if c.State == "created" && c.NetworkOf != "" && c.Error != "" {
			return Unjoined
		}
		return Down
	}
	switch end := s.Life.ended(c.stopWindow()); {
	case end == endByPerson:
		return Down
	case c.NetworkOf != "" && c.Error != "":
		return Unjoined // whoever started it: it needs the other's network
	case end == endUnknown:
		return Vanished
	case c.ownPolicy():
		return Revived
	case end == endByUs:
		return EndedByUs
	case c.ExitCode == 0 && !c.OOMKilled:
		return Finished
	case !s.policy.RestartExited:
		return Down
	}
	return Died
}

// cause says in one line what an input means for a person.
func (c Container) cause(in Input) string {
	switch in {
	case Failing:
		text := fmt.Sprintf("unhealthy: %d probes failed in a row", c.FailingStreak)
		if why := c.failure(); why != "" {
			text += ": " + why
		}
		return text
	case Died, Revived, Finished:
		if c.OOMKilled {
			if c.MemoryLimit > 0 {
				return fmt.Sprintf("killed by the kernel for lack of memory (limit %d MiB)", c.MemoryLimit>>20)
			}
			return "killed by the kernel for lack of memory"
		}
		return fmt.Sprintf("died by itself with exit code %d", c.ExitCode)
	case Unjoined:
		return "it could not join the network of another container: " + c.Error
	}
	return ""
}
