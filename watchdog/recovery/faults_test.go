package recovery

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// joined is a container in the network of app.
func joined(health string) Container {
	return with(container(health), func(c *Container) { c.ID, c.Name, c.NetworkOf = "id2", "side", "id1" })
}

// ended is the app, not running.
func ended(code int) Container {
	return with(container("unhealthy"), func(c *Container) { c.State, c.ExitCode, c.FinishedAt = "exited", code, t0 })
}

// online is a machine that has seen these containers.
func online(t *testing.T, s Settings, all ...Container) *Machine {
	t.Helper()
	m := NewMachine(s)
	m.Apply(Listed{all}, t0)
	for _, c := range all {
		m.Apply(Seen{c}, t0)
	}
	m.Apply(Online{}, t0)
	return m
}

// want applies a message and compares what comes of it.
func want(t *testing.T, m *Machine, msg Message, at time.Time, actions string) {
	t.Helper()
	if got := summary(m.Apply(msg, at)); got != actions {
		t.Fatalf("%#v: %q, want %q", msg, got, actions)
	}
}

// A restart of which the engine only says that it succeeded: its life began
// before the answer came, and what is seen of the one before decides nothing.
func TestRestartThatIsSeenLater(t *testing.T) {
	m := online(t, settings(), container("unhealthy"))
	want(t, m, CallEnded{Key: "app"}, t0.Add(2*time.Second), "warning:restarted")
	want(t, m, Seen{container("unhealthy")}, t0.Add(3*time.Second), "")
	up := with(container("starting"), func(c *Container) { c.StartedAt = t0.Add(time.Second) })
	want(t, m, Seen{up}, t0.Add(4*time.Second), "")
	up.Health = "healthy"
	want(t, m, Seen{up}, t0.Add(5*time.Second), "info:recovered cascade")
}

// A person's stop is respected whichever signal it uses, and whenever it comes.
func TestStopsOfPeople(t *testing.T) {
	for name, c := range map[string]struct{ stopSignal, sent string }{
		"by number": {"SIGWINCH", "28"}, "by name": {"28", "SIGWINCH"}, "haproxy": {"SIGUSR1", "10"}, "real time": {"SIGRTMIN+3", "37"}, "usual": {"", "15"}, "kill": {"SIGWINCH", "9"},
	} {
		t.Run(name, func(t *testing.T) {
			m := online(t, settings(), with(container("healthy"), func(x *Container) { x.StopSignal = c.stopSignal }))
			want(t, m, Signalled{"id1", c.sent, t0.Add(1)}, t0, "")
			want(t, m, Exited{"id1", 1, t0.Add(2)}, t0, "")
			want(t, m, Seen{with(ended(1), func(x *Container) { x.StopSignal = c.stopSignal })}, t0, "")
			want(t, m, Tick{}, t0.Add(time.Hour), "")
		})
	}
	t.Run("its end is reported by stop alone", func(t *testing.T) {
		m := online(t, settings(), container("healthy"))
		want(t, m, StopDone{"id1", t0.Add(2)}, t0, "")
		want(t, m, Exited{"id1", 1, t0.Add(1)}, t0, "")
		want(t, m, Seen{ended(1)}, t0, "")
	})
	t.Run("a signal that it survived for an hour did not end it", func(t *testing.T) {
		m := online(t, settings(), container("healthy"))
		want(t, m, Signalled{"id1", "2", t0.Add(1)}, t0, "")
		want(t, m, Exited{"id1", 1, t0.Add(time.Hour)}, t0.Add(time.Hour), "")
		want(t, m, Seen{ended(1)}, t0.Add(time.Hour), "restart1")
	})
	t.Run("behind a restart that is in flight", func(t *testing.T) {
		m := online(t, settings(), container("unhealthy"))
		start := t0.Add(2 * time.Second)
		for _, msg := range []Message{Signalled{"id1", "15", t0.Add(1)}, Exited{"id1", 143, t0.Add(2)}, StopDone{"id1", t0.Add(3)},
			Signalled{"id1", "15", start.Add(1)}, Exited{"id1", 143, start.Add(2)}} {
			want(t, m, msg, start, "")
		}
		down := with(ended(143), func(c *Container) { c.StartedAt = start })
		want(t, m, CallEnded{Key: "app", Seen: &down}, start, "warning:restarted info:left_alone")
		want(t, m, Tick{}, start.Add(time.Hour), "")
	})
	t.Run("a second request beside ours", func(t *testing.T) {
		m := online(t, settings(), container("unhealthy"))
		for _, msg := range []Message{Signalled{"id1", "15", t0.Add(1)}, Signalled{"id1", "15", t0.Add(2)}, Exited{"id1", 143, t0.Add(3)}} {
			want(t, m, msg, t0, "")
		}
		down := ended(143)
		want(t, m, CallEnded{Key: "app", Err: errors.New("500"), Seen: &down}, t0.Add(time.Second), "")
		want(t, m, Tick{}, t0.Add(time.Hour), "")
	})
}

