package watchdog

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func settings() Settings {
	p := DefaultPolicy()
	p.Jitter = 0
	return Settings{Policy: p, MaxConcurrent: 4, MaxRestarts: 20, Window: 5 * time.Minute}
}

// box is a container in the hands of a test.
func box(health string) Container {
	c := Container{ID: "id1", Name: "app", Labels: map[string]string{"watchdog.enable": "true"}, State: "running", Health: health,
		HasHealthcheck: true, StartedAt: t0.Add(-time.Hour), Interval: time.Second, Timeout: time.Second, Retries: 1}
	if health == "unhealthy" {
		c.FailingStreak = 1
		c.LastOutput = "status 503"
	}
	return c
}

// with is a changed copy.
func with(c Container, change func(*Container)) Container {
	c.Labels = maps.Clone(c.Labels)
	change(&c)
	return c
}

// restarted is the container after a restart at that time.
func restarted(health string, at time.Time) Container {
	return with(box(health), func(c *Container) { c.StartedAt = at })
}

// step is one event in a test's table, and what comes of it.
type step struct {
	after time.Duration // since the last step
	event Event
	want  string // the actions, as words
	phase Phase
}

// words are the actions that matter, in brief.
func words(actions []Action) string {
	var out []string
	for _, a := range actions {
		switch a.Kind {
		case DoRestart:
			out = append(out, fmt.Sprintf("restart%d", a.Attempt))
		case DoStart, DoCascade:
			out = append(out, string(a.Kind))
		case DoAlert:
			out = append(out, string(a.Severity)+":"+a.Topic)
		}
	}
	return strings.Join(out, " ")
}

func play(t *testing.T, s Settings, steps []step) *Machine {
	t.Helper()
	m := NewMachine(s)
	now := t0
	m.Apply(Online{}, now)
	for i, st := range steps {
		now = now.Add(st.after)
		got := words(m.Apply(st.event, now))
		if got != st.want {
			t.Fatalf("step %d, %#v: %q, want %q", i, st.event, got, st.want)
		}
		for _, svc := range m.Services {
			if svc.Key == "app" && svc.Phase != st.phase {
				t.Fatalf("step %d, %#v: phase %q, want %q", i, st.event, svc.Phase, st.phase)
			}
		}
	}
	return m
}

func ok(c Container) Event { return Done{Key: "app", Seen: &c} }

