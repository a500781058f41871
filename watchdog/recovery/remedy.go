package recovery

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// This file is about services that are not restarted: those that are stopped
// instead, or after the last attempt, and those of which people are notified
// alone.

// Remedy is what is done about a service that needs a restart.
type Remedy string

// The remedies.
const (
	RemedyRestart Remedy = "restart" // restart it
	RemedyStop    Remedy = "stop"    // stop it, and leave it down
	RemedyNotify  Remedy = "notify"  // notify people, and leave it as it is
)

// ParseRemedy reads the value of --action, or of the label.
func ParseRemedy(text string) (Remedy, error) {
	switch r := Remedy(strings.ToLower(text)); r {
	case RemedyRestart, RemedyStop, RemedyNotify:
		return r, nil
	}
	return "", fmt.Errorf("%q is not restart, stop or notify", text)
}

// ParseOnGiveUp reads the value of --on-give-up, or of the label: whether a
// container is stopped after its last attempt.
func ParseOnGiveUp(text string) (stop bool, err error) {
	switch strings.ToLower(text) {
	case "none":
		return false, nil
	case "stop":
		return true, nil
	}
	return false, fmt.Errorf("%q is not none or stop", text)
}

// remedy is the policy's, or the default.
func (p Policy) remedy() Remedy { return cmp.Or(p.Remedy, RemedyRestart) }

// restarts says whether the policy restarts at all.
func (p Policy) restarts() bool { return !p.DryRun && p.remedy() == RemedyRestart }

// stopTries is how often the engine is asked to stop a container.
const stopTries = 3

// outOfAttempts says whether no restart is left for a service that is to be
// restarted.
func (s *Service) outOfAttempts() bool {
	return s.policy.remedy() == RemedyRestart && s.Attempts >= s.policy.MaxAttempts && !s.Asked
}

// stopsAfterGivingUp says whether a service that was given up is stopped now, or
// was by a call that failed.
func (s *Service) stopsAfterGivingUp() bool {
	return s.policy.StopOnGiveUp && !s.policy.DryRun && (s.container.State == "running" || s.Stops > 0 && s.Life.stoppedByUs())
}

// giveUp is the end of the attempts: one alert, and no more restarts. Where the
// policy says so, the container is stopped next; that waits for the end of a
// pause and for the limits as a restart does.
func (m *Machine) giveUp(s *Service, now time.Time) []Action {
	next := "it is left alone until it is healthy, recreated, or reset"
	stop := s.stopsAfterGivingUp() && s.Stops < stopTries
	if stop {
		next = "it is stopped, and left down until somebody starts or recreates it, or resets it"
	}
	s.Phase, s.Due = GivenUp, time.Time{}
	s.After, s.Needs, s.Hold = "", nil, Hold{}
	if stop {
		s.Phase, s.Due = Waiting, s.nextStop(now)
	}
	if s.GaveUp && stop { // people know
		return nil
	}
	var out []Action
	if s.Stops >= stopTries {
		out = append(out, s.alert(EventStopFailed, Critical, "it could not be stopped, and is left alone until it is healthy, recreated, or reset: %s", s.Cause))
	} else {
		s.GaveUp = true
		out = append(out, s.alert(EventGaveUp, Critical, "gave up after %d restarts: %s; %s", s.Attempts, s.Cause, next))
	}
	return append(out, m.unfollowAll(s.Key, now)...)
}

// comesNext is what is done to a service that waits for it, or is held, when its
// time comes.
func (s *Service) comesNext() Remedy {
	switch r := s.policy.remedy(); {
	case s.Asked || r == RemedyRestart && (s.After != "" || !s.outOfAttempts()):
		return RemedyRestart
	case r == RemedyRestart && s.stopsAfterGivingUp():
		return RemedyStop
	case r == RemedyRestart: // it is given up
		return RemedyNotify
	default:
		return r
	}
}

// announced says in words what comes next; when follows.
func (s *Service) announced() string {
	text := map[Remedy]string{RemedyRestart: fmt.Sprintf("restart %d comes", s.Attempts+1), RemedyStop: "it is stopped", RemedyNotify: "people are notified"}[s.comesNext()]
	if s.policy.DryRun {
		return "dry run: " + text
	}
	return text
}

// nextStop is when the engine may be asked again to stop a container.
func (s *Service) nextStop(now time.Time) time.Time {
	if s.Stops > 0 {
		if d := s.LastRestart.Add(s.policy.jittered(s.policy.Delay(s.Stops), s.Key, s.Stops)); d.After(now) {
			return d
		}
	}
	return now
}

// notifyAlone notifies people of a service that needs a restart and gets none,
// and waits for a person.
func (m *Machine) notifyAlone(s *Service, now time.Time) []Action {
	s.Phase, s.Due, s.Hold = Held, time.Time{}, Hold{Kind: ForNotified, Since: now}
	s.After, s.Needs = "", nil
	out := []Action{s.alert(EventNotRestarted, Critical, "not restarted, since its action is notify: %s", s.Cause)}
	return append(out, m.unfollowAll(s.Key, now)...)
}