// What happened while the watchdog was away comes as events of the past, or
// not at all.
func TestStoppedWhileAway(t *testing.T) {
	for _, phase := range []Phase{Waiting, Verifying, Idle} {
		for _, seen := range []bool{true, false} {
			m := NewMachine(settings())
			s := &Service{Key: "app", ID: "id1", Name: "app", Phase: phase, Attempts: 1, Due: t0, Life: Life{Started: t0.Add(-time.Hour)}, Open: true}
			m.Restore(map[string]*Service{"app": s}, nil, t0)
			if seen {
				m.Apply(Signalled{"id1", "15", t0.Add(-time.Minute)}, t0)
				m.Apply(Exited{"id1", 143, t0.Add(-time.Minute)}, t0)
			}
			var got []string
			for _, msg := range []Message{Listed{[]Container{ended(143)}}, Seen{ended(143)}, Online{}, Tick{}} {
				got = append(got, summary(m.Apply(msg, t0.Add(time.Second))))
			}
			if strings.Contains(strings.Join(got, " "), "restart") {
				t.Errorf("%s, stop seen %v: %q", phase, seen, got)
			}
			if !seen && !strings.Contains(strings.Join(got, " "), "vanished") {
				t.Errorf("%s: nobody is warned: %q", phase, got)
			}
		}
	}
}

// What died while the watchdog was away is recovered: the engine remembers.
func TestDiedWhileAway(t *testing.T) {
	m := NewMachine(settings())
	m.Apply(Exited{"id1", 3, t0.Add(-time.Minute)}, t0)
	m.Apply(Listed{[]Container{ended(3)}}, t0)
	if !m.NeedsLook(ended(3)) {
		t.Fatal("nobody looks at it")
	}
	m.Apply(Seen{ended(3)}, t0)
	want(t, m, Online{}, t0, "restart1")
}

// A crash right behind a restart is known at once, with and without a
// healthcheck; nothing follows it.
func TestCrashAfterRestart(t *testing.T) {
	for _, check := range []bool{true, false} {
		change := func(c *Container) {
			if c.HasHealthcheck = check; !check {
				c.Health = ""
			}
		}
		m := online(t, settings(), with(container("healthy"), change))
		want(t, m, Exited{"id1", 3, t0.Add(1)}, t0, "")
		want(t, m, Seen{with(ended(3), change)}, t0, "restart1")
		crashed := with(ended(3), func(c *Container) { change(c); c.StartedAt = t0.Add(time.Second) })
		m.Apply(Exited{"id1", 3, t0.Add(2 * time.Second)}, t0.Add(2*time.Second))
		want(t, m, CallEnded{Key: "app", Seen: &crashed}, t0.Add(2*time.Second), "warning:restarted")
		if s := m.Services["app"]; s.Phase != Waiting || !strings.Contains(s.Cause, "exit code 3") {
			t.Errorf("healthcheck %v: %s, %q", check, s.Phase, s.Cause)
		}
	}
	// Alive for the minimum uptime, it has recovered.
	plain := func(c *Container) { c.HasHealthcheck, c.Health = false, "" }
	m := online(t, settings(), with(container("healthy"), plain))
	m.Apply(Exited{"id1", 3, t0.Add(1)}, t0)
	want(t, m, Seen{with(ended(3), plain)}, t0, "restart1")
	up := with(restarted("", t0.Add(time.Second)), plain)
	want(t, m, CallEnded{Key: "app", Seen: &up}, t0.Add(time.Second), "warning:restarted")
	want(t, m, Tick{}, t0.Add(11*time.Second-1), "")
	want(t, m, Tick{}, t0.Add(11*time.Second), "info:recovered cascade")
}

