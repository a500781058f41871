package recovery

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/report"
)

// world is an engine with its containers and the people who use it, for random
// histories. It knows the truth that the machine has to find out.
type world struct {
	t    *testing.T
	r    *rand.Rand
	m    *Machine
	now  time.Time
	seed uint64

	all   map[string]*fakeContainer // by id
	ids   int
	calls map[string]*call // in flight, by service
	queue []Message        // events that are on their way

	attempts map[string]int
	lastEnd  map[string]time.Time
	open     map[string]bool
	quiet    bool // no faults any more

	overloaded bool // people were told
	log        func(string)
}

// fakeContainer is a container as it really is.
type fakeContainer struct {
	Container
	// stopped says that a person stopped it and nobody has started it since;
	// known that the machine was told.
	stopped, known bool
	// broken containers do not become healthy by a restart.
	broken bool
	// starting says that its probes have not decided yet.
	starting bool
	// why is what its probes say while it is broken.
	why []report.Failure
}

type call struct {
	id, key string
	start   bool
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 11)), now: t0, seed: seed, all: map[string]*fakeContainer{}, calls: map[string]*call{},
		attempts: map[string]int{}, lastEnd: map[string]time.Time{}, open: map[string]bool{}}
	s := settings()
	s.MaxRestarts, s.MaxConcurrent = 50, 3
	w.m = NewMachine(s)
	w.m.Apply(Online{}, w.now)
	db := w.add("db", nil)
	w.add("web", map[string]string{composeDependsOn: "db:service_started:true,edge:service_started:true"})
	w.add("edge", map[string]string{composeDependsOn: "web:service_started:true,db:service_started:true"})
	side := w.add("side", nil)
	side.NetworkOf, side.RestartPolicy = db.ID, []string{"", "always"}[w.r.IntN(2)]
	dry := w.add("dry", map[string]string{"watchdog.dry-run": "true"})
	dry.NetworkOf, dry.RestartPolicy = "hub", side.RestartPolicy
	w.add("hub", nil)
	w.add("policy", nil).RestartPolicy = "always"
	plain := w.add("plain", map[string]string{reportedByLabel: "*"})
	plain.HasHealthcheck, plain.Health, plain.StopSignal = false, "", "SIGWINCH"
	limited := w.add("limited", nil)
	limited.RestartPolicy, limited.MaxRetries = "on-failure", 2
	return w
}

// add creates a running container.
func (w *world) add(name string, labels map[string]string) *fakeContainer {
	w.ids++
	c := &fakeContainer{Container: container("healthy")}
	c.ID, c.Name, c.StartedAt = fmt.Sprintf("%s-%d", name, w.ids), name, w.now
	c.Labels = map[string]string{"watchdog.enable": "true", composeProject: "p", composeService: name}
	maps.Copy(c.Labels, labels)
	w.all[c.ID] = c
	return c
}

// tell sends events of one act: at once, later, or never.
func (w *world) tell(c *fakeContainer, events ...Message) {
	switch n := w.r.IntN(20); {
	case n == 0 && !w.quiet: // lost, all of them
	case n < 4 && !w.quiet:
		w.queue = append(w.queue, events...)
	default:
		w.deliver(len(w.queue))
		for _, e := range events {
			w.apply(e)
		}
		if c.stopped {
			c.known = true
		}
	}
}

// deliver sends the oldest events that are on their way.
func (w *world) deliver(n int) {
	for range n {
		e := w.queue[0]
		w.queue = w.queue[1:]
		if seen, ok := e.(Seen); ok { // an event leads to a fresh look
			if c := w.all[seen.Container.ID]; c != nil {
				w.see(c)
			}
			continue
		}
		w.apply(e)
	}
}

func (w *world) see(c *fakeContainer) {
	if c.State != "running" && c.stopped {
		c.known = true
	}
	w.apply(Seen{c.Container})
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d: "+format, append([]any{w.seed}, args...)...)
}

