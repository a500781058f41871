package recovery

import (
	"maps"
	"time"
)

// The rules of the table. Each may change the service and says what is to be
// done.

func (m *Machine) healthyAtRest(s *Service, now time.Time) []Action {
	return m.settle(s, "healthy again", now)
}

// staleProbe is the topic that is reported once in a life.
const staleProbe = "stale probe"

// settle is a service at rest that is healthy.
func (m *Machine) settle(s *Service, text string, now time.Time) []Action {
	if s.HealthySince.IsZero() {
		s.HealthySince = now
	}
	s.FailingSince, s.Revivals = time.Time{}, s.container.RestartCount
	maps.DeleteFunc(s.noticed, func(topic string, _ bool) bool { return topic != staleProbe })
	out := append(s.resolve(EventRecovered, text), m.staleDependents(s.container, now)...)
	if c := s.container; c.frozen(now) && s.once(staleProbe) {
		out = append(out, s.log(EventStaleProbe, Warning, "its last probe ended %s ago, though it is probed every %s: the engine may have lost its healthcheck", now.Sub(c.LastProbe).Round(time.Second), c.interval()))
	}
	return out
}

func (m *Machine) unsettle(s *Service, now time.Time) []Action {
	s.HealthySince = time.Time{}
	c := s.container
	if limit := c.StartPeriod + time.Duration(c.retries())*(c.interval()+c.timeout()) + verifySlack; s.input == Starting && s.Phase == Idle && c.HasHealthcheck && now.Sub(c.StartedAt) > limit && s.once("starting") {
		return []Action{s.log(EventStartsSlowly, Warning, "no verdict for %s: its healthcheck allows a start of %s", now.Sub(c.StartedAt).Round(time.Second), limit)}
	}
	return nil
}

// update keeps the newest cause of what is going on already.
func (m *Machine) update(s *Service, _ time.Time) []Action {
	s.HealthySince = time.Time{}
	if cause := s.container.cause(s.input); cause != "" {
		s.Cause = cause
	}
	if by := m.reporter(s, s.container); s.input == Failing && by != nil {
		s.Cause, s.container.LastOutput = "reported by "+by.Key+": "+by.container.failure(), by.container.LastOutput
	}
	if s.input == Failing && s.container.LastOutput != "" {
		s.Output = s.container.LastOutput
	}
	return nil
}

// plan decides when a service that needs a restart gets one, or that it gets
// none.
func (m *Machine) plan(s *Service, now time.Time) []Action {
	m.update(s, now)
	if !s.watched {
		return m.failingDependent(s, now)
	}
	if s.FailingSince.IsZero() {
		s.FailingSince = now
	}
	if s.container.NetworkOf != "" {
		if owner, ready := m.owner(s.container); !ready {
			return m.hold(s, owner, now)
		}
	}
	if d := m.decide(s, now); d.hold.Kind != "" {
		return m.holdBy(s, d, now)
	}
	if s.outOfAttempts() || s.Stops >= stopTries {
		return m.giveUp(s, now)
	}
	s.Phase, s.Due, s.Hold = Waiting, now, Hold{}
	if s.Stops > 0 {
		s.Due = s.nextStop(now)
	} else if s.Attempts == 0 || s.policy.remedy() != RemedyRestart {
		s.Due = s.FailingSince.Add(s.policy.UnhealthyFor)
	} else if d := s.LastRestart.Add(s.policy.jittered(s.policy.Delay(s.Attempts), s.Key, s.Attempts)); d.After(now) {
		s.Due = d
	}
	until, look := m.suspect(s, now)
	if until.After(s.Due) {
		s.Due = until
	}
	if !s.Due.After(now) {
		return nil
	}
	a := s.log(EventWaiting, Info, "%s in %s", s.announced(), s.Due.Sub(now).Round(time.Millisecond))
	a.Delay = s.Due.Sub(now)
	if len(look) > 0 {
		return []Action{a, {Kind: DoLook, Key: s.Key, IDs: look}}
	}
	return []Action{a}
}

// failingDependent is one that was restarted for another's sake, that nobody
// watches, and that is not healthy afterwards.
func (m *Machine) failingDependent(s *Service, now time.Time) []Action {
	s.rest()
	out := []Action{s.alert(EventDependentFailing, Warning, "unhealthy after a restart, and not watched: %s", s.Cause)}
	s.Open = false // nobody watches it: nobody would see the end
	out[0].Closes = true
	return append(out, m.unfollowAll(s.Key, now)...)
}

// hold lets a service wait for the container whose network it lives in.
func (m *Machine) hold(s *Service, owner string, now time.Time) []Action {
	if s.Phase == Held && s.Hold.Kind == ForOwner && s.Hold.On == owner {
		return nil
	}
	s.Phase, s.Due, s.Hold = Held, time.Time{}, Hold{ForOwner, owner, now}
	s.After, s.Needs = "", nil
	return []Action{s.log(EventHeld, Warning, "held: it lives in the network of %s, which is not up", owner)}
}

