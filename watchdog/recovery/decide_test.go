package recovery

import (
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/report"
)

// blames is a failed check of class dependency.
func blames(host string) report.Failure {
	return report.Failure{Check: "vector", Cause: probe.FailureCause{Class: probe.Dependency, Host: host, Port: "6333"}, Text: "connection refused"}
}

func fails(class probe.Class) report.Failure {
	return report.Failure{Check: "db", Cause: probe.FailureCause{Class: class}, Text: "password authentication failed"}
}

// named is a container of the project p.
func named(name, health string, failures ...report.Failure) Container {
	return with(container(health), func(c *Container) {
		c.ID, c.Name, c.Failures = "id-"+name, name, failures
		c.Labels[composeProject], c.Labels[composeService] = "p", name
		c.Networks = []Network{{Name: "p_default", IP: "172.20.0." + string('0'+name[0]%10), Aliases: []string{name + "-alias"}}}
	})
}

// TestDecisionTable: each row, and that the rows above outrank those below.
func TestDecisionTable(t *testing.T) {
	plain := func(c Container) Container {
		return with(c, func(c *Container) { c.HasHealthcheck, c.Health = false, "" })
	}
	stopped := with(named("qdrant", ""), func(c *Container) { c.State = "exited" })
	unwatched := func(c Container) Container {
		return with(c, func(c *Container) { delete(c.Labels, "watchdog.enable") })
	}
	sick := unwatched(named("qdrant", "unhealthy"))
	fine := unwatched(named("qdrant", "healthy"))
	elsewhere := with(sick, func(c *Container) { c.Networks = []Network{{Name: "other"}} })
	for name, c := range map[string]struct {
		failures []report.Failure
		qdrant   Container
		want     HoldKind // empty: a restart
		actions  string
	}{
		"unhealthy, by name":          {[]report.Failure{blames("qdrant")}, sick, ForDependency, "warning:held"},
		"unhealthy, by alias":         {[]report.Failure{blames("QDRANT-alias.")}, sick, ForDependency, "warning:held"},
		"unhealthy, by address":       {[]report.Failure{blames(sick.Networks[0].IP)}, sick, ForDependency, "warning:held"},
		"unhealthy, and more":         {[]report.Failure{fails(probe.Self), fails(probe.Config), blames("qdrant")}, sick, ForDependency, "warning:held"},
		"stopped":                     {[]report.Failure{blames("qdrant")}, unwatched(stopped), ForDependency, "warning:held"},
		"starting":                    {[]report.Failure{blames("qdrant")}, unwatched(named("qdrant", "starting")), ForDependency, ""},
		"paused":                      {[]report.Failure{blames("qdrant")}, with(sick, func(c *Container) { c.State = "paused" }), ForDependency, "warning:held"},
		"in another network":          {[]report.Failure{blames("qdrant")}, elsewhere, ForOther, "warning:held"},
		"healthy":                     {[]report.Failure{blames("qdrant")}, fine, ForOther, "warning:held"},
		"no healthcheck":              {[]report.Failure{blames("qdrant")}, plain(fine), ForOther, "warning:held"},
		"not of this engine":          {[]report.Failure{blames("db.example")}, sick, ForOther, "warning:held"},
		"through the application":     {[]report.Failure{blames("")}, sick, "", "restart1"},
		"healthy, and its own":        {[]report.Failure{blames("qdrant"), fails(probe.Self)}, fine, "", "restart1"},
		"its own":                     {[]report.Failure{fails(probe.Self), fails(probe.Config)}, sick, "", "restart1"},
		"unknown":                     {[]report.Failure{fails(probe.Unknown)}, sick, "", "restart1"},
		"no report":                   {nil, sick, "", "restart1"},
		"starting itself":             {[]report.Failure{fails(probe.Starting)}, sick, ForStart, ""},
		"healthy, and starting":       {[]report.Failure{fails(probe.Starting), blames("qdrant")}, fine, ForOther, "warning:held"},
		"password":                    {[]report.Failure{fails(probe.Config)}, sick, ForPerson, "critical:needs_person"},
		"disk":                        {[]report.Failure{fails(probe.Host)}, sick, ForPerson, "critical:needs_person"},
		"password, and starting":      {[]report.Failure{fails(probe.Starting), fails(probe.Config)}, sick, ForPerson, "critical:needs_person"},
		"healthy, and password":       {[]report.Failure{fails(probe.Config), blames("qdrant")}, fine, ForOther, "warning:held"},
		"itself, which makes no word": {[]report.Failure{blames("app")}, sick, ForOther, "warning:held"},
	} {
		t.Run(name, func(t *testing.T) {
			m := online(t, settings(), named("app", "healthy"), c.qdrant)
			want(t, m, Seen{named("app", "unhealthy", c.failures...)}, t0.Add(time.Second), c.actions)
			s := m.Services["p/app/1"]
			if s.Hold.Kind != c.want || (s.Phase == Held) != (c.want != "") {
				t.Errorf("%s, held for %q %q", s.Phase, s.Hold.Kind, s.Hold.On)
			}
			if s.Phase == Held && s.Attempts != 0 {
				t.Errorf("%d attempts", s.Attempts)
			}
			if len(c.failures) > 0 && !strings.Contains(s.Cause, c.failures[0].Text) {
				t.Errorf("the cause is %q", s.Cause)
			}
			off := settings()
			off.ByCause = false
			m = online(t, off, named("app", "healthy"), c.qdrant)
			want(t, m, Seen{named("app", "unhealthy", c.failures...)}, t0.Add(time.Second), "restart1")
		})
	}
}