// apply gives the machine a message and audits what it says.
func (w *world) apply(msg Message) {
	if w.log != nil {
		before := map[string]Phase{}
		for k, s := range w.m.Services {
			before[k] = s.Phase
		}
		defer func() {
			for k, s := range w.m.Services {
				if s.Phase != before[k] {
					w.log(fmt.Sprintf("%s %T: %s %s->%s att=%d after=%q last=%s", w.now.Format("05:05.000"), msg, k, before[k], s.Phase, s.Attempts, s.After, s.LastRestart.Format("05:05.000")))
				}
			}
		}()
	}
	if w.log != nil {
		x := fmt.Sprintf("%s MSG %#v", w.now.Format("05:05.000"), msg)
		w.log(x[:min(len(x), 260)])
	}
	w.audit(w.m.Apply(msg, w.now))
	for key := range w.attempts {
		if s := w.m.Services[key]; s == nil || s.Attempts == 0 {
			delete(w.attempts, key)
		}
	}
	for key, s := range w.m.Services {
		if s.Attempts < 0 || len(s.Life.Marks) > maxMarks {
			w.fail("%+v", *s)
		}
		if s.Open != w.open[key] {
			w.fail("%s: open is %v, people were told %v, after %#v", key, s.Open, w.open[key], msg)
		}
	}
}

func (w *world) audit(actions []Action) {
	var cascades []Action
	defer func() {
		for _, a := range cascades {
			w.apply(Dependents{Of: a.Key, All: w.m.Settings.DependentsOf(w.list(), a.Container)})
		}
	}()
	for _, a := range actions {
		c := w.all[a.ID]
		if a.Kind != DoCascade && a.Kind != DoForget && a.Kind != DoLook && a.Text == "" {
			w.fail("an action that does not explain itself: %+v", a)
		}
		switch a.Kind {
		case DoRestart, DoStart:
			if w.overloaded && a.Kind == DoRestart && !strings.HasPrefix(a.Text, "restart after ") && w.m.Services[a.Key].policy.ByCause && !w.m.Services[a.Key].Released && c != nil && c.State == "running" {
				w.fail("%s is restarted while the host is overloaded", a.Key)
			}
			if w.calls[a.Key] != nil {
				w.fail("two calls for %s in flight", a.Key)
			}
			if c != nil && c.stopped && c.known {
				w.fail("%s was stopped by a person: %+v", a.Key, *w.m.Services[a.Key])
			}
			if strings.HasPrefix(a.Name, "dry") {
				w.fail("a dry run restarts %s", a.Key)
			}
			w.calls[a.Key] = &call{id: a.ID, key: a.Key, start: a.Kind == DoStart}
			if a.Kind == DoStart || strings.HasPrefix(a.Text, "restart after ") {
				continue
			}
			before := w.attempts[a.Key]
			w.attempts[a.Key] = a.Attempt
			if a.Attempt > w.m.Settings.MaxAttempts || a.Attempt != 1 && a.Attempt != before+1 {
				w.fail("restart %d of %s after restart %d", a.Attempt, a.Key, before)
			}
			if n := a.Attempt - 1; n > 0 && w.now.Sub(w.lastEnd[a.Key]) < w.m.Settings.Delay(n) {
				w.fail("restart of %s %s after restart %d, want %s", a.Key, w.now.Sub(w.lastEnd[a.Key]), n, w.m.Settings.Delay(n))
			}
		case DoAlert:
			if a.Key == "" {
				if a.Event == EventOverloaded || a.Event == EventOverloadOver {
					if w.overloaded = !w.overloaded; w.overloaded == a.Closes {
						w.fail("told of the overload twice: %+v", a)
					}
				}
				continue
			}
			if a.Severity != Info {
				w.open[a.Key] = true
			}
			if a.Closes {
				if !w.open[a.Key] {
					w.fail("%s: closed, and nothing was open: %+v", a.Key, a)
				}
				delete(w.open, a.Key)
			}
			if a.Event == EventRecovered && c != nil && c.HasHealthcheck && c.State != "running" && c.known {
				w.fail("%s is called recovered and is %s", a.Key, c.State)
			}
		case DoCascade:
			cascades = append(cascades, a)
		case DoForget:
			if w.open[a.Key] {
				w.fail("%s is forgotten and open", a.Key)
			}
		}
	}
}