func TestTransitions(t *testing.T) {
	sec := time.Second
	boom := errors.New("500: boom")
	ill, well, fresh := box("unhealthy"), box("healthy"), restarted("starting", t0.Add(sec))
	exited := with(box("unhealthy"), func(c *Container) { c.State, c.ExitCode = "exited", 3 })
	for name, steps := range map[string][]step{
		"recovers on the first restart": {
			{0, Seen{well}, "", Idle},
			{0, Seen{ill}, "restart1", Restarting},
			{sec, ok(fresh), "warning:restarted", Verifying},
			{sec, Seen{restarted("healthy", fresh.StartedAt)}, "info:recovered cascade", Idle},
		},
		"backs off, then gives up with one alert": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(restarted("starting", t0.Add(1))), "warning:restarted", Verifying},
			{0, Seen{restarted("unhealthy", t0.Add(1))}, "", Waiting},
			{2*sec - 1, Tick{}, "", Waiting},
			{1, Tick{}, "restart2", Restarting},
			{0, ok(restarted("starting", t0.Add(2*sec+1))), "warning:restarted", Verifying},
			{0, Seen{restarted("unhealthy", t0.Add(2*sec+1))}, "", Waiting},
			{4*sec - 1, Tick{}, "", Waiting},
			{1, Tick{}, "restart3", Restarting},
			{0, ok(restarted("starting", t0.Add(7*sec))), "warning:restarted", Verifying},
			{sec, Seen{restarted("unhealthy", t0.Add(7*sec))}, "critical:gave-up", GivenUp},
			{time.Hour, Seen{restarted("unhealthy", t0.Add(7*sec))}, "", GivenUp},
			{time.Hour, Tick{}, "", GivenUp},
			{0, Seen{restarted("healthy", t0.Add(7*sec))}, "info:recovered", Idle},
			{sec, Seen{restarted("unhealthy", t0.Add(7*sec))}, "critical:gave-up", GivenUp}, // not stable yet
			{sec, Seen{restarted("healthy", t0.Add(7*sec))}, "info:recovered", Idle},
			{10 * time.Minute, Tick{}, "", Idle},
			{0, Seen{restarted("unhealthy", t0.Add(7*sec))}, "restart1", Restarting},
		},
		"a healthy spell that is too short forgets nothing": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(restarted("healthy", t0.Add(1))), "warning:restarted info:recovered cascade", Idle},
			{9 * time.Minute, Seen{restarted("unhealthy", t0.Add(1))}, "restart2", Restarting},
		},
		"no verdict in time is a failure": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(fresh), "warning:restarted", Verifying},
			{12*sec - 1, Tick{}, "", Verifying}, // 1 × (1 s + 1 s) + 10 s
			{1, Tick{}, "restart2", Restarting}, // the backoff has passed meanwhile
		},
		"healthy by itself during the backoff": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{restarted("healthy", t0.Add(1))}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"a pause leaves 'unhealthy' behind": {
			{0, Seen{with(ill, func(c *Container) { c.State = "paused"; c.FailingStreak = 0 })}, "", Idle},
			{sec, Seen{with(ill, func(c *Container) { c.FailingStreak = 0 })}, "", Idle},
			{sec, Seen{ill}, "restart1", Restarting},
		},
		"paused in the middle is left alone": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{with(restarted("unhealthy", t0.Add(1)), func(c *Container) { c.State = "paused" })}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"stopped by a person in the middle is left alone": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Killed{"id1", "15", t0.Add(sec)}, "", Waiting},
			{0, Died{"id1", 0, t0.Add(sec)}, "", Waiting},
			{0, Seen{with(exited, func(c *Container) { c.StartedAt = t0.Add(1) })}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"stopped by a person is left alone": {
			{0, Seen{well}, "", Idle},
			{0, Killed{"id1", "15", t0}, "", Idle},
			{0, Died{"id1", 137, t0}, "", Idle},
			{0, Seen{exited}, "", Idle},
		},
		"died by itself": {
			{0, Seen{well}, "", Idle},
			{0, Died{"id1", 3, t0}, "", Idle},
			{0, Seen{exited}, "restart1", Restarting},
			{sec, ok(restarted("healthy", t0.Add(sec))), "warning:restarted info:recovered cascade", Idle},
		},
		"a probe that fails as the container ends is no illness": {
			{0, Seen{well}, "", Idle},
			{0, Seen{with(ill, func(c *Container) { c.Dying = true })}, "", Idle},
			{0, Died{"id1", 3, t0}, "", Idle},
			{0, Seen{with(exited, func(c *Container) { c.RestartPolicy = "always" })}, "", Idle},
		},
		"one that seems to end, and does not, is ill": {
			{0, Seen{with(ill, func(c *Container) { c.Dying, c.FailingStreak = true, 2 })}, "", Idle},
			{0, Seen{with(ill, func(c *Container) { c.Dying, c.FailingStreak = true, 3 })}, "restart1", Restarting},
		},
		"a signal that does not end it is not a stop": {
			{0, Seen{well}, "", Idle},
			{0, Killed{"id1", "10", t0}, "", Idle},
			{0, Died{"id1", 3, t0}, "", Idle},
			{0, Seen{exited}, "restart1", Restarting},
		},
		"found dead is left alone: nobody saw why": {
			{0, Seen{well}, "", Idle},
			{0, Seen{exited}, "", Idle},
		},
		"its own restart policy revives it": {
			{0, Seen{well}, "", Idle},
			{0, Died{"id1", 3, t0}, "", Idle},
			{0, Seen{with(exited, func(c *Container) { c.RestartPolicy = "always" })}, "", Idle},
		},
		"echoes of its own restart are no stop": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, Killed{"id1", "15", t0.Add(sec / 2)}, "", Restarting},
			{sec, ok(fresh), "warning:restarted", Verifying},
			{0, Killed{"id1", "15", t0.Add(sec / 2)}, "", Verifying},
			{0, Died{"id1", 137, t0.Add(sec / 2)}, "", Verifying},
			{sec, Died{"id1", 3, t0.Add(2 * sec)}, "", Verifying}, // this is a new one
			{0, Seen{with(exited, func(c *Container) { c.StartedAt = fresh.StartedAt })}, "", Waiting},
		},
		"restarted by somebody else in the backoff": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{restarted("starting", t0.Add(sec))}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
			{0, Seen{restarted("unhealthy", t0.Add(sec))}, "restart2", Restarting},
		},
		"vanishes": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, Done{Key: "app", Err: ErrGone, Missing: true}, "", Idle},
		},
		"vanishes in the backoff": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Gone{"id1"}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"recreated in the middle keeps the count": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Gone{"id1"}, "", Idle},
			{sec, Seen{with(ill, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "", Waiting},
			{sec, Tick{}, "restart2", Restarting},
		},
		"the old container beside the new one changes nothing": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{with(ill, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "", Waiting},
			{0, Seen{with(exited, func(c *Container) { c.StartedAt = t0.Add(1) })}, "", Waiting},
			{0, Seen{with(box("healthy"), func(c *Container) { c.StartedAt = t0.Add(1) })}, "", Waiting},
			{sec, Tick{}, "restart2", Restarting},
		},
		"what is not watched for a while keeps its count": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Seen{with(restarted("unhealthy", t0.Add(1)), func(c *Container) { c.Labels = nil })}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
			{0, Seen{with(ill, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "restart2", Restarting},
		},
		"recreated after giving up begins anew": {
			{0, Seen{with(ill, func(c *Container) { c.Labels = map[string]string{"autoheal": " TRUE ", "watchdog.max-attempts": "0"} })}, "critical:gave-up", GivenUp},
			{sec, Seen{with(ill, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "restart1", Restarting},
		},
		"a restart that fails half-way is followed by a start": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, Done{Key: "app", Err: boom, Seen: &exited}, "start", Restarting},
			{sec, ok(fresh), "warning:restarted", Verifying},
		},
		"a start that fails as well waits for the next attempt": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, Done{Key: "app", Err: boom, Seen: &exited}, "start", Restarting},
			{0, Done{Key: "app", Err: boom, Seen: &exited}, "", Waiting},
			{2 * sec, Tick{}, "restart2", Restarting},
		},
		"a restart that is refused is tried again, then given up": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, Done{Key: "app", Err: boom, Seen: &ill}, "", Waiting},
			{2 * sec, Tick{}, "restart2", Restarting},
			{0, Done{Key: "app", Err: boom}, "", Waiting},
			{4 * sec, Tick{}, "restart3", Restarting},
			{0, Done{Key: "app", Err: boom, Seen: &ill}, "critical:gave-up", GivenUp},
		},
		"a restart that succeeds after the client gave up": {
			{0, Seen{ill}, "restart1", Restarting},
			{sec, Done{Key: "app", Err: boom, Seen: &fresh}, "warning:restarted", Verifying},
		},
		"nothing is decided while the engine is lost": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Offline{}, "", Waiting},
			{time.Minute, Tick{}, "", Waiting},
			{0, Seen{restarted("healthy", t0.Add(1))}, "", Idle},
			{0, Online{}, "", Idle},
		},
		"an outage does not count against the verdict": {
			{0, Seen{ill}, "restart1", Restarting},
			{0, ok(fresh), "warning:restarted", Verifying},
			{sec, Offline{}, "", Verifying},
			{time.Minute, Tick{}, "", Verifying},
			{0, Online{}, "", Verifying},
			{11*sec - 1, Tick{}, "", Verifying},
			{1, Tick{}, "restart2", Restarting},
		},
		"opting out wins": {
			{0, Seen{with(ill, func(c *Container) { c.Labels["watchdog.enable"] = "false" })}, "", Idle},
		},
		"reset by a person": {
			{0, Seen{with(ill, func(c *Container) {
				c.Labels = map[string]string{"watchdog.enable": "true", "watchdog.max-attempts": "0"}
			})}, "critical:gave-up", GivenUp},
			{0, Reset{"app"}, "", Idle},
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, settings(), steps)
		})
	}
}

