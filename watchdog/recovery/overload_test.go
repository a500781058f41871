package recovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// late is a container whose probe ran out of time.
func late(c Container) Container {
	c.ProbeTimedOut = true
	return c
}

// host is an engine with n services, all healthy.
func host(t *testing.T, n int) *Machine {
	t.Helper()
	var all []Container
	for i := range n {
		all = append(all, named(fmt.Sprintf("app%d", i), "healthy"))
	}
	return online(t, settings(), all...)
}

// looks names the containers that actions ask to look at.
func looks(actions []Action) (ids []string) {
	for _, a := range actions {
		if a.Kind == DoLook {
			ids = append(ids, a.IDs...)
		}
	}
	return ids
}

func kinds(actions []Action, kind ActionKind) (n int) {
	for _, a := range actions {
		if a.Kind == kind {
			n++
		}
	}
	return n
}

// The probes of half of the services time out: the first of them waits for a
// look at the others, and none is restarted.
func TestOverload(t *testing.T) {
	m := host(t, 6)
	at := t0.Add(time.Second)
	actions := m.Apply(Seen{late(named("app0", "unhealthy"))}, at)
	if got := looks(actions); len(got) != 5 || kinds(actions, DoRestart) != 0 {
		t.Fatalf("looks at %v: %+v", got, actions)
	}
	m.Apply(Seen{late(named("app1", "healthy"))}, at) // its probe has timed out once
	actions = m.Apply(Seen{late(named("app2", "healthy"))}, at)
	if len(actions) < 1 || actions[0].Event != EventOverloaded || actions[0].Severity != Critical || actions[0].Key != "" || !strings.Contains(actions[0].Text, "3 of 6") {
		t.Fatalf("%+v", actions)
	}
	// What comes due, and whatever becomes unhealthy or dies meanwhile, is held.
	m.Apply(Tick{}, at.Add(lookTime))
	m.Apply(Seen{late(named("app1", "unhealthy"))}, at.Add(2*time.Second))
	m.Apply(Seen{named("app3", "unhealthy")}, at.Add(2*time.Second))
	dead := with(named("app4", "unhealthy"), func(c *Container) { c.State, c.ExitCode, c.FinishedAt = "exited", 1, at })
	m.Apply(Exited{dead.ID, 1, at}, at.Add(2*time.Second))
	m.Apply(Seen{dead}, at.Add(2*time.Second))
	for i, want := range []Phase{Held, Held, Idle, Held, Held, Idle} {
		s := m.Services[fmt.Sprintf("p/app%d/1", i)]
		if s.Phase != want || want == Held && s.Hold.Kind != ForHost || s.Attempts != 0 || s.Open {
			t.Errorf("app%d: %s for %q, %d attempts, open %v", i, s.Phase, s.Hold.Kind, s.Attempts, s.Open)
		}
	}
	if got := m.Status(time.Now())[0].Waits; got != "the overloaded host" {
		t.Errorf("it waits for %q", got)
	}
	// They are looked at again, while nothing else would tell.
	next := m.Next(at.Add(2 * time.Second))
	if next.IsZero() || next.Sub(at) > overloadLook {
		t.Fatalf("the next look is at %v", next)
	}
	if got := looks(m.Apply(Tick{}, next)); !slices.Contains(got, "id-app0") || !slices.Contains(got, "id-app3") || !slices.Contains(got, "id-app2") {
		t.Errorf("looks at %v", got)
	}
	// Once the probes of most do not time out any more, and only after a while.
	at = at.Add(time.Minute)
	m.Apply(Seen{named("app0", "healthy")}, at)
	if !m.Overloaded() || m.Services["p/app0/1"].Phase != Idle {
		t.Fatal("over at once")
	}
	m.Apply(Seen{late(named("app0", "healthy"))}, at.Add(easeTime/2)) // it comes back
	m.Apply(Tick{}, at.Add(easeTime))
	m.Apply(Seen{named("app0", "healthy")}, at.Add(easeTime))
	m.Apply(Tick{}, at.Add(easeTime+easeTime/2))
	if !m.Overloaded() {
		t.Fatal("over although it has come back")
	}
	actions = m.Apply(Tick{}, at.Add(2*easeTime))
	if actions[0].Event != EventOverloadOver || !actions[0].Closes || m.Overloaded() {
		t.Fatalf("%+v", actions)
	}
	// Those that run have time to become healthy; the dead one is restarted.
	if s := m.Services["p/app3/1"]; s.Phase != Held || s.Hold.Kind != ForRecovery || s.Due.IsZero() {
		t.Errorf("%s for %q until %v", s.Phase, s.Hold.Kind, s.Due)
	}
	if n := kinds(actions, DoRestart); n != 1 || m.Services["p/app4/1"].Phase != Restarting {
		t.Errorf("%d restarts: %+v", n, actions)
	}
	m.Apply(Seen{named("app3", "healthy")}, at.Add(2*easeTime+time.Second))
	if s := m.Services["p/app3/1"]; s.Phase != Idle {
		t.Errorf("healthy and %s", s.Phase)
	}
}