func (w *world) list() (all []Container) {
	for _, id := range slices.Sorted(maps.Keys(w.all)) {
		all = append(all, w.all[id].Container)
	}
	return all
}

// reconcile is what the daemon does with a list.
func (w *world) reconcile() {
	all := w.list()
	for _, c := range w.all {
		if c.State != "running" && c.stopped {
			c.known = true
		}
	}
	w.apply(Listed{all})
	for _, c := range all {
		if w.m.NeedsLook(c) {
			w.apply(Seen{c})
		}
	}
}

// die ends a container, as its policy will have it.
func (w *world) die(c *fakeContainer, code int) {
	c.State, c.ExitCode, c.FinishedAt, c.OOMKilled = "exited", code, w.now, code == 137
	c.starting = false
	revive := c.RestartPolicy == "always" || c.RestartPolicy == "on-failure" && code != 0 && c.RestartCount < c.MaxRetries
	if revive {
		c.State = "restarting"
	}
	w.tell(c, Exited{c.ID, code, w.now}, Seen{c.Container})
	if revive {
		w.now = w.now.Add(time.Millisecond)
		c.RestartCount++
		w.start(c)
	}
}

// start starts a container, unless it cannot join its owner.
func (w *world) start(c *fakeContainer) bool {
	if c.NetworkOf != "" {
		up := false
		for _, o := range w.all {
			up = up || means(c.NetworkOf, o.Container) && o.State == "running"
		}
		if !up {
			c.State, c.ExitCode, c.Error = "exited", 128, "cannot join network of a non running container"
			return false
		}
	}
	c.State, c.StartedAt, c.Error, c.OOMKilled, c.stopped, c.known = "running", w.now, "", false, false, false
	c.starting = c.HasHealthcheck
	if c.HasHealthcheck {
		c.Health, c.FailingStreak, c.Failures, c.ProbeTimedOut = "starting", 0, nil, false
	}
	return true
}

func (w *world) stop(c *fakeContainer, signal string) {
	w.now = w.now.Add(time.Millisecond)
	asked := w.now
	w.now = w.now.Add(time.Millisecond)
	c.State, c.ExitCode, c.FinishedAt, c.stopped, c.known = "exited", 143, w.now, true, false
	w.tell(c, Signalled{c.ID, signal, asked}, Exited{c.ID, 143, w.now}, StopDone{c.ID, w.now.Add(1)}, Seen{c.Container})
}

// causes is what a failed probe says, or nothing.
func (w *world) causes() (all []report.Failure) {
	hosts := []string{"db", "web", "edge", "plain", "hub", "elsewhere", ""}
	for range w.r.IntN(3) {
		f := report.Failure{Check: "x", Cause: probe.FailureCause{Class: probe.Classes[w.r.IntN(len(probe.Classes))]}, Text: "down"}
		if w.r.IntN(2) == 0 {
			f.Cause.Class = probe.Dependency
		}
		if f.Cause.Class == probe.Dependency {
			f.Cause.Host = hosts[w.r.IntN(len(hosts))]
		}
		all = append(all, f)
	}
	return all
}