// An orphan is never restarted, whatever its probes say, and alerted once.
func TestOrphan(t *testing.T) {
	orphan := joined("unhealthy")
	m := online(t, settings(), container("healthy"), joined("healthy"))
	want(t, m, Destroyed{"id1"}, t0, "")
	want(t, m, Listed{[]Container{orphan}}, t0, "critical:orphaned")
	for i := range 5 {
		at := t0.Add(time.Duration(i) * time.Minute)
		want(t, m, Seen{orphan}, at, "")
		want(t, m, Listed{[]Container{orphan}}, at, "")
		want(t, m, Seen{with(orphan, func(c *Container) { c.Health, c.FailingStreak = "healthy", 0 })}, at, "")
	}
	again := with(joined("healthy"), func(c *Container) { c.ID, c.NetworkOf, c.StartedAt = "id3", "id4", t0.Add(time.Hour) })
	want(t, m, Seen{again}, t0.Add(time.Hour), "info:recreated")
}

// A client whose owner is down is held and uses no attempt; it follows once
// its owner is healthy, whoever restarted that, and whether it runs or not.
func TestClientWaitsForItsOwner(t *testing.T) {
	m := online(t, settings(), container("healthy"), joined("healthy"))
	want(t, m, Seen{container("unhealthy")}, t0, "restart1")
	want(t, m, Seen{joined("unhealthy")}, t0, "")
	if s := m.Services["side"]; s.Phase != Held || s.Hold.On != "app" || s.Attempts != 0 {
		t.Fatalf("%s for %q, %d attempts", s.Phase, s.Hold.On, s.Attempts)
	}
	at := t0.Add(time.Second)
	up := restarted("healthy", at)
	want(t, m, CallEnded{Key: "app", Seen: &up}, at, "warning:restarted info:recovered cascade restart0")
	side := with(joined("healthy"), func(c *Container) { c.StartedAt = at.Add(time.Second) })
	want(t, m, CallEnded{Key: "side", Seen: &side}, at.Add(time.Second), "warning:restarted info:recovered")

	// The owner is restarted by a person, or by the engine.
	at = t0.Add(time.Minute)
	want(t, m, Seen{restarted("healthy", at)}, at, "restart0")
	side.StartedAt = at.Add(time.Second)
	want(t, m, CallEnded{Key: "side", Seen: &side}, at.Add(time.Second), "warning:restarted info:recovered")
	want(t, m, Seen{restarted("healthy", at)}, at.Add(time.Minute), "")

	// After an engine restart: it could not join, and stays dead.
	at = t0.Add(2 * time.Minute)
	down := with(restarted("unhealthy", t0.Add(time.Minute)), func(c *Container) { c.State = "exited" })
	m.Apply(Signalled{"id1", "15", at}, at)
	m.Apply(Exited{"id1", 143, at.Add(1)}, at)
	want(t, m, Seen{down}, at, "")
	m.Apply(Exited{"id2", 128, at.Add(1)}, at)
	unjoined := with(side, func(c *Container) {
		c.State, c.ExitCode, c.Error, c.RestartPolicy = "exited", 128, "cannot join network of a non running container: id1", "always"
	})
	want(t, m, Seen{unjoined}, at, "")
	if s := m.Services["side"]; s.Phase != Held || s.Hold.On != "app" {
		t.Fatalf("%s for %q", s.Phase, s.Hold.On)
	}
	want(t, m, Tick{}, at.Add(time.Hour), "")
	at = at.Add(2 * time.Hour)
	want(t, m, Seen{restarted("healthy", at)}, at, "restart0")
}

// Of a service that is held for an owner which nobody restarts people are told,
// once and after a while.
func TestClientOfAnOwnerThatNobodyRestarts(t *testing.T) {
	m := online(t, settings(), container("healthy"), joined("healthy"))
	m.Apply(Signalled{"id1", "15", t0.Add(1)}, t0)
	m.Apply(Exited{"id1", 143, t0.Add(2)}, t0)
	want(t, m, Seen{ended(143)}, t0, "")
	for i, wanted := range []string{"", "", "warning:held", "", ""} {
		want(t, m, Seen{joined("unhealthy")}, t0.Add(time.Duration(i)*30*time.Second), wanted)
	}
	want(t, m, Seen{restarted("healthy", t0.Add(time.Hour))}, t0.Add(time.Hour), "restart0")
	side := with(joined("healthy"), func(c *Container) { c.StartedAt = t0.Add(time.Hour + 1) })
	want(t, m, CallEnded{Key: "side", Seen: &side}, t0.Add(time.Hour), "warning:restarted info:recovered")
}