// The label names what is asked through the application.
func TestDependencyLabel(t *testing.T) {
	app := func(health string, f ...report.Failure) Container {
		return with(named("app", health, f...), func(c *Container) { c.Labels[dependencyLabel+"vector"] = "qdrant" })
	}
	m := online(t, settings(), app("healthy"), named("qdrant", "unhealthy"))
	want(t, m, Seen{app("unhealthy", blames(""))}, t0.Add(time.Second), "")
	if s := m.Services["p/app/1"]; s.Hold != (Hold{ForDependency, "p/qdrant/1", t0.Add(time.Second)}) {
		t.Error(s.Hold)
	}
}

// The culprit is restarted and the victim is not; it is healthy afterwards.
func TestVictimIsHeld(t *testing.T) {
	m := online(t, settings(), named("app", "healthy"), named("qdrant", "healthy"))
	want(t, m, Seen{named("app", "unhealthy", blames("qdrant"))}, t0.Add(1*time.Second), "warning:held") // nothing bad is known yet
	want(t, m, Seen{named("qdrant", "unhealthy")}, t0.Add(2*time.Second), "restart1")
	if s := m.Services["p/app/1"]; s.Hold.Kind != ForDependency || !s.Due.IsZero() {
		t.Fatal(s.Hold, s.Due)
	}
	up := with(named("qdrant", "starting"), func(c *Container) { c.StartedAt = t0.Add(3 * time.Second) })
	want(t, m, CallEnded{Key: "p/qdrant/1", Seen: &up}, t0.Add(4*time.Second), "warning:restarted")
	up.Health = "healthy"
	want(t, m, Seen{up}, t0.Add(5*time.Second), "info:recovered cascade")
	s := m.Services["p/app/1"]
	if s.Hold.Kind != ForRecovery || !s.Due.Equal(t0.Add(5*time.Second).Add(s.container.verdictTime())) {
		t.Fatal(s.Hold, s.Due)
	}
	want(t, m, Seen{named("app", "healthy")}, t0.Add(6*time.Second), "info:recovered")
	if s.Attempts != 0 || s.Phase != Idle {
		t.Errorf("%d attempts, %s", s.Attempts, s.Phase)
	}
}

// A victim whose connections stay stale is restarted once its time is over.
func TestStaleVictimIsRestarted(t *testing.T) {
	sick := named("app", "unhealthy", blames("qdrant"))
	m := online(t, settings(), named("app", "healthy"), named("qdrant", "unhealthy"))
	want(t, m, Seen{sick}, t0.Add(1*time.Second), "")
	up := with(named("qdrant", "healthy"), func(c *Container) { c.StartedAt = t0.Add(2 * time.Second) })
	want(t, m, CallEnded{Key: "p/qdrant/1", Seen: &up}, t0.Add(3*time.Second), "warning:restarted info:recovered cascade")
	due := t0.Add(3 * time.Second).Add(sick.verdictTime())
	want(t, m, Seen{sick}, due.Add(-1), "")
	want(t, m, Tick{}, due, "restart1")
}