func TestUnhealthyFor(t *testing.T) {
	s := settings()
	s.UnhealthyFor = time.Minute
	play(t, s, []step{
		{0, Seen{box("unhealthy")}, "", Waiting},
		{30 * time.Second, Seen{box("unhealthy")}, "", Waiting},
		{30 * time.Second, Tick{}, "restart1", Restarting},
	})
	play(t, s, []step{
		{0, Seen{box("unhealthy")}, "", Waiting},
		{30 * time.Second, Seen{box("healthy")}, "", Idle},
		{10 * time.Second, Seen{box("unhealthy")}, "", Waiting},
		{50 * time.Second, Tick{}, "", Waiting},
		{10 * time.Second, Tick{}, "restart1", Restarting},
	})
}

func TestDryRunAsksForNothing(t *testing.T) {
	s := settings()
	s.DryRun = true
	m := NewMachine(s)
	m.Apply(Online{}, t0)
	for _, a := range m.Apply(Seen{box("unhealthy")}, t0) {
		if a.Kind == DoRestart && !a.Policy.DryRun {
			t.Errorf("a real restart: %+v", a)
		}
	}
}

// Delays are the seed's, capped, and never overflow.
func TestDelay(t *testing.T) {
	p := DefaultPolicy()
	for n, want := range map[int]time.Duration{-1: 0, 0: 0, 1: 2 * time.Second, 2: 4 * time.Second, 3: 8 * time.Second, 8: 256 * time.Second, 9: 5 * time.Minute, 1000: 5 * time.Minute, math.MaxInt: 5 * time.Minute} {
		if got := p.Delay(n); got != want {
			t.Errorf("after restart %d: %s, want %s", n, got, want)
		}
	}
	p = Policy{Base: math.MaxInt64, Multiplier: 1e300, Max: math.MaxInt64}
	if got := p.Delay(5); got != math.MaxInt64 {
		t.Errorf("got %s", got)
	}
	p = Policy{Base: time.Second, Multiplier: 1, Max: time.Minute}
	if got := p.Delay(50); got != time.Second {
		t.Errorf("a multiplier of 1: %s", got)
	}
	p = DefaultPolicy()
	seen := map[time.Duration]bool{}
	for i := range 50 {
		d := p.jittered(10*time.Second, fmt.Sprint(i), 1)
		seen[d] = true
		if d < 10*time.Second || d > 11*time.Second {
			t.Errorf("jitter makes 10 s %s", d)
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d delays for 50 services", len(seen))
	}
}

func TestStormGuard(t *testing.T) {
	s := settings()
	s.MaxConcurrent, s.MaxRestarts = 3, 5
	m := NewMachine(s)
	m.Apply(Online{}, t0)
	var all []string
	apply := func(e Event, now time.Time) {
		if w := words(m.Apply(e, now)); w != "" {
			all = append(all, w)
		}
	}
	nth := func(i int, health string, started time.Time) Container {
		return with(box(health), func(c *Container) { c.ID, c.Name, c.StartedAt = fmt.Sprint("id", i), fmt.Sprint("app", i), started })
	}
	for i := range 8 {
		apply(Seen{nth(i, "unhealthy", t0.Add(-time.Hour))}, t0)
	}
	if got := strings.Join(all, "|"); got != "restart1|restart1|restart1|critical:storm" {
		t.Fatalf("got %s", got)
	}
	all = nil
	for i := range 3 {
		c := nth(i, "healthy", t0.Add(time.Second))
		apply(Done{Key: c.Name, Seen: &c}, t0.Add(time.Second))
	}
	for i := 3; i < 5; i++ {
		c := nth(i, "healthy", t0.Add(2*time.Second))
		apply(Done{Key: c.Name, Seen: &c}, t0.Add(2*time.Second))
	}
	// Two more fit into the window, and they are what was waiting longest.
	if got := strings.Count(strings.Join(all, " "), "restart1"); got != 2 {
		t.Fatalf("%d restarts: %q", got, all)
	}
	all = nil
	next := m.Next(t0.Add(time.Minute))
	if want := t0.Add(5 * time.Minute); !next.Equal(want) {
		t.Fatalf("next at %s, want %s", next, want)
	}
	apply(Tick{}, next)
	if got := strings.Count(strings.Join(all, " "), "restart1"); got != 3 {
		t.Fatalf("%d restarts: %q", got, all)
	}
	all = nil
	for i := 3; i < 8; i++ {
		c := nth(i, "healthy", next.Add(time.Second))
		apply(Done{Key: c.Name, Seen: &c}, next.Add(time.Second))
	}
	if !strings.Contains(strings.Join(all, " "), "info:storm-over") {
		t.Errorf("the storm never ends: %q", all)
	}
}

func TestWatched(t *testing.T) {
	label := func(kv ...string) Container {
		c := Container{ID: "x", Name: "n", Labels: map[string]string{}, HasHealthcheck: true}
		for i := 0; i < len(kv); i += 2 {
			c.Labels[kv[i]] = kv[i+1]
		}
		return c
	}
	all := Settings{All: true, SelfID: "self"}
	for _, c := range []struct {
		s    Settings
		c    Container
		want bool
	}{
		{Settings{}, label(), false},
		{Settings{}, label("watchdog.enable", "true"), true},
		{Settings{}, label("watchdog.enable", ` "True" `), true},
		{Settings{}, label("autoheal", "true"), true},
		{Settings{}, label("autoheal.monitor.enable", "true"), true},
		{Settings{}, label("deunhealth.restart.on.unhealthy", "true"), true},
		{Settings{}, label("deunhealth.restart.on.unhealthy", "no"), false},
		{Settings{OptInLabel: "heal"}, label("heal", "true"), true},
		{all, label(), true},
		{all, label("autoheal", "False"), false},
		{all, label("watchdog.enable", "false", "autoheal", "true"), false},
		{all, label(swarmTask, "t1"), false},
		{all, label(composeOneoff, "True"), false},
		{all, label(composeOneoff, "False"), true},
		{all, Container{ID: "self", HasHealthcheck: true}, false},
		{all, Container{ID: "y"}, false},
		{Settings{Services: []string{"n"}}, label(), true},
		{Settings{Services: []string{"web"}}, label(composeProject, "p", composeService, "web"), true},
		{Settings{Services: []string{"web"}}, label("watchdog.enable", "false", composeProject, "p", composeService, "web"), false},
	} {
		if got := c.s.Watched(c.c); got != c.want {
			t.Errorf("%+v %v: %v", c.s, c.c.Labels, got)
		}
	}
}

func TestLabelsOverride(t *testing.T) {
	s := settings()
	c := Container{Labels: map[string]string{"watchdog.max-attempts": " 5 ", "watchdog.backoff-base": "'10s'", "watchdog.cascade": "off", "autoheal.stop.timeout": "30",
		"watchdog.backoff-max": "soon", "watchdog.max-attempt": "1", "watchdog.enable": "maybe"}}
	p, wrong := s.For(c)
	if p.MaxAttempts != 5 || p.Base != 10*time.Second || p.Cascade || p.StopTimeout == nil || *p.StopTimeout != 30 || p.Max != s.Max {
		t.Errorf("%+v", p)
	}
	if got := strings.Join(wrong, "|"); len(wrong) != 3 || !strings.Contains(got, `label watchdog.backoff-max: "soon" is not a duration`) || !strings.Contains(got, "label watchdog.max-attempt: there is no such setting") || !strings.Contains(got, "label watchdog.enable") {
		t.Errorf("%q", wrong)
	}
	// A bad label is told once.
	m := NewMachine(s)
	m.Apply(Online{}, t0)
	logs := 0
	for range 3 {
		for _, a := range m.Apply(Seen{with(box("healthy"), func(c *Container) { c.Labels = map[string]string{"autoheal": "true", "watchdog.max-attempts": "x"} })}, t0) {
			if a.Kind == DoLog && a.Severity == Warning {
				logs++
			}
		}
	}
	if logs != 1 {
		t.Errorf("told %d times", logs)
	}
}

func TestDependents(t *testing.T) {
	svc := func(name, depends, network string) Container {
		return Container{ID: "id-" + name, Name: name, State: "running", NetworkOf: network,
			Labels: map[string]string{composeProject: "p", composeService: name, composeDependsOn: depends}}
	}
	x := svc("x", "", "")
	all := []Container{x,
		svc("never", "x:service_healthy:false", ""),
		svc("web", "x:service_healthy:true,cache:service_started:false", ""),
		svc("old", "x:service_started", ""),
		svc("edge", "web:service_started:true,x:service_started:true", ""), // after web
		svc("side", "", "id-x"),
		svc("named", "", "x"),
		with(svc("other", "x:service_started:true", ""), func(c *Container) { c.Labels[composeProject] = "q" }),
		with(svc("down", "", "id-x"), func(c *Container) { c.State = "exited" }),
		svc("loop1", "x:s:true,loop2:s:true", ""), svc("loop2", "x:s:true,loop1:s:true", ""),
	}
	var names []string
	for _, c := range Dependents(all, x) {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "loop1 named old side web" {
		t.Errorf("got %s", got)
	}
	if Orphaned(all, svc("a", "", "id-x")) || !Orphaned(all, svc("b", "", "gone")) || Orphaned(all, svc("c", "", "")) {
		t.Error("orphans")
	}
	if got := recreateCommand(svc("web", "", "gone")); got != "docker compose -p p up -d --force-recreate web" {
		t.Error(got)
	}
}

// A dependent is restarted once, for another's sake, and counts no attempt.
func TestDependentRestart(t *testing.T) {
	m := NewMachine(settings())
	m.Apply(Online{}, t0)
	side := with(box("healthy"), func(c *Container) { c.ID, c.Name, c.Labels = "id9", "side", nil })
	if got := words(m.Apply(Depends{side, "app"}, t0)); got != "restart0" {
		t.Fatalf("got %q", got)
	}
	if got := words(m.Apply(Depends{side, "app"}, t0)); got != "" {
		t.Fatalf("twice: %q", got)
	}
	up := with(side, func(c *Container) { c.StartedAt = t0.Add(time.Second) })
	if got := words(m.Apply(Done{Key: "side", Seen: &up}, t0.Add(time.Second))); got != "warning:restarted info:recovered cascade" {
		t.Fatalf("got %q", got)
	}
	// One that nobody watches and that is ill afterwards is told, not treated.
	m.Apply(Depends{side, "app"}, t0.Add(time.Minute))
	sick := with(side, func(c *Container) { c.StartedAt = t0.Add(2 * time.Minute); c.Health, c.FailingStreak = "unhealthy", 1 })
	if got := words(m.Apply(Done{Key: "side", Seen: &sick}, t0.Add(2*time.Minute))); got != "warning:restarted warning:dependent-ill" {
		t.Fatalf("got %q", got)
	}
	for _, labels := range []map[string]string{{"watchdog.enable": "false"}, {swarmTask: "t"}} {
		if got := words(m.Apply(Depends{with(side, func(c *Container) { c.Labels = labels }), "app"}, t0.Add(time.Hour))); got != "" {
			t.Errorf("%v: %q", labels, got)
		}
	}
}

// world is the engine's side of a random history.
type world struct {
	c          Container
	byPerson   bool // stopped by a person, and not started since
	inFlight   bool
	stableFrom time.Time
}

// TestProperties plays random histories against the machine, and asserts what
// must hold in all of them.
func TestProperties(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := settings()
		s.MaxRestarts, s.MaxConcurrent = 1000, 100
		m := NewMachine(s)
		now := t0
		m.Apply(Online{}, now)
		worlds := map[string]*world{}
		attempts := map[string]int{}
		lastEnd := map[string]time.Time{}
		lastAttempt := map[string]int{}
		gaveUp := map[string]int{} // alerts since the last recovery
		for i := range 3 {
			c := with(box("healthy"), func(c *Container) { c.ID, c.Name = fmt.Sprint("id", i), fmt.Sprint("app", i) })
			worlds[c.Name] = &world{c: c, stableFrom: now}
		}
		check := func(actions []Action) {
			for _, a := range actions {
				w := worlds[a.Key]
				switch a.Kind {
				case DoRestart:
					if w.inFlight {
						t.Fatalf("seed %d: two restarts of %s in flight", seed, a.Key)
					}
					if w.byPerson {
						t.Fatalf("seed %d: %s was stopped by a person: %+v", seed, a.Key, *m.Services[a.Key])
					}
					if attempts[a.Key]++; attempts[a.Key] > s.MaxAttempts {
						t.Fatalf("seed %d: restart %d of %s", seed, attempts[a.Key], a.Key)
					}
					if n := lastAttempt[a.Key]; n > 0 && attempts[a.Key] > 1 && now.Sub(lastEnd[a.Key]) < s.Delay(n) {
						t.Fatalf("seed %d: restart of %s %s after restart %d, want %s", seed, a.Key, now.Sub(lastEnd[a.Key]), n, s.Delay(n))
					}
					lastAttempt[a.Key] = attempts[a.Key]
					w.inFlight = true
				case DoStart:
					if !w.inFlight {
						t.Fatalf("seed %d: a start of %s out of nowhere", seed, a.Key)
					}
				case DoAlert:
					switch a.Topic {
					case "gave-up":
						if gaveUp[a.Key]++; gaveUp[a.Key] > 1 {
							t.Fatalf("seed %d: two alerts for one giving up of %s", seed, a.Key)
						}
					case "recovered":
						gaveUp[a.Key] = 0
					}
				}
			}
			for key, svc := range m.Services {
				if svc.Attempts == 0 {
					attempts[key] = 0
				}
				if svc.Phase != GivenUp {
					gaveUp[key] = 0
				}
			}
		}
		for range 400 {
			now = now.Add(time.Duration(r.Int64N(int64(5 * time.Second))))
			if r.IntN(40) == 0 {
				now = now.Add(11 * time.Minute)
			}
			w := worlds[fmt.Sprint("app", r.IntN(3))]
			health := func(h string, streak int) { w.c.Health, w.c.FailingStreak = h, streak }
			switch r.IntN(14) {
			case 0, 1, 2:
				if w.c.State == "running" {
					health("unhealthy", 1)
				}
				check(m.Apply(Seen{w.c}, now))
			case 3, 4:
				if w.c.State == "running" {
					health("healthy", 0)
				}
				check(m.Apply(Seen{w.c}, now))
			case 5: // died by itself
				if w.c.State == "running" && !w.inFlight {
					w.c.State = "exited"
					check(m.Apply(Died{w.c.ID, 1, now}, now))
					check(m.Apply(Seen{w.c}, now))
				}
			case 6: // docker stop
				if w.c.State == "running" && !w.inFlight {
					w.byPerson, w.c.State = true, "exited"
					check(m.Apply(Killed{w.c.ID, "15", now}, now))
					check(m.Apply(Died{w.c.ID, 0, now}, now))
					check(m.Apply(Seen{w.c}, now))
				}
			case 7: // docker start, or restart
				if !w.inFlight {
					w.byPerson, w.c.State, w.c.StartedAt = false, "running", now
					health("starting", 0)
					check(m.Apply(Seen{w.c}, now))
				}
			case 8:
				if w.c.State == "running" && !w.inFlight {
					w.c.State = "paused"
					health("unhealthy", 0)
				} else if w.c.State == "paused" {
					w.c.State = "running"
				}
				check(m.Apply(Seen{w.c}, now))
			case 9: // an old state, late
				old := w.c
				old.StartedAt = t0.Add(-time.Hour)
				if !w.byPerson {
					check(m.Apply(Killed{w.c.ID, "15", old.StartedAt}, now))
				}
			case 10, 11, 12: // the call ends
				if !w.inFlight {
					continue
				}
				w.inFlight = false
				lastEnd[w.c.Name] = now
				d := Done{Key: w.c.Name}
				switch r.IntN(4) {
				case 0:
					d.Err = errors.New("500")
				case 1:
					d.Err = errors.New("500")
					w.c.State = "exited"
					c := w.c
					d.Seen = &c
				default:
					w.c.State, w.c.StartedAt = "running", now
					health("starting", 0)
					c := w.c
					d.Seen = &c
				}
				actions := m.Apply(d, now)
				for _, a := range actions {
					if a.Kind == DoStart {
						w.inFlight = true
					}
				}
				check(actions)
			case 13:
				check(m.Apply(Tick{}, now))
			}
		}
	}
}