// Too few, or too small a share, or those who wait for another, are restarted.
func TestNoOverload(t *testing.T) {
	for name, c := range map[string]struct{ services, late int }{"two of two": {2, 2}, "three of seven": {7, 3}} {
		m := host(t, c.services)
		at := t0.Add(time.Second)
		for i := range c.late {
			m.Apply(Seen{late(named(fmt.Sprintf("app%d", i), "unhealthy"))}, at)
		}
		m.Apply(Tick{}, at.Add(lookTime))
		if s := m.Services["p/app0/1"]; s.Phase != Restarting || m.Overloaded() {
			t.Errorf("%s: %s, overloaded %v", name, s.Phase, m.Overloaded())
		}
	}
	// With --by-cause=false nobody is held, nor looked at.
	s := settings()
	s.ByCause = false
	m := online(t, s, named("app0", "healthy"), named("app1", "healthy"), named("app2", "healthy"))
	for i := range 3 {
		actions := m.Apply(Seen{late(named(fmt.Sprintf("app%d", i), "unhealthy"))}, t0.Add(time.Second))
		if kinds(actions, DoRestart) != 1 || len(looks(actions)) > 0 {
			t.Errorf("%+v", actions)
		}
	}
}

// On a host that is known to be idle, hung containers are hung: restarted at
// once, and an overload is over when it becomes idle.
func TestIdleHost(t *testing.T) {
	m := host(t, 4)
	at := t0.Add(time.Second)
	m.Apply(EngineCall{Took: time.Millisecond, Idle: true}, at)
	for i := range 3 {
		actions := m.Apply(Seen{late(named(fmt.Sprintf("app%d", i), "unhealthy"))}, at)
		if kinds(actions, DoRestart) != 1 || len(looks(actions)) > 0 {
			t.Errorf("%+v", actions)
		}
	}
	m = host(t, 3)
	for i := range 3 {
		m.Apply(Seen{late(named(fmt.Sprintf("app%d", i), "unhealthy"))}, at)
	}
	if !m.Overloaded() {
		t.Fatal("not overloaded")
	}
	m.Apply(Tick{}, at.Add(lookTime))
	at = at.Add(lookTime)
	m.Apply(EngineCall{Took: time.Millisecond, Idle: true}, at)
	m.Apply(Seen{late(named("app0", "unhealthy"))}, at)
	m.Apply(Tick{}, at.Add(easeTime))
	if m.Overloaded() || m.Services["p/app0/1"].Hold.Kind != ForRecovery {
		t.Errorf("overloaded %v, held for %q", m.Overloaded(), m.Services["p/app0/1"].Hold.Kind)
	}
}

// An overload that goes on for longer than --hold-max is believed no more: what
// is held is restarted, one after the other.
func TestOverloadThatDoesNotEnd(t *testing.T) {
	m := host(t, 4)
	at := t0.Add(time.Second)
	name := func(i int) string { return fmt.Sprintf("app%d", i) }
	look := func() (restarts int) { // at those that are held
		for i := range 3 {
			if s := m.Services["p/"+name(i)+"/1"]; s.Phase == Held || s.Phase == Idle && s.HealthySince.Before(at) && !s.Released && s.LastRestart.IsZero() {
				restarts += kinds(m.Apply(Seen{late(named(name(i), "unhealthy"))}, at), DoRestart)
			}
		}
		return restarts + kinds(m.Apply(Tick{}, at), DoRestart)
	}
	look()
	at = at.Add(lookTime)
	m.Apply(Tick{}, at)
	due := m.Services["p/app0/1"].Due
	if due.Sub(at) > settings().HoldMax || due.Sub(at) < settings().HoldMax-time.Minute {
		t.Fatalf("held until %s: %+v", due, m.Status(at))
	}
	for at = at.Add(time.Minute); at.Before(due); at = at.Add(time.Minute) {
		if n := look(); n > 0 {
			t.Fatalf("%d restarts after %s", n, at.Sub(t0))
		}
	}
	n := 0
	for at = at.Add(time.Minute); n < 3; at = at.Add(time.Second) {
		n += look()
		var restarting []string
		for i := range 3 {
			if s := m.Services["p/"+name(i)+"/1"]; s.Phase == Restarting || s.Phase == Verifying {
				restarting = append(restarting, name(i))
			}
		}
		if len(restarting) != 1 {
			t.Fatalf("restarted at once: %v, after %d", restarting, n)
		}
		began := at
		up := with(named(restarting[0], "starting"), func(c *Container) { c.StartedAt = began })
		if more := kinds(m.Apply(CallEnded{Key: "p/" + restarting[0] + "/1", Seen: &up}, at), DoRestart) + look(); more != 0 {
			t.Errorf("%d restarts while the one before is not verified", more)
		}
		up.Health = "healthy"
		n += kinds(m.Apply(Seen{up}, at), DoRestart)
	}
	if !m.Overloaded() {
		t.Error("the overload is over")
	}
}

