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
	for _, c := range Dependents(all, x) {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "loop1 named old side web" {
		t.Errorf("got %s", got)
	}
	if Orphaned(all, svc("a", "", "id-x")) || !Orphaned(all, svc("b", "", "gone")) || Orphaned(all, svc("c", "", "")) {
		t.Error("orphans")
	}
	if got := RecreateCommand(svc("web", "", "gone")); got != "docker compose -p p up -d --force-recreate web" {
		t.Error(got)
	}
}

// A dependent is restarted once after its dependency, and counts no attempt.
func TestDependentRestart(t *testing.T) {
	m := NewMachine(settings())
	m.Apply(Online{}, t0)
	side := with(container("healthy"), func(c *Container) { c.ID, c.Name, c.Labels = "id9", "side", nil })
	if got := summary(m.Apply(Depends{side, "app"}, t0)); got != "restart0" {
		t.Fatalf("got %q", got)
	}
	if got := summary(m.Apply(Depends{side, "app"}, t0)); got != "" {
		t.Fatalf("twice: %q", got)
	}
	up := with(side, func(c *Container) { c.StartedAt = t0.Add(time.Second) })
	if got := summary(m.Apply(Done{Key: "side", Seen: &up}, t0.Add(time.Second))); got != "warning:restarted info:recovered cascade" {
		t.Fatalf("got %q", got)
	}
	// One that nobody watches and that fails afterwards: an alert, and no restart.
	m.Apply(Depends{side, "app"}, t0.Add(time.Minute))
	failing := with(side, func(c *Container) { c.StartedAt = t0.Add(2 * time.Minute); c.Health, c.FailingStreak = "unhealthy", 1 })
	if got := summary(m.Apply(Done{Key: "side", Seen: &failing}, t0.Add(2*time.Minute))); got != "warning:restarted warning:dependent_failing" {
		t.Fatalf("got %q", got)
	}
	for _, labels := range []map[string]string{{"watchdog.enable": "false"}, {swarmTask: "t"}} {
		if got := summary(m.Apply(Depends{with(side, func(c *Container) { c.Labels = labels }), "app"}, t0.Add(time.Hour))); got != "" {
			t.Errorf("%v: %q", labels, got)
		}
	}
}