// Three levels: what stands above waits for what stands below.
func TestThreeLevels(t *testing.T) {
	m := online(t, settings(), named("front", "healthy"), named("api", "healthy"), named("db", "unhealthy"))
	want(t, m, Seen{named("api", "unhealthy", blames("db"))}, t0.Add(1*time.Second), "")
	want(t, m, Seen{named("front", "unhealthy", blames("api"))}, t0.Add(1*time.Second), "")
	up := with(named("db", "healthy"), func(c *Container) { c.StartedAt = t0.Add(2 * time.Second) })
	want(t, m, CallEnded{Key: "p/db/1", Seen: &up}, t0.Add(3*time.Second), "warning:restarted info:recovered cascade")
	if s := m.Services["p/front/1"]; s.Hold.Kind != ForDependency {
		t.Fatal(s.Hold)
	}
	want(t, m, Seen{named("api", "healthy")}, t0.Add(4*time.Second), "")
	if s := m.Services["p/front/1"]; s.Hold.Kind != ForRecovery {
		t.Fatal(s.Hold)
	}
	want(t, m, Seen{named("front", "healthy")}, t0.Add(5*time.Second), "")
}

// Two that blame each other: the one whose fault it is also by its own word is
// restarted first; where neither says so, one of them.
func TestCircle(t *testing.T) {
	m := online(t, settings(), named("a", "healthy"), named("b", "healthy"))
	want(t, m, Seen{named("a", "unhealthy", blames("b"), fails(probe.Self))}, t0.Add(1*time.Second), "restart1")
	want(t, m, Seen{named("b", "unhealthy", blames("a"))}, t0.Add(1*time.Second), "")

	m = online(t, settings(), named("a", "healthy"), named("b", "healthy"))
	want(t, m, Seen{named("a", "unhealthy", blames("b"))}, t0.Add(1*time.Second), "warning:held")
	want(t, m, Seen{named("b", "unhealthy", blames("a"))}, t0.Add(2*time.Second), "restart1")
	up := with(named("b", "unhealthy", blames("a")), func(c *Container) { c.StartedAt = t0.Add(3 * time.Second) })
	for attempt := 1; attempt <= 3; attempt++ { // b is not the broken one
		m.Apply(CallEnded{Key: "p/b/1", Seen: &up}, up.StartedAt.Add(time.Second))
		up.StartedAt = up.StartedAt.Add(time.Minute)
		m.Apply(Tick{}, up.StartedAt)
	}
	if a, b := m.Services["p/a/1"], m.Services["p/b/1"]; b.Phase != GivenUp || a.Phase != Restarting {
		t.Errorf("a is %s, b is %s", a.Phase, b.Phase)
	}
}

