package recovery

import (
	"errors"
	"testing"
	"time"
)

// gathering is a machine whose app fails, and of which evidence is asked.
func gathering(t *testing.T) *Machine {
	t.Helper()
	m := online(t, settings(), container("healthy"))
	m.Gathers = true
	out := m.Apply(Seen{container("unhealthy")}, t0)
	if n := kinds(out, DoGather); n != 1 || kinds(out, DoRestart) != 0 || m.Services["app"].Phase != Waiting {
		t.Fatalf("%d gatherings, %s: %+v", n, m.Services["app"].Phase, out)
	}
	return m
}

// A restart waits for its evidence, and is decided when that is there: what
// happens meanwhile counts as ever.
func TestRestartWaitsForEvidence(t *testing.T) {
	at := t0.Add(time.Second)
	got := Gathered{"app", "id1", "an id"}
	t.Run("it comes", func(t *testing.T) {
		m := gathering(t)
		want(t, m, Tick{}, at, "")
		out := m.Apply(got, at)
		if summary(out) != "restart1" || out[0].Evidence != "an id" {
			t.Errorf("%+v", out)
		}
	})
	t.Run("there is none", func(t *testing.T) {
		m := gathering(t)
		want(t, m, Gathered{"app", "id1", ""}, at, "restart1")
	})
	t.Run("a person stops it", func(t *testing.T) {
		m := gathering(t)
		m.Apply(Signalled{"id1", "15", t0.Add(1)}, t0.Add(1))
		want(t, m, got, at, "")
		want(t, m, Tick{}, at.Add(time.Minute), "")
	})
	t.Run("a person pauses it", func(t *testing.T) {
		m := gathering(t)
		m.Apply(Seen{with(container("unhealthy"), func(c *Container) { c.State = "paused" })}, t0.Add(1))
		want(t, m, got, at, "")
	})
	t.Run("it becomes healthy", func(t *testing.T) {
		m := gathering(t)
		m.Apply(Seen{container("healthy")}, t0.Add(1))
		want(t, m, got, at, "")
		if m.Services["app"].Attempts != 0 {
			t.Error("an attempt is used")
		}
	})
	t.Run("a person snoozes it", func(t *testing.T) {
		m := gathering(t)
		m.Apply(SnoozeAsked{Name: "app", Until: t0.Add(time.Hour)}, t0.Add(1))
		want(t, m, got, at, "")
		out := m.Apply(Tick{}, t0.Add(time.Hour))
		if kinds(out, DoGather) != 1 {
			t.Errorf("its evidence is an hour old: %+v", out)
		}
	})
	t.Run("the engine is lost before it comes", func(t *testing.T) {
		m := gathering(t)
		m.Apply(Offline{}, t0.Add(1))
		want(t, m, got, at, "")
		out := m.Apply(Online{}, at.Add(time.Hour))
		if kinds(out, DoGather) != 1 || kinds(out, DoRestart) != 0 {
			t.Errorf("its evidence is an hour old: %+v", out)
		}
	})
	t.Run("the engine is lost as it comes", func(t *testing.T) {
		m := gathering(t)
		m.Take(got, at)
		m.Take(Offline{}, at)
		want(t, m, Tick{}, at, "")
		out := m.Apply(Online{}, at.Add(time.Hour))
		if kinds(out, DoGather) != 1 || kinds(out, DoRestart) != 0 {
			t.Errorf("its evidence is an hour old: %+v", out)
		}
	})
	t.Run("of another container", func(t *testing.T) {
		m := gathering(t)
		out := m.Apply(Gathered{"app", "id0", "old"}, at)
		if kinds(out, DoGather) != 1 || kinds(out, DoRestart) != 0 {
			t.Errorf("%+v", out)
		}
	})
	t.Run("it counts as one under way", func(t *testing.T) {
		s := settings()
		s.MaxConcurrent = 1
		m := online(t, s, named("a", "healthy"), named("b", "healthy"))
		m.Gathers = true
		n := kinds(m.Apply(Seen{named("a", "unhealthy")}, t0), DoGather) + kinds(m.Apply(Seen{named("b", "unhealthy")}, t0), DoGather)
		if n != 1 {
			t.Errorf("%d gather at once, want 1", n)
		}
	})
}

