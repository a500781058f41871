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

// container is that of most tests.
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

// step is one event in a test's table, and what comes of it.
type step struct {
	after   time.Duration // since the last step
	message Message
	want    string // the actions in brief
	phase   Phase
}

// summary names the actions that matter.
func summary(actions []Action) string {
	var out []string
	for _, a := range actions {
		switch a.Kind {
		case DoRestart:
			out = append(out, fmt.Sprintf("restart%d", a.Attempt))
		case DoStart, DoStop, DoCascade:
			out = append(out, string(a.Kind))
		case DoAlert:
			out = append(out, string(a.Severity)+":"+string(a.Event))
		}
	}
	return strings.Join(out, " ")
}

func run(t *testing.T, s Settings, steps []step) *Machine {
	t.Helper()
	m := NewMachine(s)
	now := t0
	m.Apply(Online{}, now)
	for i, st := range steps {
		now = now.Add(st.after)
		got := summary(m.Apply(st.message, now))
		if got != st.want {
			t.Fatalf("step %d, %#v: %q, want %q", i, st.message, got, st.want)
		}
		for _, svc := range m.Services {
			if svc.Key == "app" && svc.Phase != st.phase {
				t.Fatalf("step %d, %#v: phase %q, want %q", i, st.message, svc.Phase, st.phase)
			}
		}
	}
	return m
}

// A container that was asked to stop and goes on is watched again, once it has
// had the time to stop.
func TestStopPatienceEnds(t *testing.T) {
	m := online(t, settings(), named("app", "healthy"))
	m.Apply(Signalled{"id-app", "15", t0}, t0)
	limit := patience(named("app", ""))
	want(t, m, Seen{named("app", "unhealthy")}, t0.Add(limit), "")
	want(t, m, Seen{named("app", "unhealthy")}, t0.Add(limit+time.Second), "restart1")
	if limit < 2*time.Minute || limit > 3*time.Minute {
		t.Errorf("the patience is %s", limit)
	}
}

// Attempts are cleared after a time of health without a gap.
func TestHealthWithAGap(t *testing.T) {
	s := settings()
	s.MaxAttempts = 1
	m := online(t, s, named("app", "unhealthy"))
	up := with(named("app", "healthy"), func(c *Container) { c.StartedAt = t0.Add(time.Second) })
	m.Apply(CallEnded{Key: "p/app/1", Seen: &up}, t0.Add(2*time.Second))
	failing := with(up, func(c *Container) { c.Health, c.FailingStreak = "unhealthy", 1 })
	want(t, m, Seen{failing}, t0.Add(s.StableFor-time.Minute), "critical:gave_up")
	if at := m.Status(time.Now())[0].HealthySince; !at.IsZero() {
		t.Errorf("unhealthy, and healthy since %v", at)
	}
	want(t, m, Seen{up}, t0.Add(s.StableFor), "info:recovered")
	want(t, m, Tick{}, t0.Add(s.StableFor+time.Minute), "")
	want(t, m, Seen{failing}, t0.Add(s.StableFor+2*time.Minute), "critical:gave_up")
	want(t, m, Seen{up}, t0.Add(s.StableFor+3*time.Minute), "info:recovered")
	want(t, m, Tick{}, t0.Add(2*s.StableFor+4*time.Minute), "")
	want(t, m, Seen{failing}, t0.Add(2*s.StableFor+5*time.Minute), "restart1")
}