// act lets one thing happen.
func (w *world) act() {
	w.now = w.now.Add(time.Duration(w.r.Int64N(int64(4 * time.Second))))
	if w.r.IntN(50) == 0 {
		w.now = w.now.Add(11 * time.Minute)
	}
	ids := slices.Sorted(maps.Keys(w.all))
	c := w.all[ids[w.r.IntN(len(ids))]]
	service := c.Labels[composeService]
	busy := w.calls["p/"+service+"/1"] != nil
	running := c.State == "running"
	switch w.r.IntN(27) {
	case 0, 1, 2: // its probes fail
		if running && c.HasHealthcheck {
			c.Health, c.FailingStreak, c.starting = "unhealthy", 1, false
			c.broken = w.r.IntN(3) == 0
			c.Failures, c.why = w.causes(), nil
			c.ProbeTimedOut = w.r.IntN(3) == 0
			if c.broken && w.r.IntN(2) == 0 {
				c.why = c.Failures
			}
			w.see(c)
		}
	case 3, 4:
		if running && c.HasHealthcheck {
			c.Health, c.FailingStreak, c.starting, c.broken, c.Failures, c.ProbeTimedOut = "healthy", 0, false, false, nil, false
		}
		w.see(c)
	case 5, 6:
		if running && !busy {
			w.die(c, []int{0, 1, 1, 137}[w.r.IntN(4)])
		}
	case 7:
		if running && !busy {
			w.stop(c, []string{cmp.Or(c.StopSignal, "15"), "SIGTERM", "9"}[w.r.IntN(3)])
		}
	case 8: // a person starts or restarts it
		if !busy && c.State != "paused" {
			w.start(c)
			c.stopped, c.RestartCount = false, 0 // whoever starts it wants it up
			w.tell(c, Seen{c.Container})
		}
	case 9:
		if running && !busy {
			c.State, c.Health, c.FailingStreak = "paused", "unhealthy", 0
			if !c.HasHealthcheck {
				c.Health = ""
			}
		} else if c.State == "paused" {
			c.State = "running"
		}
		w.see(c)
	case 10: // an echo of a life before
		w.apply(Signalled{c.ID, "15", c.StartedAt.Add(-time.Second)})
		w.apply(Exited{c.ID, 137, c.StartedAt.Add(-time.Second)})
	case 11: // a signal that ends nothing
		w.apply(Signalled{c.ID, "HUP", w.now})
	case 12: // recreated, as compose does
		if w.r.IntN(2) == 0 && len(w.all) > 3 {
			w.remove(c)
			if n := w.add(service, c.Labels); true {
				n.NetworkOf, n.RestartPolicy, n.MaxRetries, n.HasHealthcheck, n.StopSignal = c.NetworkOf, c.RestartPolicy, c.MaxRetries, c.HasHealthcheck, c.StopSignal
				if n.NetworkOf != "" && n.NetworkOf != "hub" {
					for _, o := range w.all {
						if o.Labels[composeService] == "db" {
							n.NetworkOf = o.ID
						}
					}
				}
				if !n.HasHealthcheck {
					n.Health = ""
				}
				w.tell(n, Seen{n.Container})
			}
		}
	case 13:
		if w.r.IntN(4) == 0 && len(w.all) > 6 {
			seen := c.Container
			seen.State = "removing"
			w.apply(Seen{seen})
			w.remove(c)
		}
	case 14:
		c.Labels = maps.Clone(c.Labels)
		c.Labels["watchdog.enable"] = fmt.Sprint(w.r.IntN(3) > 0)
		w.see(c)
	case 15:
		if w.r.IntN(3) == 0 {
			delete(w.lastEnd, "p/"+service+"/1")
			if c.stopped && c.State != "running" {
				c.stopped = false // a person who resets it wants it up
			}
			w.apply(ResetAsked{"p/" + service + "/1"})
		}
	case 16, 17, 18, 19:
		for _, key := range slices.Sorted(maps.Keys(w.calls)) {
			w.endCall(w.calls[key])
			break
		}
	case 20:
		w.apply(Tick{})
	case 21:
		w.reconcile()
	case 22:
		w.apply(Offline{})
		w.now = w.now.Add(time.Minute)
		w.reconcile()
		w.apply(Online{})
	case 23:
		w.deliver(len(w.queue))
	case 26: // what another's network is verified in goes
		i := slices.IndexFunc(ids, func(id string) bool {
			s := w.m.Services[w.m.byID[id]]
			return w.all[id].NetworkOf != "" && w.all[id].State == "running" && s != nil && s.Phase == Verifying
		})
		if i < 0 {
			break
		}
		c = w.all[ids[i]]
		for _, id := range ids {
			if o := w.all[id]; means(c.NetworkOf, o.Container) && w.calls["p/"+o.Labels[composeService]+"/1"] == nil {
				if w.r.IntN(2) == 0 {
					w.remove(o)
					w.reconcile()
				} else if o.State == "running" {
					w.stop(o, "15")
					c.RestartPolicy = "always"
					w.die(c, 1)
					w.see(c)
				}
				break
			}
		}
	case 24, 25: // something of one that is being restarted is seen, or was long ago
		for _, key := range slices.Sorted(maps.Keys(w.calls)) {
			if c := w.all[w.calls[key].id]; c != nil && !c.stopped && c.State != "paused" {
				seen := c.Container
				seen.State = []string{"running", "running", "paused", "exited", "restarting"}[w.r.IntN(5)]
				seen.Health = []string{"healthy", "unhealthy", "starting"}[w.r.IntN(3)]
				w.apply(Seen{seen})
				if c.State == "running" && w.r.IntN(3) == 0 || w.calls[key].start && w.r.IntN(9) == 0 {
					w.apply(Signalled{c.ID, "15", w.now})
					w.apply(Signalled{c.ID, "15", w.now.Add(1)}) // the second is not ours
					c.State, c.ExitCode, c.FinishedAt, c.starting = "exited", 143, w.now.Add(2), false
					c.stopped, c.known = true, true
					w.apply(Exited{c.ID, 143, w.now.Add(2)})
					w.apply(Seen{c.Container})
				}
			}
		}
	}
}

