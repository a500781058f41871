package simulation

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// auditor knows the truth, and what the watchdog was told of it, and checks
// each call that the watchdog makes.
type auditor struct {
	w         *world
	services  map[string]*account
	restarts  []time.Time // of its own, within the window
	calls     []*request  // restarts and starts in flight, of this life
	looks     map[*request]view
	mailboxes map[string]*mailbox
	snoozes   map[string]nap // by service, and of all under the empty key
	lost      bool           // the state was lost: the next life begins with nothing
	largest   int            // what was remembered at most
}

// account is what is known of the restarts of a service.
type account struct {
	attempt int
	lastEnd time.Time
	lastOwn time.Time // the last restart for its own sake
	// anew says that the attempts may begin anew.
	anew bool
	// asked says that a person asked for it, whatever its state is, and failed
	// that the last call did.
	asked, failed bool
	// waits says that the answer to a call has not come.
	waits bool
	// released says that the watchdog said that a hold went on for too long, and
	// that it was not healthy since.
	released bool
}

// nap is a time in which a person wants no restart.
type nap struct{ from, until time.Time }

func newAuditor(w *world) *auditor {
	a := &auditor{w: w, services: map[string]*account{}, looks: map[*request]view{}, mailboxes: map[string]*mailbox{}, snoozes: map[string]nap{}}
	for _, s := range w.history.specs {
		a.services[s.service] = &account{anew: true}
	}
	for _, url := range []string{"all", "critical", "escalation"} {
		a.mailboxes[url] = &mailbox{url: url, open: map[string]*open{}, last: map[string]sent{}}
	}
	return a
}

// removed, reset and forgotten are reasons to begin the attempts anew.
func (a *auditor) removed(c *container) { a.services[c.service].anew = true }

func (a *auditor) reset(c *container) {
	s := a.services[c.service]
	s.anew, s.asked, s.lastEnd = true, true, time.Time{}
	c.wanted = true
}

// inFlight says whether the watchdog waits for a call about a container.
func (a *auditor) inFlight(c *container) bool {
	return slices.ContainsFunc(a.calls, func(r *request) bool { return r.id == c.id && !r.left() })
}

// released notes a hold that went on for too long.
func (a *auditor) released(key string) {
	for _, s := range a.w.history.specs {
		if strings.HasPrefix(key, s.key()) {
			a.services[s.service].released = true
		}
	}
}

func (a *auditor) forgotten() { a.lost = true }

// stepped is a clock that was set: pauses and times of health are not what they
// were.
func (a *auditor) stepped(step time.Duration) {
	a.restarts = nil
	for key, n := range a.snoozes {
		if now := time.Now(); now.Before(n.from.Add(step)) {
			n = nap{now, now.Add(n.until.Sub(n.from))} // it begins anew
		} else {
			n = nap{n.from.Add(step), n.until.Add(step)}
		}
		a.snoozes[key] = n
	}
	for _, s := range a.services {
		s.anew, s.lastEnd = true, time.Time{}
	}
}

// born is the start of a life, with what it has read.
func (a *auditor) born(saved store.State) {
	a.calls = nil
	clear(a.looks)
	for _, s := range a.services {
		s.waits = false
	}
	if a.lost || a.w.disk.doubt {
		a.lost, a.w.disk.doubt = false, false
		clear(a.snoozes)
		for _, s := range a.services {
			s.anew, s.lastEnd, s.released = true, time.Time{}, true
		}
		for _, c := range a.w.engine.containers {
			c.told, c.doubtful = known{}, true
		}
		a.w.mu.Lock()
		for _, m := range a.mailboxes {
			m.lossy = true
		}
		a.w.mu.Unlock()
		a.restarts = nil
	}
	for _, c := range a.w.engine.containers {
		c.seen, c.told.pause = view{}, false
	}
}

// died is the end of a life.
func (a *auditor) died() {
	if a.w.disk.failing || a.w.disk.late() {
		a.w.disk.doubt = true
	}
	for _, m := range a.mailboxes {
		m.killed()
	}
	maps.DeleteFunc(a.snoozes, func(_ string, n nap) bool { return !n.until.After(time.Now()) }) // the next life knows nothing of them
	l := a.w.life
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range a.w.engine.containers { // a call that was not made counts all the same
		if in, s := l.intents[recovery.ShortID(c.id)], a.services[c.service]; !in.follows && in.at.After(s.lastOwn) {
			s.attempt, s.lastOwn = in.attempt, time.Now()
		}
	}
}