// notFollowed is a service whose action keeps it from being restarted after what
// it depends on. It runs, and its own probes say whether it suffers; or nobody
// watches it, and nobody would see the end of an incident.
func (m *Machine) notFollowed(s *Service, now time.Time) []Action {
	open := s.Open
	a := s.alert(EventNotFollowed, Warning, "not restarted, since its action is %s: %s", s.policy.Remedy, s.Cause)
	s.Open, a.Closes = open, !open
	s.rest()
	return append([]Action{a}, m.unfollowAll(s.Key, now)...)
}

// beginStop asks the engine to stop a container. One that is down already needs
// no call.
func (m *Machine) beginStop(s *Service, now time.Time) []Action {
	if s.container.State != "running" {
		return m.shutDown(s, now)
	}
	s.Stops++
	s.Phase, s.Due, s.Hold, s.LastRestart, s.began = ShuttingDown, time.Time{}, Hold{}, now, now
	s.After, s.Needs = "", nil
	s.Life.forgetOurs()
	a := s.log(EventShuttingDown, Warning, "it is stopped: %s", s.Cause)
	a.Kind, a.Container, a.Output, a.Evidence = DoStop, s.container, s.Output, s.evidence.id
	return append([]Action{a}, m.unfollowAll(s.Key, now)...)
}

// stopEnded reads what became of a call to stop a container.
func (m *Machine) stopEnded(s *Service, e CallEnded, now time.Time) Input {
	switch c := e.Seen; {
	case e.Missing:
		return CallGone
	case c == nil && e.Err == nil:
		s.container.State = "exited"
		return CallHalfway
	case c == nil:
		return CallFailed
	case s.Life.another(c.StartedAt):
		s.lastEnd = s.Life.ended(c.stopWindow())
		s.Life.begin(c.StartedAt)
		return CallSucceeded
	case c.State == "running", c.State == "paused", c.State == "restarting":
		if e.Err != nil && s.Life.stopping(now, patience(s.container)) {
			return CallStopped
		}
		return CallFailed
	case s.Life.ended(c.stopWindow()) == endByPerson:
		return CallStopped
	}
	return CallHalfway
}

// shutDown is a container that is down, by this program or already before it
// was asked: it stays down until somebody starts or recreates it, or resets it.
func (m *Machine) shutDown(s *Service, now time.Time) []Action {
	if s.Asked { // a person has reset it while it was being stopped
		s.rest()
		s.startForReset(now)
		return []Action{s.log(EventShutDown, Info, "stopped, and reset by a person meanwhile: it is started")}
	}
	// Whatever becomes of this phase, as when it opts out for a while: it is as
	// if a person had stopped it.
	s.Life.Marks = []Mark{{Kind: Stopped, At: cmp.Or(later(s.container.FinishedAt, s.Life.Started), now), Received: now}}
	known := s.GaveUp && s.Open
	s.Phase, s.Due, s.Hold = ShutDown, time.Time{}, Hold{}
	s.After, s.Needs, s.HealthySince, s.Stops = "", nil, time.Time{}, 0
	const text = "it is down, and stays so until somebody starts or recreates it, or resets it"
	if known {
		return []Action{s.log(EventShutDown, Warning, "stopped: "+text)}
	}
	return []Action{s.alert(EventShutDown, Critical, "not restarted, since its action is %s: %s; %s", s.policy.Remedy, s.Cause, text)}
}

// stopFailed is a stop that changed nothing.
func (m *Machine) stopFailed(s *Service, now time.Time) []Action {
	a := s.log(EventStopFailed, Warning, "it could not be stopped: %v", s.err)
	a.Failed = true
	out := []Action{a}
	if s.Asked || s.Stops == 0 { // a person has reset it meanwhile
		s.rest()
		return append(out, m.plan(s, now)...)
	}
	if s.Stops >= stopTries {
		s.Cause = fmt.Sprintf("%v; %s", s.err, s.Cause)
	}
	return append(out, m.plan(s, now)...)
}

// startedAgain is one that was stopped, and that runs again: somebody has
// started it, and it begins anew.
func (m *Machine) startedAgain(s *Service, now time.Time) []Action {
	s.Attempts = 0
	const text = "started by somebody else: watched anew"
	var out []Action
	if !s.Open {
		out = append(out, s.log(EventRestartedByOther, Info, text))
	}
	s.rest()
	out = append(out, s.resolve(EventRestartedByOther, text)...)
	return append(out, m.lifeBegins(s, now)...)
}

// resetWhileStopping clears the attempts of one that is being stopped: once it
// is down, it is started.
func (m *Machine) resetWhileStopping(s *Service, now time.Time) []Action {
	out := m.resetCount(s, now)
	s.Stops, s.Asked = 0, true
	return out
}