// A container that is gone, stopped or not looked at for long speaks for no
// overload any more.
func TestOverloadEnds(t *testing.T) {
	for name, end := range map[string]func(m *Machine, at time.Time){
		"removed": func(m *Machine, at time.Time) { m.Apply(Destroyed{"id-app0"}, at) },
		"stopped": func(m *Machine, at time.Time) {
			m.Apply(Seen{with(late(named("app0", "")), func(c *Container) { c.State = "exited" })}, at)
		},
		"opted out": func(m *Machine, at time.Time) {
			m.Apply(Seen{with(late(named("app0", "unhealthy")), func(c *Container) { delete(c.Labels, "watchdog.enable") })}, at)
		},
		"not seen": func(*Machine, time.Time) {},
	} {
		m := host(t, 3)
		at := t0.Add(time.Second)
		for i := range 3 {
			m.Apply(Seen{late(named(fmt.Sprintf("app%d", i), "unhealthy"))}, at)
		}
		if !m.Overloaded() {
			t.Fatal("not overloaded")
		}
		end(m, at)
		at = at.Add(time.Second)
		for m.Overloaded() && at.Sub(t0) < 10*time.Minute {
			m.Apply(Tick{}, at)
			next := m.Next(at)
			if m.Overloaded() && !next.After(at) {
				t.Fatalf("%s: nothing is to happen at %v, after %v", name, next, at)
			}
			at = next
		}
		if m.Overloaded() {
			t.Errorf("%s: overloaded for ever", name)
		}
	}
}

// The engine's own calls take ten times as long as usual.
func TestSlowEngine(t *testing.T) {
	m := host(t, 1)
	at := t0
	calls := func(n int, took time.Duration) {
		for range n {
			at = at.Add(time.Second)
			m.Apply(EngineCall{Took: took}, at)
		}
	}
	calls(fewestCalls, 4*time.Millisecond)
	calls(recentCalls, 100*time.Millisecond) // slow, but who would care
	if m.Overloaded() {
		t.Fatal("overloaded by calls of 100 ms")
	}
	calls(usualCalls, 60*time.Millisecond)
	calls(recentCalls/2, 3*time.Second)
	if m.Overloaded() {
		t.Fatal("overloaded by two slow calls of five")
	}
	calls(1, 3*time.Second)
	if !m.Overloaded() {
		t.Fatal("not overloaded")
	}
	want(t, m, Seen{named("app0", "unhealthy")}, at, "")
	if s := m.Services["p/app0/1"]; s.Phase != Held || s.Hold.Kind != ForHost {
		t.Fatalf("%s for %q", s.Phase, s.Hold.Kind)
	}
	calls(100, 3*time.Second) // which does not become usual
	if !m.Overloaded() {
		t.Fatal("it became usual")
	}
	calls(recentCalls, 60*time.Millisecond)
	calls(int(easeTime/time.Second)+1, 60*time.Millisecond)
	if m.Overloaded() {
		t.Fatal("overloaded for ever")
	}
}

// What people were told is closed by the next run, too.
func TestRestoreAlarms(t *testing.T) {
	m := NewMachine(settings())
	m.RestoreAlarms(true, true, t0)
	closed := map[Event]bool{}
	for at := t0; at.Sub(t0) <= 2*easeTime; at = at.Add(easeTime / 2) {
		for _, a := range m.Apply(Online{}, at) {
			closed[a.Event] = closed[a.Event] || a.Closes
		}
	}
	if !closed[EventThrottleOver] || !closed[EventOverloadOver] {
		t.Errorf("closed: %v", closed)
	}
}