// heard is an event that has reached the watchdog.
func (a *auditor) heard(m message) {
	c := m.c
	if !c.stopped || m.n <= c.stoppedAt {
		return
	}
	if m.at.Before(c.started) {
		return // the engine's clock was set back, and says that it was before
	}
	switch m.act {
	case "kill":
		c.told.kill = c.told.kill || m.signal == "15" || m.signal == "9"
	case "die":
		c.told.die = true
	case "stop":
		c.told.stop = true
	}
}

// toldStopped says whether the watchdog knows, or has to assume, that a person
// stopped a container. The error of a start that failed stays behind.
func (c *container) toldStopped() bool {
	return c.stopped && !c.wanted && !c.raced && (c.told.kill || c.told.stop || c.told.down && !c.told.die && c.err == "" && !c.doubtful)
}

// look keeps what an inspection says, until it has reached the watchdog.
func (a *auditor) look(r *request, c *container) {
	v := view{state: c.state, health: c.health, streak: c.streak, started: c.started, life: c.gen}
	if n := len(c.log); n > 0 && c.log[n-1].ExitCode != 0 {
		v.failures = c.log[n-1].causes
	}
	a.looks[r] = v
}

// answered is the answer to a call, as it reaches the watchdog.
func (a *auditor) answered(r *request, got answer) {
	c := a.w.engine.containers[r.id]
	switch r.kind {
	case "inspect":
		v, ok := a.looks[r]
		delete(a.looks, r)
		if !ok || c == nil {
			return
		}
		c.seen = v
		if v.health == "healthy" && !a.inFlight(c) && !a.services[c.service].waits {
			a.w.mu.Lock()
			a.services[c.service].released = false
			a.w.mu.Unlock()
		}
		c.told.pause = v.state == "paused" && c.state == "paused"
		if c.stopped && v.state != "running" {
			c.told.down = true
		}
	case "restart", "start", "stop":
		a.calls = slices.DeleteFunc(a.calls, func(o *request) bool { return o == r })
		if c != nil {
			a.services[c.service].lastEnd, a.services[c.service].waits = time.Now(), false
			a.services[c.service].failed = got.err != nil || got.resp.StatusCode >= 400
		}
	}
}

// asked is a call that the watchdog makes.
func (a *auditor) asked(r *request) {
	if r.kind == "restart" || r.kind == "start" || r.kind == "stop" {
		a.askedRestart(r)
	}
}

