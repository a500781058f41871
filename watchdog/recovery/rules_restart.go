package recovery

import (
	"fmt"
	"time"
)

// The rules about restarts: the call, its end, and what it brought.

func (m *Machine) follow(s *Service, now time.Time) []Action {
	s.Phase, s.Due, s.Hold = Waiting, now, Hold{} // an orphan's owner is there again, by name
	s.Cause = s.After + " was restarted"
	return nil
}

func (m *Machine) unfollow(s *Service, now time.Time) []Action {
	if s.After == "" {
		return nil
	}
	out := []Action{s.log(EventLeftAlone, Info, "%s did not recover: left alone", s.After)}
	s.rest()
	return append(out, m.unfollowAll(s.Key, now)...)
}

// begin asks for the restart. From here on the attempt counts, whatever
// becomes of the call or of this program.
func (m *Machine) begin(s *Service, now time.Time) []Action {
	if s.After == "" {
		if d := m.decide(s, now); d.hold.Kind != "" {
			return m.holdBy(s, d, now)
		}
	}
	switch r := s.policy.remedy(); {
	case s.policy.DryRun:
		return m.rehearse(s)
	case s.comesNext() == RemedyRestart:
	case r == RemedyRestart && (!s.GaveUp || !s.stopsAfterGivingUp()): // its policy may have changed while it waited
		out := m.giveUp(s, now)
		if s.Phase == Waiting {
			out = append(out, m.beginStop(s, now)...)
		}
		return out
	case r != RemedyRestart && s.After != "" && (s.container.State == "running" || !s.watched):
		return m.notFollowed(s, now)
	case r == RemedyNotify:
		return m.notifyAlone(s, now)
	default:
		return m.beginStop(s, now)
	}
	if s.container.NetworkOf != "" {
		if owner, ready := m.owner(s.container); !ready {
			return m.hold(s, owner, now)
		}
	}
	text := "restart after " + s.After
	if s.After == "" {
		s.Attempts++
		text = fmt.Sprintf("restart %d of %d", s.Attempts, s.policy.MaxAttempts)
	}
	s.Phase, s.Due, s.LastRestart, s.began, s.Asked, s.GaveUp = Restarting, time.Time{}, now, now, false, false
	if s.container.State == "running" { // else they say why it is down
		s.Life.forgetOurs()
	}
	a := s.log(EventRestarting, Info, "%s", text)
	a.Kind, a.Container, a.Output, a.Evidence = DoRestart, s.container, s.Output, s.evidence.id
	return []Action{a}
}

// rehearse says what would be done, but for --dry-run.
func (m *Machine) rehearse(s *Service) []Action {
	s.Phase, s.Due = Rehearsed, time.Time{}
	would := map[Remedy]string{RemedyRestart: "restarted", RemedyStop: "stopped", RemedyNotify: "reported, and not restarted"}[s.policy.remedy()]
	if s.After != "" {
		would += " after " + s.After
	}
	a := s.alert(EventDryRun, Warning, "dry run: would be %s: %s", would, s.Cause)
	s.Open, a.Closes = false, true
	s.After, s.Needs = "", nil // nothing follows that was not restarted
	return []Action{a}
}

func (m *Machine) verify(s *Service, now time.Time) []Action {
	s.Phase, s.Due = Verifying, now.Add(max(s.policy.verifyFor(s.container), m.reportsFor(s)))
	s.HealthySince, s.noticed, s.Revivals = time.Time{}, nil, 0
	if s.After != "" {
		return []Action{s.alertBriefly(EventRestarted, "restarted: %s", s.Cause)}
	}
	return []Action{s.alert(EventRestarted, Warning, "restarted (%d of %d): %s", s.Attempts, s.policy.MaxAttempts, s.Cause)}
}

// alertBriefly is a warning about something that is over as it is reported,
// where nothing else is open.
func (s *Service) alertBriefly(event Event, format string, args ...any) Action {
	open := s.Open
	a := s.alert(event, Warning, format, args...)
	s.Open = open || s.watched
	a.Closes = !s.Open
	return a
}

func (m *Machine) launch(s *Service, _ time.Time) []Action {
	s.Phase = Launching
	a := s.log(EventStarting, Warning, "the restart failed half-way (%v): starting it", s.err)
	a.Kind, a.Container = DoStart, s.container
	return []Action{a}
}

func (m *Machine) callFailed(s *Service, now time.Time) []Action {
	a := s.log(EventRestartFailed, Warning, "the restart failed: %v", s.err)
	a.Failed = true
	s.After, s.Needs = "", nil
	s.container.LastOutput = ""
	s.input, s.Cause = CallFailed, fmt.Sprintf("the restart failed: %v", s.err)
	return append([]Action{a}, m.plan(s, now)...)
}

func (m *Machine) callGone(s *Service, now time.Time) []Action {
	var out []Action
	if !s.Open {
		out = append(out, s.log(EventLeftAlone, Info, "gone: left alone"))
	}
	s.Gone = now
	s.rest()
	out = append(out, s.resolve(EventLeftAlone, "gone: left alone")...)
	return append(out, m.unfollowAll(s.Key, now)...)
}

func (m *Machine) recovered(s *Service, now time.Time) []Action {
	since := s.LastRestart
	if !s.FailingSince.IsZero() {
		since = s.FailingSince
	}
	took := now.Sub(since).Round(time.Millisecond)
	by := fmt.Sprintf("by restart %d", s.Attempts)
	if s.After != "" {
		by = "after " + s.After
	}
	open := s.Open
	a := s.alert(EventRecovered, Info, "recovered in %s, %s", took, by)
	s.Open, a.Closes, a.Took = false, open, took
	out := []Action{a}
	if s.After == "" && s.policy.Cascade {
		out = append(out, Action{Kind: DoCascade, Key: s.Key, ID: s.ID, Name: s.Name, Container: s.container, Text: "dependents follow"})
	}
	s.rest()
	if s.HealthySince.IsZero() {
		s.HealthySince = now
	}
	return append(out, m.staleDependents(s.container, now)...)
}

func (m *Machine) recoveredByItself(s *Service, now time.Time) []Action {
	open := s.Open
	a := s.alert(EventRecovered, Info, "recovered by itself")
	s.Open, a.Closes = false, open
	s.rest()
	return append([]Action{a}, m.healthyAtRest(s, now)...)
}

func (m *Machine) didNotHelp(s *Service, now time.Time) []Action {
	m.update(s, now)
	a := s.log(EventRestartIneffective, Warning, "restart %d did not help: %s", s.Attempts, s.Cause)
	a.Failed = true
	out := []Action{a}
	if s.After != "" { // restarted for another's sake: from now on for its own
		s.After, s.Needs = "", nil
		out = append(out, m.unfollowAll(s.Key, now)...)
	}
	return append(out, m.plan(s, now)...)
}

func (m *Machine) verdictDue(s *Service, now time.Time) []Action {
	c := s.container
	if c.State == "running" && !c.HasHealthcheck && c.Health == "" && m.reported(s, c, now) == none {
		return m.recovered(s, now)
	}
	waited := now.Sub(s.LastRestart).Round(time.Second)
	if c.ownPolicy() && c.State != "running" {
		cause := c.cause(Died)
		a := s.alert(EventUnverified, Critical, "restart %d was not verified within %s: its own restart policy is in charge: %s", s.Attempts, waited, cause)
		s.rest()
		return append([]Action{a}, m.unfollowAll(s.Key, now)...)
	}
	s.Cause = fmt.Sprintf("no verdict within %s after the restart", waited)
	s.input = Due
	return m.didNotHelp(s, now)
}