// What cannot have a healthcheck is restarted on another's word, if its label
// says so, as often as anything else; and not before the other could know.
func TestReportedBy(t *testing.T) {
	qdrant := func(by string, at time.Time) Container {
		return with(named("qdrant", ""), func(c *Container) { c.HasHealthcheck, c.Labels[reportedByLabel], c.StartedAt = false, by, at })
	}
	old := t0.Add(-time.Hour)
	sick := named("app", "unhealthy", blames("qdrant"))
	for by, ok := range map[string]bool{"app": true, "other, app": true, "*": true, "p/app": true, "other": false, "": false} {
		m := online(t, settings(), named("app", "healthy"), qdrant(by, old))
		actions := m.Apply(Seen{sick}, t0.Add(time.Second))
		if got := summary(actions); got != map[bool]string{true: "restart1", false: "warning:held"}[ok] {
			t.Errorf("%q: %s", by, got)
		}
	}
	m := online(t, settings(), named("app", "healthy"), qdrant("app", old))
	want(t, m, Seen{sick}, t0.Add(time.Second), "restart1")
	if s := m.Services["p/qdrant/1"]; !strings.Contains(s.Cause, "reported by p/app/1: vector: connection refused") {
		t.Error(s.Cause)
	}
	up := qdrant("app", t0.Add(2*time.Second))
	want(t, m, CallEnded{Key: "p/qdrant/1", Seen: &up}, t0.Add(3*time.Second), "warning:restarted")
	want(t, m, Seen{up}, t0.Add(12*time.Second), "") // it runs, and nobody knows better yet
	t.Run("helped", func(t *testing.T) {
		want(t, m, Seen{named("app", "healthy")}, t0.Add(14*time.Second), "info:recovered cascade")
	})
	m = online(t, settings(), named("app", "healthy"), qdrant("app", old))
	want(t, m, Seen{sick}, t0.Add(time.Second), "restart1")
	for attempt := range 3 {
		up := qdrant("app", t0.Add(time.Duration(attempt+1)*time.Minute))
		m.Apply(CallEnded{Key: "p/qdrant/1", Seen: &up}, up.StartedAt.Add(time.Second))
		m.Apply(Tick{}, up.StartedAt.Add(50*time.Second))
	}
	if s := m.Services["p/qdrant/1"]; s.Phase != GivenUp {
		t.Errorf("%s after %d attempts", s.Phase, s.Attempts)
	}
	if s := m.Services["p/app/1"]; s.Phase != Held || s.Hold.Kind != ForOther && s.Hold.Kind != ForRecovery {
		t.Errorf("%s for %v: nothing would end it", s.Phase, s.Hold)
	}
}

// A report decides about its own container only, whatever it claims.
func TestHostileReport(t *testing.T) {
	var all []report.Failure
	for _, host := range []string{"db", "qdrant", "172.20.0.3", "other", "liar"} {
		all = append(all, blames(host))
	}
	victim := func(name string) Container {
		return with(named(name, ""), func(c *Container) { c.HasHealthcheck, c.Labels[reportedByLabel] = false, "app" })
	}
	m := online(t, settings(), named("liar", "healthy"), named("db", "healthy"), victim("qdrant"), victim("other"))
	for i := range 100 {
		for _, a := range m.Apply(Seen{named("liar", "unhealthy", all...)}, t0.Add(time.Duration(i)*time.Second)) {
			if a.Key != "p/liar/1" {
				t.Fatalf("%+v", a)
			}
		}
	}
	for _, name := range []string{"p/db/1", "p/qdrant/1", "p/other/1"} {
		if s := m.Services[name]; s.Phase != Idle {
			t.Errorf("%s is %s", name, s.Phase)
		}
	}
	want(t, m, Tick{}, t0.Add(m.Settings.HoldMax), "restart1") // and it cannot hold itself back for longer
}

// A person who stops the database is not undone, and people hear of it once.
func TestDependencyThatAPersonStopped(t *testing.T) {
	m := online(t, settings(), named("app", "healthy"), named("web", "healthy"), named("db", "healthy"))
	for _, msg := range []Message{Signalled{"id-db", "15", t0.Add(1)}, Exited{"id-db", 0, t0.Add(2)}, StopDone{"id-db", t0.Add(3)}} {
		want(t, m, msg, t0.Add(time.Second), "")
	}
	down := with(named("db", ""), func(c *Container) { c.State, c.FinishedAt = "exited", t0.Add(2) })
	want(t, m, Seen{down}, t0.Add(time.Second), "")
	want(t, m, Seen{named("app", "unhealthy", blames("db"))}, t0.Add(2*time.Second), "warning:held")
	want(t, m, Seen{named("web", "unhealthy", blames("db"))}, t0.Add(2*time.Second), "")
	want(t, m, Tick{}, t0.Add(24*time.Hour), "")
	up := with(named("db", "healthy"), func(c *Container) { c.StartedAt = t0.Add(24 * time.Hour) })
	want(t, m, Seen{up}, t0.Add(24*time.Hour), "")
	want(t, m, Seen{named("app", "healthy")}, t0.Add(24*time.Hour+time.Second), "info:recovered")
}
