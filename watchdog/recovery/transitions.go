package recovery

import (
	"fmt"
	"time"
)

// This file is the table of transitions: what each input does in each phase.
// docs/watchdog.md shows it, and a test compares the two.

// Phase is where a service stands.
type Phase string

// The phases of a service.
const (
	Idle       Phase = ""           // nothing is going on: it is watched
	Waiting    Phase = "waiting"    // a restart comes when the backoff is over
	Restarting Phase = "restarting" // the engine is restarting it
	Launching  Phase = "launching"  // the restart failed half-way: the engine is starting it
	Verifying  Phase = "verifying"  // it was restarted, and has to become healthy
	Held       Phase = "held"       // a restart would not help before something else happens
	Rehearsed  Phase = "rehearsed"  // a dry run has reported the restart
	GivenUp    Phase = "given up"   // no restart helps: a person must

	ShuttingDown Phase = "stopping" // the engine is stopping it, since its policy says so
	ShutDown     Phase = "stopped"  // it is down, since its policy says so, until a person starts it
)

// Phases lists them in the order of the table.
var Phases = []Phase{Idle, Waiting, Restarting, Launching, Verifying, Held, Rehearsed, GivenUp, ShuttingDown, ShutDown}

// String is the phase as people read it.
func (p Phase) String() string {
	if p == Idle {
		return "watching"
	}
	return string(p)
}

// rule is one entry of the table.
type rule struct {
	// name says in the table what is done.
	name string
	// next are the phases that it may lead to; none is staying.
	next []Phase
	do   func(m *Machine, s *Service, now time.Time) []Action
}

var (
	ignore = rule{name: "–"}
	// inFlight: the container is between two lives, whatever it looks like.
	inFlight = rule{name: "the end of the call decides"}

	healthyAtRest  = rule{"resolve what was open", nil, (*Machine).healthyAtRest}
	unsettle       = rule{"not healthy any more", nil, (*Machine).unsettle}
	plan           = rule{"restart, hold, or give up", []Phase{Waiting, Held, Rehearsed, GivenUp}, (*Machine).plan}
	update         = rule{"note the newest cause", nil, (*Machine).update}
	leave          = rule{"leave it alone", []Phase{Idle}, (*Machine).leave}
	leaveAtRest    = rule{"leave it alone, say so", nil, (*Machine).leave}
	finish         = rule{"it has finished: leave it alone", []Phase{Idle}, (*Machine).leave}
	vanish         = rule{"leave it alone, warn", []Phase{Idle}, (*Machine).vanish}
	toEngine       = rule{"leave it to its own restart policy; warn of a crash loop", []Phase{Idle}, (*Machine).toEngine}
	engineRetries  = rule{"wait for its own restart policy; warn of a crash loop", nil, (*Machine).crashLoop}
	holdForOwner   = rule{"hold until the other's network is there, else restart", []Phase{Held, Waiting, Rehearsed, GivenUp, Idle}, (*Machine).holdForOwner}
	orphan         = rule{"hold; alert: it must be recreated", []Phase{Held}, (*Machine).orphan}
	watchAnew      = rule{"watch anew", []Phase{Idle}, (*Machine).watchAnew}
	newLife        = rule{"a life of its own begins", nil, (*Machine).lifeBegins}
	newLifeVerify  = rule{"by its own policy: warn of a crash loop; by a person: watch anew", []Phase{Verifying, Idle}, (*Machine).newLifeWhileVerifying}
	replace        = rule{"watch the new one; attempts stay", []Phase{Idle}, (*Machine).replace}
	replaceAnew    = rule{"watch the new one; attempts are cleared", []Phase{Idle}, (*Machine).replaceAnew}
	remove         = rule{"close what is open; forgotten unless recreated", []Phase{Idle}, (*Machine).remove}
	removeLater    = rule{"note it; the end of the call decides", nil, (*Machine).noteRemoved}
	closeGivenUp   = rule{"close what is open", nil, (*Machine).closeGivenUp}
	newLifeGivenUp = rule{"decide anew, if its incident was closed", []Phase{Idle}, (*Machine).newLifeGivenUp}
	removeGivenUp  = rule{"close what is open; a new one is watched anew", nil, (*Machine).noteRemovedAndClose}
	optOut         = rule{"close what is open; not watched any more", []Phase{Idle}, (*Machine).optOut}
	resetRule      = rule{"clear the attempts; start it if it is down", []Phase{Idle, Waiting}, (*Machine).reset}
	resetCount     = rule{"clear the attempts", nil, (*Machine).resetCount}
	clearStable    = rule{"clear the attempts", nil, (*Machine).clearStable}
	follow         = rule{"restart after what it depends on", []Phase{Waiting}, (*Machine).follow}
	unfollow       = rule{"leave it alone", []Phase{Idle}, (*Machine).unfollow}
	begin          = rule{"restart, the attempt counts from here; stop or notify, if its action says so; hold, if its causes ask for that", []Phase{Restarting, ShuttingDown, ShutDown, Held, Rehearsed, GivenUp, Idle}, (*Machine).begin}
	byItself       = rule{"healthy by itself", []Phase{Idle, Waiting}, (*Machine).healthyWhileWaiting}
	probesAnew     = rule{"its probes begin anew", []Phase{Idle, Waiting}, (*Machine).startingWhileWaiting}
	verify         = rule{"it has to become healthy", []Phase{Verifying}, (*Machine).verify}
	launch         = rule{"start it", []Phase{Launching}, (*Machine).launch}
	callFailed     = rule{"back off, or give up", []Phase{Waiting, Held, GivenUp, Idle}, (*Machine).callFailed}
	callGone       = rule{"close what is open; forgotten unless recreated", []Phase{Idle}, (*Machine).callGone}
	recovered      = rule{"recovered; dependents follow", []Phase{Idle}, (*Machine).recovered}
	didNotHelp     = rule{"it did not help: back off, hold, or give up", []Phase{Waiting, Held, GivenUp, Idle}, (*Machine).didNotHelp}
	rejudge        = rule{"decide anew by its causes", []Phase{Waiting, GivenUp, Rehearsed, Idle}, (*Machine).rejudge}
	dependencyUp   = rule{"let it become healthy by itself; restart it if it does not run", []Phase{Waiting, GivenUp, Rehearsed, Idle}, (*Machine).dependencyUp}
	release        = rule{"restart it, whatever its causes", []Phase{Waiting, GivenUp, Rehearsed, Idle}, (*Machine).release}
	verdictDue     = rule{"alive without a healthcheck: recovered; else it did not help", []Phase{Idle, Waiting, Held, GivenUp}, (*Machine).verdictDue}
	shutDown       = rule{"it is down: leave it so", []Phase{ShutDown, Waiting}, (*Machine).shutDown}
	stopFailed     = rule{"try again, or alert", []Phase{Waiting, Held, GivenUp, Idle}, (*Machine).stopFailed}
	startedAgain   = rule{"watch anew; attempts are cleared", []Phase{Idle}, (*Machine).startedAgain}
	resetStopping  = rule{"clear the attempts; start it once it is down", nil, (*Machine).resetWhileStopping}
	selfRecovered  = rule{"recovered by itself", []Phase{Idle}, (*Machine).recoveredByItself}
)

