package recovery

import (
	"strings"
	"testing"
	"time"
)

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
	for _, d := range settings().DependentsOf(all, x) {
		names = append(names, d.Container.Name+"("+strings.Join(d.Needs, " ")+")")
	}
	if got := strings.Join(names, " "); got != "named() old() side() web() edge(p/web/1) loop1() loop2(p/loop1/1)" {
		t.Errorf("got %s", got)
	}
	if orphaned(all, svc("a", "", "id-x")) || !orphaned(all, svc("b", "", "gone")) || orphaned(all, svc("c", "", "")) {
		t.Error("orphans")
	}
	if got := recreateCommand(svc("web", "", "gone")); got != "docker compose -p p up -d --force-recreate web" {
		t.Error(got)
	}
}

// A dependent is restarted once after its dependency, and counts no attempt.
func TestDependentRestart(t *testing.T) {
	m := NewMachine(settings())
	m.Apply(Online{}, t0)
	side := with(container("healthy"), func(c *Container) { c.ID, c.Name, c.Labels = "id9", "side", nil })
	after := Dependents{Of: "app", All: []Dependent{{Container: side}}}
	want(t, m, after, t0, "restart0")
	want(t, m, after, t0, "")
	up := with(side, func(c *Container) { c.StartedAt = t0.Add(time.Second) })
	want(t, m, CallEnded{Key: "side", Seen: &up}, t0.Add(time.Second), "warning:restarted info:recovered")
	if len(m.Services) != 0 {
		t.Errorf("nobody watches it, and it is remembered: %v", m.Services)
	}
	// One that nobody watches and that fails afterwards: an alert, and no restart.
	m.Apply(after, t0.Add(time.Minute))
	failing := with(side, func(c *Container) { c.StartedAt = t0.Add(2 * time.Minute); c.Health, c.FailingStreak = "unhealthy", 1 })
	want(t, m, CallEnded{Key: "side", Seen: &failing}, t0.Add(2*time.Minute), "warning:restarted warning:dependent_failing")
	for _, labels := range []map[string]string{{"watchdog.enable": "false"}, {swarmTask: "t"}} {
		opted := with(side, func(c *Container) { c.Labels = labels })
		want(t, m, Dependents{Of: "app", All: []Dependent{{Container: opted}}}, t0.Add(time.Hour), "")
	}
}

// A person stopped it while a start of ours failed for want of its owner's
// network: the owner's recovery is none of its business.
func TestStoppedDependentStaysDown(t *testing.T) {
	owner := named("db", "healthy")
	side := with(named("side", "healthy"), func(c *Container) { c.NetworkOf = owner.ID })
	for _, byPerson := range []bool{true, false} {
		m := online(t, settings(), owner, side)
		down := with(side, func(c *Container) {
			c.State, c.ExitCode, c.FinishedAt, c.Error = "exited", 143, t0.Add(time.Second), "cannot join network of a non running container"
		})
		if byPerson {
			m.Apply(Signalled{side.ID, "15", t0.Add(time.Second)}, t0.Add(time.Second))
		}
		m.Apply(Exited{side.ID, 143, t0.Add(time.Second)}, t0.Add(time.Second))
		m.Apply(Seen{with(owner, func(c *Container) { c.State = "exited" })}, t0.Add(time.Second))
		m.Apply(Seen{down}, t0.Add(time.Second))
		up := with(owner, func(c *Container) { c.StartedAt = t0.Add(time.Minute) })
		actions := m.Apply(Seen{up}, t0.Add(2*time.Minute))
		if restarted := kinds(actions, DoRestart) > 0; restarted == byPerson {
			t.Errorf("stopped by a person %v, restarted %v: %+v", byPerson, restarted, actions)
		}
	}
}

// With cascade off, what depends on a recovered service is left alone.
func TestCascadeOff(t *testing.T) {
	for _, on := range []bool{true, false} {
		s := settings()
		s.Cascade = on
		m := online(t, s, named("db", "unhealthy"))
		up := with(named("db", "healthy"), func(c *Container) { c.StartedAt = t0.Add(time.Second) })
		actions := m.Apply(CallEnded{Key: "p/db/1", Seen: &up}, t0.Add(2*time.Second))
		if n := kinds(actions, DoCascade); n > 0 != on {
			t.Errorf("cascade %v: %d cascades: %+v", on, n, actions)
		}
	}
}