// That a person stopped a container may be heard behind its end alone: a restart
// that waits does not come.
func TestStopThatIsHeardLate(t *testing.T) {
	s := settings()
	s.UnhealthyFor = 20 * time.Second
	m := online(t, s, container("healthy"))
	want(t, m, Exited{"id1", 143, t0.Add(1)}, t0.Add(1), "")
	m.Apply(Seen{ended(143)}, t0.Add(2))
	if m.Services["app"].Phase != Waiting {
		t.Fatalf("%s", m.Services["app"].Phase)
	}
	m.Apply(StopDone{"id1", t0.Add(3)}, t0.Add(3))
	want(t, m, Tick{}, t0.Add(time.Hour), "")
}

// Who follows a recovery is neither restarted while somebody stops it nor while
// it is paused.
func TestFollowersThatPeopleStop(t *testing.T) {
	side := with(container("healthy"), func(c *Container) { c.ID, c.Name = "id9", "side" })
	paused := with(side, func(c *Container) { c.State = "paused" })
	m := online(t, settings(), side)
	m.Apply(Signalled{"id9", "15", t0.Add(1)}, t0.Add(1))
	want(t, m, Dependents{Of: "app", All: []Dependent{{Container: side}}}, t0.Add(2), "")
	m = online(t, settings(), paused)
	want(t, m, Dependents{Of: "app", All: []Dependent{{Container: paused}}}, t0.Add(2), "")
}

// A restart fails since somebody has paused the container: no other follows.
func TestRestartOfOneThatWasPaused(t *testing.T) {
	m := online(t, settings(), container("unhealthy"))
	paused := with(container("unhealthy"), func(c *Container) { c.State = "paused" })
	m.Apply(CallEnded{Key: "app", Err: errors.New("409"), Seen: &paused}, t0.Add(time.Second))
	want(t, m, Tick{}, t0.Add(time.Hour), "")
}

// Somebody restarted it just before our call, which stopped it and failed: it
// is started again.
func TestHalfwayBehindAnothersRestart(t *testing.T) {
	m := online(t, settings(), container("unhealthy"))
	down := with(ended(143), func(c *Container) { c.StartedAt, c.FinishedAt = t0.Add(-time.Millisecond), t0.Add(time.Second) })
	out := m.Apply(CallEnded{Key: "app", Err: errors.New("500"), Seen: &down}, t0.Add(2*time.Second))
	if kinds(out, DoStart) != 1 || m.Services["app"].Phase != Launching {
		t.Errorf("%s: %+v", m.Services["app"].Phase, out)
	}
}

// A snooze begins anew where the clock was set back behind its beginning.
func TestSnoozeAndAClockSetBack(t *testing.T) {
	m := NewMachine(settings())
	asked := t0.Add(24 * time.Hour)
	m.RestoreSnoozes(map[string]Snooze{everyone: {Asked: asked, Until: asked.Add(time.Hour)}}, t0)
	if got := m.Snoozes[everyone].Until; !got.Equal(t0.Add(time.Hour)) {
		t.Errorf("it ends at %s, want %s", got, t0.Add(time.Hour))
	}
}

// A call of an earlier run goes on for as long as the engine may take to stop
// the container.
func TestStillStopping(t *testing.T) {
	m := NewMachine(settings())
	running := container("unhealthy")
	m.Restore(map[string]*Service{"app": {Key: "app", ID: "id1", Name: "app", Phase: Restarting, Attempts: 1,
		Life: Life{Started: running.StartedAt, Marks: []Mark{{Kind: Asked, At: t0, Received: t0, Signal: "15", Ours: true}}}}}, nil, t0)
	for _, c := range []struct {
		after time.Duration
		seen  Container
		want  bool
	}{
		{time.Second, running, true},
		{time.Minute, running, false},
		{time.Second, ended(143), false},
		{time.Second, restarted("starting", t0.Add(time.Second)), false},
	} {
		if got := m.StillStopping("app", c.seen, t0.Add(c.after)); got != c.want {
			t.Errorf("%s later, %s since %s: %v", c.after, c.seen.State, c.seen.StartedAt, got)
		}
	}
	if m.StillStopping("other", running, t0) {
		t.Error("of a service that there is not")
	}
}