// A cycle, and a diamond: each dependent once, in order.
func TestCascadeOnce(t *testing.T) {
	svc := func(name, depends string) Container {
		return with(container("healthy"), func(c *Container) {
			c.ID, c.Name = "id-"+name, name
			maps.Copy(c.Labels, map[string]string{composeProject: "p", composeService: name, composeDependsOn: depends})
		})
	}
	all := []Container{svc("db", "edge:service_started:true"), svc("web", "db:service_started:true"), svc("api", "db:service_started:true"),
		svc("edge", "web:service_started:true,api:service_started:true")}
	m := online(t, settings(), all...)
	sick := with(all[0], func(c *Container) { c.Health, c.FailingStreak = "unhealthy", 1 })
	want(t, m, Seen{sick}, t0, "restart1")
	now := t0
	var order []string
	pending := []Action{{Key: "p/db/1", ID: "id-db"}}
	for len(pending) > 0 {
		a := pending[0]
		pending = pending[1:]
		order = append(order, a.Key)
		if len(order) > 20 {
			t.Fatalf("it never ends: %v", order)
		}
		now = now.Add(time.Second)
		for i := range all {
			if all[i].ID == a.ID {
				all[i].StartedAt = now
				actions := m.Apply(CallEnded{Key: a.Key, Seen: &all[i]}, now)
				for j := 0; j < len(actions); j++ {
					switch actions[j].Kind {
					case DoCascade:
						actions = append(actions, m.Apply(Dependents{actions[j].Key, m.Settings.DependentsOf(all, all[i])}, now)...)
					case DoRestart:
						pending = append(pending, actions[j])
					}
				}
			}
		}
	}
	if got := strings.Join(order, " "); got != "p/db/1 p/api/1 p/web/1 p/edge/1" {
		t.Errorf("restarted: %s", got)
	}
}

// A crash loop under the container's own policy is the engine's to mend, and
// no secret.
func TestCrashLoop(t *testing.T) {
	own := func(state string, count int) Container {
		return with(container("starting"), func(c *Container) {
			c.RestartPolicy, c.State, c.RestartCount, c.ExitCode = "always", state, count, 3
			c.StartedAt = t0.Add(time.Duration(count) * time.Second)
		})
	}
	m := online(t, settings(), with(own("running", 0), func(c *Container) { c.Health = "healthy" }))
	for i := range 6 {
		at := t0.Add(time.Duration(i) * time.Second)
		wanted := ""
		if i == crashRestarts {
			wanted = "warning:crash_loop"
		}
		m.Apply(Exited{"id1", 3, at.Add(time.Second / 2)}, at)
		want(t, m, Seen{own("restarting", i)}, at, wanted)
		want(t, m, Seen{own("running", i+1)}, at.Add(time.Second), "")
	}
	healthy := with(own("running", 6), func(c *Container) { c.Health = "healthy" })
	want(t, m, Seen{healthy}, t0.Add(time.Minute), "info:recovered")

	exhausted := with(own("exited", 5), func(c *Container) { c.RestartPolicy, c.MaxRetries = "on-failure", 5 })
	m = online(t, settings(), with(exhausted, func(c *Container) { c.State, c.Health = "running", "healthy" }))
	m.Apply(Exited{"id1", 3, t0.Add(time.Hour)}, t0)
	want(t, m, Seen{exhausted}, t0, "critical:policy_exhausted")
	want(t, m, Seen{exhausted}, t0, "")

	// Our own restart, never verified.
	m = online(t, settings(), with(own("running", 0), func(c *Container) { c.Health, c.FailingStreak = "unhealthy", 1 }))
	loop := own("restarting", 1)
	m.Apply(Exited{"id1", 3, t0.Add(2 * time.Second)}, t0.Add(2*time.Second))
	want(t, m, CallEnded{Key: "app", Seen: &loop}, t0.Add(2*time.Second), "warning:restarted")
	want(t, m, Tick{}, t0.Add(time.Minute), "critical:unverified")
}