func (w *world) remove(c *fakeContainer) {
	delete(w.all, c.ID)
	w.tell(c, Destroyed{c.ID})
}

// endCall is the end of a call, with whatever it did.
func (w *world) endCall(k *call) {
	delete(w.calls, k.key)
	w.lastEnd[k.key] = w.now
	e := CallEnded{Key: k.key}
	c := w.all[k.id]
	how := w.r.IntN(8)
	if w.quiet {
		how = 7
	}
	switch {
	case c == nil:
		e.Err, e.Missing = errors.New("no such container"), true
	case c.stopped && c.known && c.State == "exited": // both stopped it, and the person had the last word
		seen := c.Container
		e.Err, e.Seen = errors.New("500"), &seen
	case how == 0 || c.State == "paused":
		e.Err = errors.New("500")
		if w.r.IntN(2) == 0 {
			seen := c.Container
			e.Seen = &seen
		}
	default:
		if c.State == "running" && !k.start {
			w.apply(Signalled{c.ID, "15", w.now.Add(-3)})
			w.apply(Exited{c.ID, 143, w.now.Add(-2)})
			w.apply(StopDone{c.ID, w.now.Add(-1)})
			c.State, c.ExitCode, c.FinishedAt, c.starting = "exited", 143, w.now.Add(-2), false
		}
		if how == 1 || !w.start(c) {
			e.Err = errors.New("500: it was stopped and not started")
		} else if how == 2 {
			e.Err = errors.New("the answer was lost")
		}
		if how == 3 && c.State == "running" { // a person stops it right behind the restart
			w.stop(c, "15")
			c.known = true
		}
		seen := c.Container
		e.Seen = &seen
	}
	w.apply(e)
}

