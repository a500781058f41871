package recovery

import (
	"fmt"
	"maps"
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

// container is one in a test.
func container(health string) Container {
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
	return with(container(health), func(c *Container) { c.StartedAt = at })
}

// step is one input in a test's table, and what comes of it.
type step struct {
	after time.Duration // since the last step
	input Input
	want  string // the actions, in brief
	phase Phase
}

// summary is the actions that matter, in brief.
func summary(actions []Action) string {
	var out []string
	for _, a := range actions {
		switch a.Kind {
		case DoRestart:
			out = append(out, fmt.Sprintf("restart%d", a.Attempt))
		case DoStart, DoCascade:
			out = append(out, string(a.Kind))
		case DoAlert:
			out = append(out, string(a.Severity)+":"+string(a.Event))
		}
	}
	return strings.Join(out, " ")
}

func runSteps(t *testing.T, s Settings, steps []step) *Machine {
	t.Helper()
	m := NewMachine(s)
	now := t0
	m.Apply(Online{}, now)
	for i, st := range steps {
		now = now.Add(st.after)
		got := summary(m.Apply(st.input, now))
		if got != st.want {
			t.Fatalf("step %d, %#v: %q, want %q", i, st.input, got, st.want)
		}
		for _, svc := range m.Services {
			if svc.Key == "app" && svc.Phase != st.phase {
				t.Fatalf("step %d, %#v: phase %q, want %q", i, st.input, svc.Phase, st.phase)
			}
		}
	}
	return m
}

func ok(c Container) Input { return Done{Key: "app", Seen: &c} }

func TestUnhealthyFor(t *testing.T) {
	s := settings()
	s.UnhealthyFor = time.Minute
	runSteps(t, s, []step{
		{0, Seen{container("unhealthy")}, "", Waiting},
		{30 * time.Second, Seen{container("unhealthy")}, "", Waiting},
		{30 * time.Second, Tick{}, "restart1", Restarting},
	})
	runSteps(t, s, []step{
		{0, Seen{container("unhealthy")}, "", Waiting},
		{30 * time.Second, Seen{container("healthy")}, "", Idle},
		{10 * time.Second, Seen{container("unhealthy")}, "", Waiting},
		{50 * time.Second, Tick{}, "", Waiting},
		{10 * time.Second, Tick{}, "restart1", Restarting},
	})
}

func TestDryRunAsksForNothing(t *testing.T) {
	s := settings()
	s.DryRun = true
	m := NewMachine(s)
	m.Apply(Online{}, t0)
	for _, a := range m.Apply(Seen{container("unhealthy")}, t0) {
		if a.Kind == DoRestart && !a.Policy.DryRun {
			t.Errorf("a real restart: %+v", a)
		}
	}
}

func TestThrottle(t *testing.T) {
	s := settings()
	s.MaxConcurrent, s.MaxRestarts = 3, 5
	m := NewMachine(s)
	m.Apply(Online{}, t0)
	var all []string
	apply := func(in Input, now time.Time) {
		if w := summary(m.Apply(in, now)); w != "" {
			all = append(all, w)
		}
	}
	nth := func(i int, health string, started time.Time) Container {
		return with(container(health), func(c *Container) { c.ID, c.Name, c.StartedAt = fmt.Sprint("id", i), fmt.Sprint("app", i), started })
	}
	for i := range 8 {
		apply(Seen{nth(i, "unhealthy", t0.Add(-time.Hour))}, t0)
	}
	if got := strings.Join(all, "|"); got != "restart1|restart1|restart1|critical:throttled" {
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
	if !strings.Contains(strings.Join(all, " "), "info:throttle_over") {
		t.Errorf("it is throttled without an end: %q", all)
	}
}