// A job that has done its work is left alone; one that lacked memory is named.
func TestEnds(t *testing.T) {
	m := online(t, settings(), container("healthy"))
	m.Apply(Exited{"id1", 0, t0.Add(1)}, t0)
	want(t, m, Seen{ended(0)}, t0, "")
	m = online(t, settings(), container("healthy"))
	m.Apply(Exited{"id1", 137, t0.Add(1)}, t0)
	oom := with(ended(137), func(c *Container) { c.OOMKilled, c.MemoryLimit = true, 64<<20 })
	want(t, m, Seen{oom}, t0, "restart1")
	if got := m.Services["app"].Cause; got != "killed by the kernel for lack of memory (limit 64 MiB)" {
		t.Errorf("the cause is %q", got)
	}
}

// A renamed container keeps its service, and has one restart in flight.
func TestRename(t *testing.T) {
	m := online(t, settings(), container("unhealthy"))
	renamed := with(container("unhealthy"), func(c *Container) { c.Name = "other" })
	want(t, m, Seen{renamed}, t0, "")
	if len(m.Services) != 1 || m.Services["app"].Phase != Restarting {
		t.Errorf("%d services: %+v", len(m.Services), m.Services)
	}
}

// A reset starts what is down, and really resets what is restarting.
func TestReset(t *testing.T) {
	m := online(t, settings(), container("healthy"))
	m.Apply(Signalled{"id1", "15", t0.Add(1)}, t0)
	m.Apply(Exited{"id1", 0, t0.Add(2)}, t0)
	want(t, m, Seen{ended(0)}, t0, "")
	want(t, m, ResetAsked{"app"}, t0, "restart1")

	m = online(t, settings(), container("unhealthy"))
	want(t, m, ResetAsked{"app"}, t0, "")
	if s := m.Services["app"]; s.Attempts != 0 || s.Phase != Restarting {
		t.Errorf("%d attempts, %s", s.Attempts, s.Phase)
	}
}

// A restart behind which nobody could look does not hide what comes of the next
// one.
func TestRestartThatNobodySawAndTheNext(t *testing.T) {
	m := online(t, settings(), container("unhealthy"))
	want(t, m, CallEnded{Key: "app"}, t0.Add(time.Second), "warning:restarted")
	want(t, m, Tick{}, t0.Add(time.Minute), "restart2")
	up := restarted("starting", t0.Add(time.Minute))
	want(t, m, CallEnded{Key: "app", Seen: &up}, t0.Add(time.Minute), "warning:restarted")
	want(t, m, Seen{restarted("healthy", t0.Add(time.Minute))}, t0.Add(time.Minute+time.Second), "info:recovered cascade")
}

// A reset of what is down is not forgotten when the engine refuses the call.
func TestResetThatTheEngineRefuses(t *testing.T) {
	m := online(t, settings(), container("healthy"))
	m.Apply(Signalled{"id1", "15", t0.Add(1)}, t0)
	m.Apply(Exited{"id1", 0, t0.Add(2)}, t0)
	down := with(ended(0), func(c *Container) { c.FinishedAt = t0.Add(2) })
	want(t, m, Seen{down}, t0, "")
	want(t, m, ResetAsked{"app"}, t0.Add(time.Minute), "restart1")
	want(t, m, CallEnded{Key: "app", Seen: &down, Err: errors.New("500")}, t0.Add(time.Minute), "start")
	want(t, m, CallEnded{Key: "app", Seen: &down, Err: errors.New("500")}, t0.Add(time.Minute), "")
	want(t, m, Seen{down}, t0.Add(time.Minute+time.Second), "")
	want(t, m, Tick{}, t0.Add(time.Minute+2*time.Second), "restart2")
	// Whoever stops it afterwards has the last word.
	up := with(container("healthy"), func(c *Container) { c.StartedAt = t0.Add(time.Minute + 2*time.Second) })
	want(t, m, CallEnded{Key: "app", Seen: &up}, t0.Add(time.Minute+3*time.Second), "warning:restarted info:recovered cascade")
	m.Apply(Signalled{"id1", "15", t0.Add(2 * time.Minute)}, t0.Add(2*time.Minute))
	m.Apply(Exited{"id1", 0, t0.Add(2 * time.Minute)}, t0.Add(2*time.Minute))
	want(t, m, Seen{with(up, func(c *Container) { c.State, c.FinishedAt = "exited", t0.Add(2*time.Minute) })}, t0.Add(2*time.Minute), "")
}