// rest lets all faults end and everything that is on its way arrive.
func (w *world) rest() {
	w.quiet = true
	w.deliver(len(w.queue))
	w.apply(Online{})
	quiet := 0
	for range 80 {
		if quiet++; w.moving() {
			quiet = 0
		}
		if quiet > 2 {
			break
		}
		w.now = w.now.Add(20 * time.Second)
		for _, key := range slices.Sorted(maps.Keys(w.calls)) {
			w.endCall(w.calls[key])
		}
		for _, id := range slices.Sorted(maps.Keys(w.all)) {
			if c := w.all[id]; c.starting {
				c.starting = false
				if c.Health, c.FailingStreak = "healthy", 0; c.broken {
					c.Health, c.FailingStreak, c.Failures = "unhealthy", 1, c.why
				}
			}
		}
		w.reconcile()
		w.apply(Tick{})
	}
}

// moving says whether the machine or the world has anything left to do.
func (w *world) moving() bool {
	for _, s := range w.m.Services {
		if s.inFlight() || s.Phase == Waiting || s.Phase == Verifying || s.Phase == Held && !s.Due.IsZero() {
			return true
		}
	}
	for _, c := range w.all {
		if c.starting {
			return true
		}
	}
	return false
}

// settled asserts that every service has come to an end: healthy, left alone,
// or given up or held with an incident that is open.
func (w *world) settled() {
	for key, s := range w.m.Services {
		c := w.all[s.ID]
		switch {
		case s.Phase == Waiting || s.inFlight() || s.Phase == Verifying:
			w.fail("%s is still %s: %+v", key, s.Phase, *s)
		case c == nil:
			if s.Open {
				w.fail("%s is removed and open: %+v", key, *s)
			}
		case s.Phase == Held && s.Hold.Kind == ForDependency && !w.m.stillBad(s):
			w.fail("%s is held for what is healthy: %+v", key, *s)
		case s.Phase == Held && s.Hold.Kind == ForPerson && !s.Open:
			w.fail("%s is held for a person who was not told: %+v", key, *s)
		case s.Phase == Held && s.Hold.Kind == ForHost && !w.m.Overloaded():
			w.fail("%s is held for a host that is not overloaded: %+v", key, *s)
		case s.Phase == GivenUp && !s.Open && c.State == "running":
			w.fail("%s is given up and not open: %+v", key, *s)
		case s.Phase == Idle && s.watched && c.State == "running" && c.failing() && !s.Life.stopping(w.now, patience(c.Container)):
			w.fail("%s is unhealthy, and nobody cares: %+v", key, *s)
		case s.Phase == Idle && s.Open && c.State == "running" && c.Health == "healthy":
			w.fail("%s is healthy and open: %+v", key, *s)
		}
	}
	for id, key := range w.m.byID {
		if w.all[id] == nil || w.m.Services[key] == nil {
			w.fail("the id %s of %s outlives it", id, key)
		}
	}
	if len(w.m.peers) != len(w.all) {
		w.fail("%d of %d containers are known", len(w.m.peers), len(w.all))
	}
	if len(w.m.early)+len(w.m.joined)+len(w.m.owners) > 3*len(w.all) {
		w.fail("%d, %d and %d are remembered of %d containers", len(w.m.early), len(w.m.joined), len(w.m.owners), len(w.all))
	}
}

// TestProperties runs random histories, and asserts what must hold in all of
// them: a person's stop is respected, one call at a time, limits and pauses
// hold, what is opened is closed once, and in the end everything is settled.
// watchdog/simulation does so with the whole daemon, and passes every pair of
// the table; here the machine is told what no engine would tell it.
func TestProperties(t *testing.T) {
	const seeds, chunks = 400, 8
	for chunk := range uint64(chunks) {
		t.Run(fmt.Sprint("part ", chunk), func(t *testing.T) {
			t.Parallel()
			for seed := chunk; seed < seeds; seed += chunks {
				w := newWorld(t, seed)
				w.reconcile()
				for range 250 {
					w.act()
				}
				w.rest()
				w.settled()
			}
		})
	}
}