func (a *auditor) askedRestart(r *request) {
	w := a.w
	c := w.engine.containers[r.id]
	a.calls = slices.DeleteFunc(a.calls, func(o *request) bool {
		if c := w.engine.containers[o.id]; o.left() && c != nil {
			a.services[c.service].failed = true
		}
		return o.left()
	})
	if slices.ContainsFunc(a.calls, func(o *request) bool { return o.id == r.id }) {
		w.fail("one call at a time", "two calls for %.12s in flight", r.id)
	}
	if a.calls = append(a.calls, r); len(a.calls) > settings(false).MaxConcurrent {
		w.fail("limits", "%d restarts at once", len(a.calls))
	}
	if c == nil {
		return // it was removed, and the answer says so
	}
	a.services[c.service].waits = true
	defer func() { a.services[c.service].asked = false }()
	w.count("asked for a " + r.kind)
	c.raced = c.raced || c.stopped && c.ending && !c.toldStopped()
	s := a.services[c.service]
	switch {
	case c.toldStopped():
		w.fail("a person's stop", "%s was stopped by a person (%+v): %s", c.name, c.told, a.saidOf(c))
	case c.state == "paused" && c.told.pause:
		w.fail("a person's pause", "%s is paused", c.name)
	case c.labels["watchdog.enable"] == "false", c.service == "swarm", c.service == "oneoff":
		w.fail("what is never touched", "%s is restarted", c.name)
	case c.dry:
		w.fail("dry run", "%s is restarted", c.name)
	}
	a.saved(r, c)
	w.life.mu.Lock()
	in, told := w.life.intents[recovery.ShortID(c.id)], w.life.overloaded
	w.life.mu.Unlock()
	a.awake(c, in)
	policy, _ := settings(w.people.all).For(recovery.Container{Labels: c.fullLabels()})
	if s.asked { // a person wants it up
		c.halted = false
	}
	switch {
	case r.kind == "stop":
		a.askedStop(c, s, policy)
		return
	case s.asked: // reset while it was being stopped
		c.halted = false
	case c.halted && !c.wanted && !c.doubtful:
		w.fail("what it stopped", "%s was stopped by the watchdog, and a %s is asked for: %s", c.name, r.kind, a.saidOf(c))
	}
	if r.kind == "start" {
		return
	}
	if took := time.Since(in.at); took > mostDelay {
		w.fail("evidence", "%s is restarted %s after the decision", c.name, took)
	}
	if policy.Remedy != recovery.RemedyRestart && !s.asked {
		w.fail("actions", "%s is restarted, and its action is %s", c.name, policy.Remedy)
	}
	if in.follows {
		w.count("restarts of dependents")
		return
	}
	now := time.Now()
	w.mu.Lock()
	released := s.released
	w.mu.Unlock()
	if told && policy.ByCause && c.seen.state == "running" && (!released || len(a.calls) > 1) {
		w.fail("overload", "%s is restarted while the host is overloaded (released %v, %d calls in flight): %s", c.name, released, len(a.calls), a.saidOf(c))
	}
	a.count(c, s, in, policy, now)
	a.reason(c, s, policy)
}

// askedStop checks a call that stops a container.
func (a *auditor) askedStop(c *container, s *account, policy recovery.Policy) {
	w := a.w
	w.life.mu.Lock()
	told := w.life.overloaded
	w.life.mu.Unlock()
	w.mu.Lock()
	released := s.released
	w.mu.Unlock()
	switch {
	case policy.Remedy == recovery.RemedyNotify, policy.Remedy == recovery.RemedyRestart && !policy.StopOnGiveUp:
		w.fail("actions", "%s is stopped, and its action is %s", c.name, policy.Remedy)
	case policy.Remedy == recovery.RemedyRestart && s.attempt < policy.MaxAttempts && !s.anew:
		w.fail("actions", "%s is stopped after %d attempts of %d", c.name, s.attempt, policy.MaxAttempts)
	case told && policy.ByCause && c.seen.state == "running" && !released:
		w.fail("overload", "%s is stopped while the host is overloaded", c.name)
	}
	set, now := settings(false), time.Now()
	a.restarts = slices.DeleteFunc(a.restarts, func(t time.Time) bool { return now.Sub(t) >= set.Window })
	if a.restarts = append(a.restarts, now); len(a.restarts) > set.MaxRestarts {
		w.fail("limits", "%d restarts and stops in %s", len(a.restarts), set.Window)
	}
	a.reason(c, s, policy)
}

// mostDelay is how long a restart may come after its decision: what the disk
// and the evidence may take, and a call that is slow to arrive.
const mostDelay = 4*time.Second + 2*longestLatency

// snoozed notes a snooze of so many services.
func (a *auditor) snoozed(key string, until time.Time, services int) {
	if services > 0 {
		a.snoozes[key] = nap{time.Now(), until}
	}
}

// resumed notes the end of a snooze; that of all ends each service's.
func (a *auditor) resumed(key string) {
	if delete(a.snoozes, key); key == "" {
		clear(a.snoozes)
	}
}

// awake checks that nobody has snoozed what was decided.
func (a *auditor) awake(c *container, in intent) {
	for _, key := range []string{"", c.key()} {
		if n := a.snoozes[key]; in.at.After(n.from) && in.at.Before(n.until) {
			a.w.fail("snoozes", "the restart of %s was decided at %s, and it is snoozed until %s", c.name, stamp(in.at), stamp(n.until))
		}
	}
}