// A dry run asks for nothing, counts nothing, and says 'would'.
func TestDryRunOnlyReports(t *testing.T) {
	s := settings()
	s.DryRun = true
	m := online(t, s, container("healthy"))
	actions := m.Apply(Seen{container("unhealthy")}, t0)
	if got := summary(actions); got != "warning:dry_run" || !strings.Contains(actions[0].Text, "would be restarted") {
		t.Fatalf("%q: %+v", got, actions)
	}
	for range 10 {
		want(t, m, Seen{container("unhealthy")}, t0.Add(time.Hour), "")
	}
	if svc := m.Services["app"]; svc.Attempts != 0 || svc.Open || len(m.Restarts) != 0 {
		t.Errorf("%+v, %v", *svc, m.Restarts)
	}
	want(t, m, Seen{container("healthy")}, t0.Add(2*time.Hour), "")
	want(t, m, Seen{container("unhealthy")}, t0.Add(3*time.Hour), "warning:dry_run")
}

// Names and labels are anybody's text.
func TestHostileNames(t *testing.T) {
	c := with(container("unhealthy"), func(c *Container) {
		c.Name = "x\x1b[31m\u202e" + strings.Repeat("n", 5000)
		maps.Copy(c.Labels, map[string]string{composeProject: "p\r\nBcc: x@y", composeService: strings.Repeat("s", 200_000)})
	})
	other := with(c, func(c *Container) { c.ID, c.Labels[composeService] = "id2", c.Labels[composeService]+"x" })
	m := online(t, settings(), c, other)
	if len(m.Services) != 2 {
		t.Errorf("%d services, want 2: their names differ behind the bound", len(m.Services))
	}
	for key, s := range m.Services {
		if text := key + s.Name; strings.ContainsAny(text, "\r\n\x1b\u202e") || len(text) > 4*maxName {
			t.Errorf("%d bytes: %q", len(text), text[:100])
		}
	}
}

// Two running containers with the same labels are both watched, with a warning.
func TestTwins(t *testing.T) {
	twin := func(id, health string) Container {
		return with(container(health), func(c *Container) {
			c.ID, c.Name = id, id
			maps.Copy(c.Labels, map[string]string{composeProject: "p", composeService: "web"})
		})
	}
	m := NewMachine(settings())
	all := []Container{twin("a", "healthy"), twin("b", "unhealthy")}
	warned := 0
	for _, msg := range []Message{Listed{all}, Seen{all[0]}, Seen{all[1]}, Listed{all}} {
		for _, a := range m.Apply(msg, t0) {
			if a.Event == EventTwins {
				warned++
			}
		}
	}
	if len(m.Services) != 2 || warned != 1 {
		t.Fatalf("%d services, %d warnings", len(m.Services), warned)
	}
	want(t, m, Online{}, t0, "restart1")
}

// A clock that was set back does not make anybody wait for days.
func TestClockSetBack(t *testing.T) {
	m := NewMachine(settings())
	ahead := t0.Add(100 * 24 * time.Hour)
	m.Restore(map[string]*Service{"app": {Key: "app", ID: "id1", Name: "app", Phase: Waiting, Attempts: -3, Due: ahead, LastRestart: ahead, FailingSince: ahead, Life: Life{Started: t0.Add(-time.Hour)}}},
		[]time.Time{ahead, ahead}, t0)
	m.Apply(Seen{container("unhealthy")}, t0)
	m.Apply(Online{}, t0)
	if next := m.Next(t0); next.After(t0.Add(6 * time.Minute)) {
		t.Errorf("next at %s", next)
	}
	if n := m.Services["app"].Attempts; n != 1 { // the first, at once: what was below zero is nothing
		t.Errorf("%d attempts", n)
	}
}