// ownerPatience is how long the owner of a network may be down before people
// are told of what is held for it: an engine that starts takes a while.
const ownerPatience = time.Minute

// ownerMissed alerts once of a service that is held for an owner which nobody
// restarts and of which nobody was told.
func (m *Machine) ownerMissed(s *Service, now time.Time) []Action {
	if s.Open || now.Sub(s.Hold.Since) < ownerPatience {
		return nil
	}
	for _, o := range m.owners {
		if bad, handled := m.bad(m.peers[o.ID]); means(s.container.NetworkOf, o) && bad && !handled {
			return []Action{s.alert(EventHeld, Warning, "held: it lives in the network of %s, which has not been up for %s", s.Hold.On, now.Sub(s.Hold.Since).Round(time.Second))}
		}
	}
	return nil
}

func (m *Machine) holdForOwner(s *Service, now time.Time) []Action {
	m.update(s, now)
	switch owner, ready := m.owner(s.container); {
	case !ready:
		return m.hold(s, owner, now)
	case s.Phase == Waiting:
		return nil // it is to be restarted already
	}
	return m.plan(s, now)
}

func (m *Machine) orphan(s *Service, now time.Time) []Action {
	if s.Hold.Kind == ForRecreation || !s.watched {
		return nil
	}
	m.update(s, now)
	s.rest()
	s.Phase, s.Hold = Held, Hold{Kind: ForRecreation, Since: now}
	return []Action{s.alert(EventOrphaned, Critical, "it lives in the network of a container that is gone, and no restart can help: %s", recreateCommand(s.container))}
}

// leftAlone says who or what is in charge of a container now.
func (s *Service) leftAlone(now time.Time) string {
	text := s.container.State
	switch s.input {
	case Stopping, Down, CallStopped:
		if s.Life.stopping(now, -1) {
			text = "stopped by somebody"
		}
	case Finished:
		text = "finished with exit code 0"
	}
	return text + ": left alone"
}

// leave ends what was going on, since somebody or something else is in charge.
func (m *Machine) leave(s *Service, now time.Time) []Action {
	text := s.leftAlone(now)
	var out []Action
	if s.Phase != Idle && !s.Open {
		out = append(out, s.log(EventLeftAlone, Info, "%s", text))
	}
	followed := s.After != ""
	s.rest()
	s.HealthySince = time.Time{}
	out = append(out, s.resolve(EventLeftAlone, text)...)
	if followed {
		out = append(out, m.unfollowAll(s.Key, now)...)
	}
	return out
}

func (m *Machine) vanish(s *Service, now time.Time) []Action {
	if !s.watched { // restarted for another's sake: nobody would see the incident's end
		return m.leave(s, now)
	}
	s.rest()
	s.HealthySince = time.Time{}
	if !s.once("vanished") {
		return nil
	}
	return append([]Action{s.alertBriefly(EventVanished, "%s, and nobody saw why: left alone, since a person may have stopped it", s.container.State)}, m.unfollowAll(s.Key, now)...)
}

// crashRestarts is how many restarts by its own policy without a healthy time
// in between are a crash loop.
const crashRestarts = 3

func (m *Machine) toEngine(s *Service, now time.Time) []Action {
	out := m.crashLoop(s, now)
	s.rest()
	return out
}

// crashLoop warns of a container whose own restart policy revives it again and
// again, or has ceased to.
func (m *Machine) crashLoop(s *Service, _ time.Time) []Action {
	s.HealthySince = time.Time{}
	c := s.container
	if c.RestartCount < s.Revivals { // a restart by hand begins the count anew
		s.Revivals = 0
	}
	s.Cause = c.cause(s.input)
	switch {
	case c.State == "restarting":
	case c.RestartPolicy == "on-failure" && c.ExitCode == 0 && !c.OOMKilled && c.Error == "":
		return nil // finished
	case c.RestartPolicy == "on-failure" && c.MaxRetries > 0 && c.RestartCount >= c.MaxRetries:
		if !s.once("exhausted") {
			return nil
		}
		return []Action{s.alert(EventPolicyExhausted, Critical, "its own restart policy on-failure:%d is exhausted: %s", c.MaxRetries, s.Cause)}
	case c.Error != "":
		if !s.once("not started") {
			return nil
		}
		return []Action{s.alert(EventCrashLoop, Warning, "the engine cannot start it: %s", c.Error)}
	}
	if n := c.RestartCount - s.Revivals; n >= crashRestarts && s.once("crash loop") {
		return []Action{s.alert(EventCrashLoop, Warning, "crash loop: its own restart policy has restarted it %d times: %s", n, s.Cause)}
	}
	return nil
}