// An inspection of a dependent that was overtaken by its restart does not make
// it stale again.
func TestOvertakenInspectionOfADependent(t *testing.T) {
	owner := with(named("db", "healthy"), func(c *Container) { c.StartedAt = t0 })
	old := with(named("side", "healthy"), func(c *Container) {
		c.NetworkOf, c.StartedAt = owner.ID, t0.Add(-time.Hour)
		delete(c.Labels, "watchdog.enable")
	})
	fresh := with(old, func(c *Container) { c.StartedAt = t0.Add(time.Second) })
	m := online(t, settings(), owner, fresh)
	m.Apply(Seen{old}, t0.Add(2*time.Second))
	if actions := m.Apply(Seen{owner}, t0.Add(3*time.Second)); kinds(actions, DoRestart) > 0 {
		t.Errorf("restarted again: %+v", actions)
	}
}

// An orphan that a person has stopped is alerted once and closed once, however
// often it is listed.
func TestOrphanThatAPersonStopped(t *testing.T) {
	m := online(t, settings(), container("healthy"), joined("healthy"))
	want(t, m, Destroyed{"id1"}, t0, "")
	want(t, m, Listed{[]Container{joined("healthy")}}, t0, "critical:orphaned")
	m.Apply(Signalled{"id2", "15", t0.Add(time.Second)}, t0.Add(time.Second))
	m.Apply(Exited{"id2", 143, t0.Add(2 * time.Second)}, t0.Add(2*time.Second))
	stopped := with(joined("unhealthy"), func(c *Container) { c.State, c.ExitCode = "exited", 143 })
	m.Apply(Seen{stopped}, t0.Add(2*time.Second))
	for i := range 3 {
		at := t0.Add(time.Duration(i+1) * time.Minute)
		want(t, m, Listed{[]Container{stopped}}, at, "")
		want(t, m, Seen{stopped}, at, "")
	}
}

// A dry run reports that a dependent would follow, once, and watches it again:
// what fails later is reported, too.
func TestDependentInADryRun(t *testing.T) {
	dry := func(c Container) Container {
		return with(c, func(c *Container) { c.Labels["watchdog.dry-run"] = "true" })
	}
	side := dry(with(joined("healthy"), func(c *Container) { c.StartedAt = t0.Add(-time.Minute) }))
	m := online(t, settings(), container("healthy"), side)
	want(t, m, Seen{restarted("healthy", t0)}, t0, "warning:dry_run")
	for i := range 3 {
		at := t0.Add(time.Duration(i) * time.Minute)
		want(t, m, Seen{side}, at, "")
		want(t, m, Seen{restarted("healthy", t0)}, at, "")
	}
	if phase := m.Services["side"].Phase; phase != Idle {
		t.Errorf("it is %s", phase)
	}
	want(t, m, Seen{with(side, func(c *Container) { c.Health, c.FailingStreak = "unhealthy", 1 })}, t0.Add(time.Hour), "warning:dry_run")
}

// One that nobody watches, restarted for another's sake, opens no incident of
// which nobody would see the end.
func TestUnwatchedDependentVanishes(t *testing.T) {
	side := with(named("side", "healthy"), func(c *Container) { c.Labels = map[string]string{composeProject: "p", composeService: "side"} })
	m := online(t, settings(), named("db", "healthy"))
	want(t, m, Dependents{Of: "p/db/1", All: []Dependent{{Container: side}}}, t0, "restart0")
	up := with(side, func(c *Container) { c.StartedAt, c.Health = t0.Add(time.Second), "starting" })
	want(t, m, CallEnded{Key: "p/side/1", Seen: &up}, t0.Add(time.Second), "warning:restarted")
	want(t, m, Seen{with(up, func(c *Container) { c.State, c.ExitCode = "exited", 1 })}, t0.Add(time.Minute), "")
	if s := m.Services["p/side/1"]; s != nil && s.Open {
		t.Errorf("%+v", *s)
	}
}