// Waiting for --max-concurrent is no alert; --max-restarts is, and dependents
// do not count.
func TestThrottle(t *testing.T) {
	s := settings()
	s.MaxConcurrent, s.MaxRestarts = 3, 5
	nth := func(i int, health string, started time.Time) Container {
		return with(container(health), func(c *Container) { c.ID, c.Name, c.StartedAt = fmt.Sprint("id", i), fmt.Sprint("app", i), started })
	}
	var all []Container
	for i := range 8 {
		all = append(all, nth(i, "healthy", t0.Add(-time.Hour)))
	}
	m := online(t, s, all...)
	var got []string
	apply := func(msg Message, now time.Time) {
		if b := summary(m.Apply(msg, now)); b != "" {
			got = append(got, b)
		}
	}
	for i := range 8 {
		apply(Seen{nth(i, "unhealthy", t0.Add(-time.Hour))}, t0)
	}
	if text := strings.Join(got, "|"); text != "restart1|restart1|restart1" {
		t.Fatalf("got %s", text)
	}
	got = nil
	for i := range 5 {
		c := nth(i, "healthy", t0.Add(time.Second))
		apply(CallEnded{Key: c.Name, Seen: &c}, t0.Add(time.Second))
	}
	if text := strings.Join(got, " "); strings.Count(text, "restart1") != 2 || strings.Count(text, "critical:throttled") != 1 {
		t.Fatalf("got %s", text)
	}
	got = nil
	next := m.Next(t0.Add(time.Minute))
	if wanted := t0.Add(5 * time.Minute); !next.Equal(wanted) {
		t.Fatalf("next at %s, want %s", next, wanted)
	}
	apply(Tick{}, next)
	for i := 5; i < 8; i++ {
		c := nth(i, "healthy", next.Add(time.Second))
		apply(CallEnded{Key: c.Name, Seen: &c}, next.Add(time.Second))
	}
	if text := strings.Join(got, " "); strings.Count(text, "restart1") != 3 || !strings.Contains(text, "info:throttle_over") {
		t.Errorf("got %s", text)
	}
}

// Nothing grows with the number of containers that ever lived.
func TestNothingGrows(t *testing.T) {
	m := online(t, settings())
	now := t0
	for i := range 100_000 {
		now = now.Add(10 * time.Second)
		c := with(container("unhealthy"), func(c *Container) {
			c.ID, c.Name, c.StartedAt, c.Labels["watchdog.max-attempts"] = fmt.Sprint("id", i), fmt.Sprint("job", i), now, "x"
			if i%3 == 0 {
				c.NetworkOf = fmt.Sprint("id", i-1)
			}
		})
		m.Apply(Signalled{fmt.Sprint("unseen", i), "15", now}, now)
		m.Apply(Seen{c}, now)
		m.Apply(Destroyed{c.ID}, now)
		if i%7 == 0 {
			m.Apply(Listed{}, now)
		}
	}
	now = now.Add(time.Hour)
	m.Apply(Listed{}, now)
	m.Apply(Tick{}, now)
	for key, s := range m.Services { // a call in flight ends, some time
		m.Apply(CallEnded{Key: key, Missing: true, Err: errors.New("no such container")}, now)
		_ = s
	}
	m.Apply(Tick{}, now.Add(time.Hour))
	if n := len(m.Services) + len(m.byID) + len(m.early) + len(m.joined) + len(m.owners) + len(m.twins) + len(m.timed) + len(m.Restarts); n > 0 {
		t.Errorf("%d services, %d ids, %d early, %d joined, %d owners, %d twins, %d timed, %d restarts are left",
			len(m.Services), len(m.byID), len(m.early), len(m.joined), len(m.owners), len(m.twins), len(m.timed), len(m.Restarts))
	}
}

// A container whose probes have ceased, and one that starts for too long: one
// warning each.
func TestStaleAndSlow(t *testing.T) {
	count := func(m *Machine, event Event, c Container, at time.Time) (n int) {
		for i := range 3 {
			for _, a := range m.Apply(Seen{c}, at.Add(time.Duration(i)*time.Minute)) {
				if a.Event == event {
					n++
				}
			}
		}
		return n
	}
	fresh := with(container("healthy"), func(c *Container) { c.LastProbe = t0 })
	m := online(t, settings(), fresh)
	if n := count(m, EventStaleProbe, fresh, t0.Add(time.Minute)); n != 1 {
		t.Errorf("%d warnings of a stale probe", n)
	}
	slow := with(container("starting"), func(c *Container) { c.StartPeriod = time.Minute })
	m = online(t, settings(), with(slow, func(c *Container) { c.StartedAt = t0 }))
	if n := count(m, EventStartsSlowly, with(slow, func(c *Container) { c.StartedAt = t0 }), t0.Add(2*time.Minute)); n != 1 {
		t.Errorf("%d warnings of a slow start", n)
	}
	if ids := fmt.Sprint(online(t, settings(), fresh, joined("healthy")).Audit(5)); ids != "[id1 id2]" {
		t.Errorf("audited: %s", ids)
	}
}