// ruleFor is the table of transitions.
func ruleFor(p Phase, in Input) rule {
	switch p {
	case Idle:
		switch in {
		case Healthy:
			return healthyAtRest
		case Starting, Paused, Stopping:
			return unsettle
		case Failing, Died, EndedByUs:
			return plan
		case Down, Finished:
			return leaveAtRest
		case Vanished:
			return vanish
		case Revived:
			return toEngine
		case Unjoined:
			return holdForOwner
		case Orphaned:
			return orphan
		case NewLife:
			return newLife
		case Recreated:
			return replace
		case Removed:
			return remove
		case OptedOut:
			return optOut
		case Reset:
			return resetRule
		case Stable:
			return clearStable
		case Follow:
			return follow
		case Due, Unfollow, DependencyUp, CallSucceeded, CallHalfway, CallFailed, CallStopped, CallGone:
			return ignore
		}
	case Waiting:
		switch in {
		case Healthy:
			return byItself
		case Starting:
			return probesAnew
		case Failing, Died, EndedByUs:
			return update
		case Paused, Stopping, Down:
			return leave
		case Finished:
			return finish
		case Vanished:
			return vanish
		case Revived:
			return toEngine
		case Unjoined:
			return holdForOwner
		case Orphaned:
			return orphan
		case NewLife:
			return watchAnew
		case Recreated:
			return replace
		case Removed:
			return remove
		case OptedOut:
			return optOut
		case Reset:
			return resetRule
		case Due:
			return begin
		case Follow:
			return follow
		case Unfollow:
			return unfollow
		case Stable, DependencyUp, CallSucceeded, CallHalfway, CallFailed, CallStopped, CallGone:
			return ignore
		}
	case Restarting, Launching:
		switch in {
		case CallSucceeded:
			return verify
		case CallHalfway:
			if p == Launching {
				return callFailed
			}
			return launch
		case CallFailed:
			return callFailed
		case CallStopped:
			return leave
		case CallGone:
			return callGone
		case Removed:
			return removeLater
		case Reset:
			return resetCount
		case Healthy, Starting, Failing, Paused, Stopping, Down, Finished, Died, EndedByUs, Vanished, Revived, Unjoined, Orphaned, Recreated, OptedOut:
			return inFlight
		case NewLife, Due, Stable, Follow, Unfollow, DependencyUp:
			return ignore
		}
	case Verifying:
		switch in {
		case Healthy:
			return recovered
		case Starting:
			return unsettle
		case Failing, Died:
			return didNotHelp
		case Paused, Stopping, Down:
			return leave
		case Finished:
			return finish
		case Vanished:
			return vanish
		case Revived:
			return engineRetries
		case Unjoined:
			return holdForOwner
		case Orphaned:
			return orphan
		case NewLife:
			return newLifeVerify
		case Recreated:
			return replace
		case Removed:
			return remove
		case OptedOut:
			return optOut
		case Reset:
			return resetCount
		case Due:
			return verdictDue
		case Follow:
			return follow
		case EndedByUs, Stable, Unfollow, DependencyUp, CallSucceeded, CallHalfway, CallFailed, CallStopped, CallGone:
			return ignore
		}
	case Held:
		switch in {
		case Healthy:
			return byItself
		case Starting:
			return unsettle
		case Failing, Died, EndedByUs, Unjoined:
			return rejudge
		case Paused, Stopping, Down:
			return leave
		case Finished:
			return finish
		case Vanished:
			return vanish
		case Revived:
			return toEngine
		case Orphaned:
			return orphan
		case NewLife:
			return watchAnew
		case Recreated:
			return replace
		case Removed:
			return remove
		case OptedOut:
			return optOut
		case Reset:
			return resetRule
		case Follow:
			return follow
		case DependencyUp:
			return dependencyUp
		case Due:
			return release
		case Stable, Unfollow, CallSucceeded, CallHalfway, CallFailed, CallStopped, CallGone:
			return ignore
		}
	case Rehearsed:
		switch in {
		case Healthy:
			return byItself
		case Starting:
			return unsettle
		case Failing, Died, Unjoined:
			return update
		case Paused, Stopping, Down:
			return leave
		case Finished:
			return finish
		case Vanished:
			return vanish
		case Revived:
			return toEngine
		case Orphaned:
			return orphan
		case NewLife:
			return watchAnew
		case Recreated:
			return replace
		case Removed:
			return remove
		case OptedOut:
			return optOut
		case Reset:
			return resetRule
		case EndedByUs, Due, Stable, Follow, Unfollow, DependencyUp, CallSucceeded, CallHalfway, CallFailed, CallStopped, CallGone:
			return ignore
		}
	case GivenUp:
		switch in {
		case Healthy:
			return selfRecovered
		case Starting, Paused, Stopping:
			return unsettle
		case Failing, Died, EndedByUs, Vanished, Revived, Unjoined, Orphaned:
			return update
		case Down, Finished:
			return closeGivenUp
		case NewLife:
			return newLifeGivenUp
		case Recreated:
			return replaceAnew
		case Removed:
			return removeGivenUp
		case OptedOut:
			return optOut
		case Reset:
			return resetRule
		case Due, Stable, Follow, Unfollow, DependencyUp, CallSucceeded, CallHalfway, CallFailed, CallStopped, CallGone:
			return ignore
		}
	case ShuttingDown:
		switch in {
		case CallSucceeded:
			return startedAgain
		case CallHalfway:
			return shutDown
		case CallFailed:
			return stopFailed
		case CallStopped:
			return leave
		case CallGone:
			return callGone
		case Removed:
			return removeLater
		case Reset:
			return resetStopping
		case Healthy, Starting, Failing, Paused, Stopping, Down, Finished, Died, EndedByUs, Vanished, Revived, Unjoined, Orphaned, Recreated, OptedOut:
			return inFlight
		case NewLife, Due, Stable, Follow, Unfollow, DependencyUp:
			return ignore
		}
	case ShutDown:
		switch in {
		case Healthy, Starting, Failing, NewLife:
			return startedAgain
		case Recreated:
			return replaceAnew
		case Removed:
			return removeGivenUp
		case OptedOut:
			return optOut
		case Reset:
			return resetRule
		case Paused, Stopping, Down, Finished, Died, EndedByUs, Vanished, Revived, Unjoined, Orphaned, Due, Stable, Follow, Unfollow, DependencyUp, CallSucceeded, CallHalfway, CallFailed, CallStopped, CallGone:
			return ignore
		}
	}
	panic(fmt.Sprintf("no transition for phase %q and input %d", p, int(in)))
}

// Matters says whether an input in a phase can come and means something: a
// simulation has to reach it.
func Matters(p Phase, in Input) bool {
	r := ruleFor(p, in)
	return r.name != ignore.name && !(p != Restarting && r.name == inFlight.name) // which is what Restarting does
}

// step feeds one input to a service.
func (m *Machine) step(s *Service, in Input, now time.Time) []Action {
	r := m.ruleFor(s.Phase, in)
	if m.Trace != nil {
		m.Trace(s.Phase, in)
	}
	if r.do == nil {
		return nil
	}
	s.input = in
	out := r.do(m, s, now)
	for i := range out {
		if out[i].Key == s.Key {
			out[i].Phase = s.Phase
		}
	}
	m.touch(s)
	return out
}