// count checks the number of restarts, and the pauses between them.
func (a *auditor) count(c *container, s *account, in intent, policy recovery.Policy, now time.Time) {
	w := a.w
	switch {
	case in.attempt > policy.MaxAttempts && !s.asked: // a person who resets it outranks the policy
		w.fail("attempts", "restart %d of %s, at most %d", in.attempt, c.name, policy.MaxAttempts)
	case in.attempt == s.attempt+1, s.anew:
	case in.attempt == 1 && now.Sub(s.lastOwn) >= policy.StableFor:
	default:
		w.fail("attempts", "restart %d of %s follows restart %d, which ended %s ago", in.attempt, c.name, s.attempt, now.Sub(s.lastEnd))
	}
	if want := c.backoff(in.attempt - 1); !s.lastEnd.IsZero() && now.Sub(s.lastEnd) < want {
		w.fail("pauses", "restart %d of %s comes %s after the last one, want %s", in.attempt, c.name, now.Sub(s.lastEnd), want)
	}
	s.attempt, s.anew, s.lastEnd, s.lastOwn = in.attempt, false, now, now
	set := settings(false)
	a.restarts = slices.DeleteFunc(a.restarts, func(t time.Time) bool { return in.at.Sub(t) >= set.Window })
	if a.restarts = append(a.restarts, in.at); len(a.restarts) > set.MaxRestarts {
		w.fail("limits", "%d restarts in %s", len(a.restarts), set.Window)
	}
}

// backoff is how long after restart n the next one may come.
func (s spec) backoff(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	base := time.Second
	if s.labels["watchdog.backoff-base"] != "" {
		base = 15 * time.Second
	}
	return min(base<<n, 5*time.Minute)
}

// reason checks that what the watchdog knows is a reason for a restart.
func (a *auditor) reason(c *container, s *account, policy recovery.Policy) {
	v := c.seen
	if s.asked || s.failed || v.state != "running" || v.life != c.gen {
		return
	}
	_, reported := c.labels["watchdog.reported-by"]
	switch {
	case c.checked && v.health == "healthy":
		a.w.fail("reasons", "%s is restarted, and is %s", c.name, v.health)
	case !c.checked && !reported:
		a.w.fail("reasons", "%s is restarted, runs, and has no healthcheck", c.name)
	}
	if !policy.ByCause || v.health != "unhealthy" || len(v.failures) == 0 {
		return
	}
	for _, f := range v.failures {
		if d := a.w.engine.byService(f.Host); f.Class == probe.Dependency && d != nil && c.compose && d.compose && d.isCulprit() {
			a.w.fail("the culprit", "%s is restarted, and depends on %s, which is %s (%s)", c.name, d.name, d.state, d.health)
		}
	}
	if !slices.ContainsFunc(v.failures, func(f probe.FailureCause) bool { return f.Class != probe.Config && f.Class != probe.Host }) {
		a.w.fail("reasons", "%s is restarted, and only a person can mend %v", c.name, v.failures)
	}
}

// isCulprit says whether a container is down or failing, as the watchdog knows, and
// blames no other for that.
func (c *container) isCulprit() bool {
	v := c.seen
	return v.life == c.gen && (v.state == "exited" || v.state == "running" && v.health == "unhealthy") &&
		!slices.ContainsFunc(v.failures, func(f probe.FailureCause) bool { return f.Class == probe.Dependency })
}

// saved checks that a restart was saved before it was asked for.
func (a *auditor) saved(r *request, c *container) {
	w := a.w
	if w.disk.failing || w.disk.doubt || w.disk.late() {
		return
	}
	state, err := w.life.file.Load(time.Now())
	if err != nil {
		w.fail("store", "%v", err)
		return
	}
	for _, s := range state.Services {
		if s.ID == c.id {
			if s.Phase != recovery.Restarting && s.Phase != recovery.Launching && s.Phase != recovery.ShuttingDown {
				w.fail("store", "%s of %s is asked for, and saved as %s", r.kind, c.name, s.Phase)
			}
			return
		}
	}
	w.fail("store", "%s of %s is asked for, and not saved", r.kind, c.name)
}

// saidOf is what the state file says of a container, for those who look for a
// fault.
func (a *auditor) saidOf(c *container) string {
	state, err := a.w.life.file.Load(time.Now())
	for _, s := range state.Services {
		if s.ID == c.id {
			text, _ := json.Marshal(s)
			return string(text)
		}
	}
	return fmt.Sprint("nothing is saved: ", err)
}