func (m *Machine) watchAnew(s *Service, now time.Time) []Action {
	out := []Action{s.log(EventRestartedByOther, Info, "restarted by somebody else: watched anew")}
	s.rest()
	return append(out, m.lifeBegins(s, now)...)
}

func (m *Machine) lifeBegins(s *Service, _ time.Time) []Action {
	s.HealthySince = time.Time{}
	for _, topic := range []string{"starting", "vanished", staleProbe} {
		delete(s.noticed, topic)
	}
	return nil
}

func (m *Machine) newLifeWhileVerifying(s *Service, now time.Time) []Action {
	if s.lastEnd == endByItself && s.container.ownPolicy() {
		s.input = Revived
		return m.crashLoop(s, now)
	}
	return m.watchAnew(s, now)
}

func (m *Machine) replace(s *Service, now time.Time) []Action {
	s.rest()
	s.HealthySince, s.noticed, s.Revivals = time.Time{}, nil, 0
	return s.resolve(EventRecreated, "recreated: watched anew")
}

func (m *Machine) replaceAnew(s *Service, now time.Time) []Action {
	s.Attempts = 0
	out := m.replace(s, now)
	return append(out, s.log(EventRecreated, Info, "recreated: attempts are cleared"))
}

func (m *Machine) remove(s *Service, now time.Time) []Action {
	out := m.noteRemoved(s, now)
	s.rest()
	s.HealthySince = time.Time{}
	out = append(out, s.resolve(EventRemoved, "removed: left alone")...)
	return append(out, m.unfollowAll(s.Key, now)...)
}

func (m *Machine) noteRemoved(s *Service, now time.Time) []Action {
	s.Gone = now
	return nil
}

func (m *Machine) noteRemovedAndClose(s *Service, now time.Time) []Action {
	m.noteRemoved(s, now)
	return s.resolve(EventRemoved, "removed: left alone")
}

// closeGivenUp is the end of the life in which it was given up: nobody needs
// to act on that any more. It stays given up until it is recreated, or another
// life of it says otherwise.
func (m *Machine) closeGivenUp(s *Service, now time.Time) []Action {
	s.HealthySince = time.Time{}
	return s.resolve(EventLeftAlone, s.leftAlone(now))
}

func (m *Machine) newLifeGivenUp(s *Service, now time.Time) []Action {
	if !s.Open {
		s.rest()
	}
	return m.lifeBegins(s, now)
}

func (m *Machine) optOut(s *Service, now time.Time) []Action {
	s.watched, s.Gone = false, now
	s.rest()
	return append(s.resolve(EventOptedOut, "not watched any more"), m.unfollowAll(s.Key, now)...)
}

// reset forgets what was tried, on somebody's request, and tries a start where
// the container is down.
func (m *Machine) reset(s *Service, now time.Time) []Action {
	out := m.resetCount(s, now)
	orphan := s.Hold.Kind == ForRecreation
	s.rest()
	if c := s.container; s.Gone.IsZero() && !orphan && (c.State == "exited" || c.State == "created" || c.State == "dead") {
		s.startForReset(now)
	}
	return out
}

// startForReset has a container started that is down. The person who asks for
// it outranks the one who stopped it, and the policy: from now on it is for
// this program to start it.
func (s *Service) startForReset(now time.Time) {
	s.Phase, s.Due, s.Asked, s.Cause = Waiting, now, true, "reset by a person while it was down"
	s.FailingSince = now
	s.Life.Marks = []Mark{{Kind: Ended, At: s.Life.Started.Add(1), Received: now, ExitCode: s.container.ExitCode, Ours: true}}
}

func (m *Machine) resetCount(s *Service, _ time.Time) []Action {
	s.Attempts = 0
	if s.Open {
		return s.resolve(EventReset, "reset by a person: attempts are cleared")
	}
	return []Action{s.log(EventReset, Info, "reset by a person: attempts are cleared")}
}

func (m *Machine) clearStable(s *Service, _ time.Time) []Action {
	s.Attempts = 0
	return []Action{s.log(EventStable, Info, "stable for %s: attempts are cleared", s.policy.StableFor)}
}

func (m *Machine) healthyWhileWaiting(s *Service, now time.Time) []Action {
	if s.After != "" || s.Hold.Kind == ForRecreation {
		return nil // it is to be restarted, or recreated, whatever its probes say
	}
	const text = "healthy again by itself"
	var out []Action
	if !s.Open {
		out = append(out, s.log(EventHealthyAgain, Info, text))
	}
	s.rest()
	return append(out, m.settle(s, text, now)...)
}

func (m *Machine) startingWhileWaiting(s *Service, now time.Time) []Action {
	s.HealthySince = time.Time{}
	if s.After == "" {
		s.rest()
	}
	return nil
}
