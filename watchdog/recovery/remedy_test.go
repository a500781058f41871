package recovery

import (
	"errors"
	"testing"
	"time"
)

// labelled is a container with labels of its policy.
func labelled(health string, labels ...string) Container {
	return with(container(health), func(c *Container) {
		for i := 0; i < len(labels); i += 2 {
			c.Labels["watchdog."+labels[i]] = labels[i+1]
		}
	})
}

// down is a container that has ended, at that time.
func down(c Container, code int, at time.Time) Container {
	return with(c, func(c *Container) { c.State, c.ExitCode, c.FinishedAt = "exited", code, at })
}

// again is a container in its next life.
func again(c Container, health string, at time.Time) Container {
	return with(c, func(c *Container) {
		c.State, c.Health, c.FailingStreak, c.StartedAt = "running", health, 0, at
		if health == "unhealthy" {
			c.FailingStreak = 1
		}
	})
}

func TestRemedies(t *testing.T) {
	sec := time.Second
	boom := errors.New("403: Forbidden")
	failing, healthy := labelled("unhealthy", "action", "stop"), labelled("healthy", "action", "stop")
	told, better := labelled("unhealthy", "action", "notify"), labelled("healthy", "action", "notify")
	last := labelled("unhealthy", "on-give-up", "stop", "max-attempts", "1")
	stopped := down(failing, 143, t0.Add(sec))
	ended := CallEnded{Key: "app", Seen: &stopped}
	// ours are the events of the engine's own stop.
	ours := []step{
		{0, Signalled{"id1", "15", t0.Add(sec / 2)}, "", ShuttingDown},
		{0, Exited{"id1", 143, t0.Add(sec)}, "", ShuttingDown},
		{0, StopDone{"id1", t0.Add(sec + 1)}, "", ShuttingDown},
	}
	lastStopped := down(last, 143, t0.Add(4*sec))
	giveUp := []step{
		{0, Seen{last}, "restart1", Restarting},
		{sec, ok(again(last, "starting", t0.Add(sec))), "warning:restarted", Verifying},
		{sec, Seen{again(last, "unhealthy", t0.Add(sec))}, "critical:gave_up stop", ShuttingDown},
	}
	for name, steps := range map[string][]step{
		"stop: stopped once, and left down": {
			{0, Seen{healthy}, "", Idle},
			{0, Seen{failing}, "stop", ShuttingDown},
			ours[0], ours[1], ours[2],
			{sec, ended, "critical:shut_down", ShutDown},
			{0, Seen{stopped}, "", ShutDown},
			{time.Hour, Seen{stopped}, "", ShutDown},
			{0, Listed{[]Container{stopped}}, "", ShutDown},
		},
		"stop: the events come late": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{2 * sec, ended, "critical:shut_down", ShutDown},
			{0, Signalled{"id1", "15", t0.Add(sec / 2)}, "", ShutDown},
			{0, Exited{"id1", 143, t0.Add(sec)}, "", ShutDown},
			{0, StopDone{"id1", t0.Add(sec + 1)}, "", ShutDown},
			{0, Seen{stopped}, "", ShutDown},
		},
		"stop: an inspection from before comes late": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{2 * sec, ended, "critical:shut_down", ShutDown},
			{0, Seen{failing}, "", ShutDown},
			{0, Seen{stopped}, "", ShutDown},
		},
		"stop: nobody could look behind the call": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{2 * sec, CallEnded{Key: "app"}, "critical:shut_down", ShutDown},
			{0, ResetAsked{"app"}, "info:reset restart1", Restarting},
		},
		"stop: it runs in spite of that, and is watched anew": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{2 * sec, CallEnded{Key: "app"}, "critical:shut_down", ShutDown},
			{time.Hour, Seen{failing}, "info:restarted_by_other", Idle},
			{sec, Seen{failing}, "stop", ShuttingDown},
		},
		"stop: what died by itself stays down": {
			{0, Seen{healthy}, "", Idle},
			{0, Exited{"id1", 3, t0}, "", Idle},
			{0, Seen{down(healthy, 3, t0)}, "critical:shut_down", ShutDown},
			{time.Hour, Seen{down(healthy, 3, t0)}, "", ShutDown},
		},
		"stop: a restart policy of its own does not revive it": {
			{0, Seen{with(failing, func(c *Container) { c.RestartPolicy = "always" })}, "stop", ShuttingDown},
			ours[0], ours[1], ours[2],
			{sec, CallEnded{Key: "app", Seen: new(with(stopped, func(c *Container) { c.RestartPolicy = "always" }))}, "critical:shut_down", ShutDown},
			{time.Minute, Seen{with(stopped, func(c *Container) { c.RestartPolicy = "always" })}, "", ShutDown},
		},
		"stop: what has no attempts is stopped all the same": {
			{0, Seen{labelled("unhealthy", "action", "stop", "max-attempts", "0")}, "stop", ShuttingDown},
		},
		"notify: what has no attempts is told of all the same": {
			{0, Seen{labelled("unhealthy", "action", "notify", "max-attempts", "0")}, "critical:not_restarted", Held},
		},
		"stop: a person starts it, and it begins anew": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{sec, ended, "critical:shut_down", ShutDown},
			{sec, Seen{again(healthy, "starting", t0.Add(2*sec))}, "info:restarted_by_other", Idle},
			{sec, Seen{again(healthy, "unhealthy", t0.Add(2*sec))}, "stop", ShuttingDown},
		},
		"stop: reset starts it": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{sec, ended, "critical:shut_down", ShutDown},
			{sec, ResetAsked{"app"}, "info:reset restart1", Restarting},
			{sec, ok(again(healthy, "healthy", t0.Add(3*sec))), "warning:restarted info:recovered cascade", Idle},
			{sec, Seen{again(healthy, "unhealthy", t0.Add(3*sec))}, "stop", ShuttingDown},
		},
		"stop: reset while it is being stopped starts it behind that": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{0, ResetAsked{"app"}, "", ShuttingDown},
			{sec, ended, "restart1", Restarting},
		},
		"stop: reset while a stop fails has it decided anew": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{0, ResetAsked{"app"}, "", ShuttingDown},
			{sec, CallEnded{Key: "app", Err: boom, Seen: &failing}, "stop", ShuttingDown},
		},
		"stop: one that cannot be stopped is alerted after three tries": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{0, CallEnded{Key: "app", Err: boom, Seen: &failing}, "", Waiting},
			{2 * sec, Tick{}, "stop", ShuttingDown},
			{0, CallEnded{Key: "app", Err: boom}, "", Waiting},
			{4 * sec, Tick{}, "stop", ShuttingDown},
			{0, CallEnded{Key: "app", Err: boom, Seen: &failing}, "critical:stop_failed", GivenUp},
			{time.Hour, Seen{failing}, "", GivenUp},
			{0, Seen{healthy}, "info:recovered", Idle},
			{0, Seen{failing}, "stop", ShuttingDown},
		},
		"stop: the call fails, and stops it all the same": {
			{0, Seen{failing}, "stop", ShuttingDown},
			ours[0],
			{sec, CallEnded{Key: "app", Err: boom, Seen: &failing}, "", Waiting},
			{0, Exited{"id1", 143, t0.Add(sec)}, "", Waiting},
			{0, Seen{stopped}, "", Waiting},
			{0, StopDone{"id1", t0.Add(sec + 1)}, "", Waiting},
			{2 * sec, Tick{}, "critical:shut_down", ShutDown},
			{time.Hour, Seen{stopped}, "", ShutDown},
		},
		"stop: the call fails, and a person stops it": {
			{0, Seen{failing}, "stop", ShuttingDown},
			ours[0],
			{sec, CallEnded{Key: "app", Err: boom, Seen: &failing}, "", Waiting},
			{0, Signalled{"id1", "15", t0.Add(sec)}, "", Idle},
			{0, Exited{"id1", 143, t0.Add(sec + 1)}, "", Idle},
			{0, Seen{stopped}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"stop: the call is refused, and a person stops it": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{sec, CallEnded{Key: "app", Err: boom, Seen: &failing}, "", Waiting},
			{0, Signalled{"id1", "15", t0.Add(sec)}, "", Idle},
			{0, Exited{"id1", 143, t0.Add(sec + 1)}, "", Idle},
			{0, Seen{stopped}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"stop: the last call fails, and stops it all the same": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{0, CallEnded{Key: "app", Err: boom, Seen: &failing}, "", Waiting},
			{2 * sec, Tick{}, "stop", ShuttingDown},
			{0, CallEnded{Key: "app", Err: boom, Seen: &failing}, "", Waiting},
			{4 * sec, Tick{}, "stop", ShuttingDown},
			{0, Signalled{"id1", "15", t0.Add(6*sec + 1)}, "", ShuttingDown},
			{0, CallEnded{Key: "app", Err: boom, Seen: &failing}, "critical:stop_failed", GivenUp},
			{sec, Exited{"id1", 143, t0.Add(7 * sec)}, "", GivenUp},
			{0, StopDone{"id1", t0.Add(7*sec + 1)}, "", GivenUp},
			{0, Seen{down(failing, 143, t0.Add(7*sec))}, "", GivenUp},
		},
		"stop: healthy by itself between two tries": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{0, CallEnded{Key: "app", Err: boom, Seen: &failing}, "", Waiting},
			{sec, Seen{healthy}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"stop: a person has stopped it meanwhile": {
			{0, Seen{failing}, "stop", ShuttingDown},
			ours[0],
			{0, Signalled{"id1", "15", t0.Add(sec/2 + 1)}, "", ShuttingDown},
			ours[1],
			{sec, ended, "", Idle},
			{0, Seen{stopped}, "", Idle},
		},
		"stop: somebody has started it meanwhile": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{sec, ok(again(healthy, "healthy", t0.Add(sec/2))), "", Idle},
		},
		"stop: gone meanwhile": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{0, CallEnded{Key: "app", Err: boom, Missing: true}, "", Idle},
		},
		"stop: recreated afterwards": {
			{0, Seen{failing}, "stop", ShuttingDown},
			{sec, ended, "critical:shut_down", ShutDown},
			{0, Destroyed{"id1"}, "info:removed", ShutDown},
			{sec, Seen{with(again(failing, "unhealthy", t0.Add(3*sec)), func(c *Container) { c.ID = "id2" })}, "stop", ShuttingDown},
		},
		"give up: opted out for a while, it stays down": append(giveUp[:len(giveUp):len(giveUp)], []step{
			{sec, CallEnded{Key: "app", Seen: new(with(lastStopped, func(c *Container) { c.StartedAt = t0.Add(sec) }))}, "", ShutDown},
			{0, Seen{with(lastStopped, func(c *Container) { c.StartedAt, c.Labels = t0.Add(sec), nil })}, "info:opted_out", Idle},
			{0, Seen{with(lastStopped, func(c *Container) { c.StartedAt = t0.Add(sec) })}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		}...),
		"stop: waits for --unhealthy-for": {
			{0, Seen{with(failing, func(c *Container) { c.Labels["watchdog.unhealthy-for"] = "1m" })}, "", Waiting},
			{time.Minute, Tick{}, "stop", ShuttingDown},
		},
		"stop: a snooze holds it": {
			{0, Seen{healthy}, "", Idle},
			{0, SnoozeAsked{Name: "app", Until: t0.Add(time.Minute)}, "", Idle},
			{0, Seen{failing}, "", Waiting},
			{time.Minute, Tick{}, "stop", ShuttingDown},
		},
		"stop: a dry run stops nothing": {
			{0, Seen{with(failing, func(c *Container) { c.Labels["watchdog.dry-run"] = "true" })}, "warning:dry_run", Rehearsed},
		},
		"give up: stopped after the last attempt": append(giveUp[:len(giveUp):len(giveUp)], []step{
			{sec, CallEnded{Key: "app", Seen: new(with(lastStopped, func(c *Container) { c.StartedAt = t0.Add(sec) }))}, "", ShutDown},
			{time.Hour, Seen{with(lastStopped, func(c *Container) { c.StartedAt = t0.Add(sec) })}, "", ShutDown},
			{0, ResetAsked{"app"}, "info:reset restart1", Restarting},
			{0, ok(again(last, "healthy", t0.Add(2*time.Hour))), "warning:restarted info:recovered cascade", Idle},
		}...),
		"give up: started by a person, it has all its attempts": append(giveUp[:len(giveUp):len(giveUp)], []step{
			{sec, CallEnded{Key: "app", Seen: new(with(lastStopped, func(c *Container) { c.StartedAt = t0.Add(sec) }))}, "", ShutDown},
			{sec, Seen{again(last, "starting", t0.Add(5*sec))}, "info:restarted_by_other", Idle},
			{sec, Seen{again(last, "unhealthy", t0.Add(5*sec))}, "restart1", Restarting},
		}...),
		"give up: a failed stop is tried again, with one alert": append(giveUp[:len(giveUp):len(giveUp)], []step{
			{0, CallEnded{Key: "app", Err: boom}, "", Waiting},
			{2 * sec, Tick{}, "stop", ShuttingDown},
			{0, CallEnded{Key: "app", Err: boom}, "", Waiting},
			{4 * sec, Tick{}, "stop", ShuttingDown},
			{0, CallEnded{Key: "app", Err: boom}, "critical:stop_failed", GivenUp},
			{0, Seen{again(last, "healthy", t0.Add(sec))}, "info:recovered", Idle},
		}...),
		"give up: a stop that fails stops it all the same, with one alert": append(giveUp[:len(giveUp):len(giveUp)], []step{
			{0, Signalled{"id1", "15", t0.Add(3 * sec)}, "", ShuttingDown},
			{0, CallEnded{Key: "app", Err: boom}, "", Waiting},
			{0, Exited{"id1", 143, t0.Add(4 * sec)}, "", Waiting},
			{0, Seen{with(lastStopped, func(c *Container) { c.StartedAt = t0.Add(sec) })}, "", Waiting},
			{0, StopDone{"id1", t0.Add(4*sec + 1)}, "", Waiting},
			{2 * sec, Tick{}, "", ShutDown},
		}...),
		"give up: fewer attempts while it waits, and people know before it is stopped": {
			{0, Seen{with(last, func(c *Container) { c.Labels["watchdog.max-attempts"] = "2" })}, "restart1", Restarting},
			{sec, ok(again(last, "starting", t0.Add(sec))), "warning:restarted", Verifying},
			{0, Seen{with(again(last, "starting", t0.Add(sec)), func(c *Container) { c.Labels["watchdog.max-attempts"] = "2" })}, "", Verifying},
			{0, Seen{with(again(last, "unhealthy", t0.Add(sec)), func(c *Container) { c.Labels["watchdog.max-attempts"] = "2" })}, "", Waiting},
			{sec, Seen{again(last, "unhealthy", t0.Add(sec))}, "", Waiting},
			{4 * sec, Tick{}, "critical:gave_up stop", ShuttingDown},
			{sec, CallEnded{Key: "app", Seen: new(down(again(last, "unhealthy", t0.Add(sec)), 143, t0.Add(7*sec)))}, "", ShutDown},
			{sec, ResetAsked{"app"}, "info:reset restart1", Restarting},
		},
		"give up: in quiet hours people know at once, and it is stopped behind them": {
			{0, Seen{with(last, func(c *Container) {
				c.Labels["watchdog.max-attempts"], c.Labels["watchdog.quiet-hours"] = "0", t0.Local().Format("Mon 15:04")+"-"+t0.Add(time.Minute).Local().Format("15:04")
			})}, "critical:gave_up", Waiting},
			{30 * sec, Tick{}, "", Waiting},
			{30 * sec, Tick{}, "stop", ShuttingDown},
		},
		"give up: healthy by itself before the stop": {
			{0, SnoozeAsked{Until: t0.Add(time.Minute)}, "", Idle},
			{0, Seen{with(last, func(c *Container) { c.Labels["watchdog.max-attempts"] = "0" })}, "critical:gave_up", Waiting},
			{sec, Seen{labelled("healthy")}, "info:recovered", Idle},
			{sec, Seen{with(last, func(c *Container) { c.Labels["watchdog.max-attempts"] = "0" })}, "critical:gave_up", Waiting}, // that is news
			{sec, Seen{labelled("healthy")}, "info:recovered", Idle},
			{time.Hour, Tick{}, "", Idle},
		},
		"give up: more attempts before the stop, and the next give-up is news": {
			{0, SnoozeAsked{Until: t0.Add(time.Minute)}, "", Idle},
			{0, Seen{with(last, func(c *Container) { c.Labels["watchdog.max-attempts"] = "0" })}, "critical:gave_up", Waiting},
			{sec, Seen{last}, "", Waiting},
			{time.Minute, Tick{}, "restart1", Restarting},
			{sec, ok(again(last, "unhealthy", t0.Add(62*sec))), "warning:restarted critical:gave_up stop", ShuttingDown},
		},
		"give up: what is down already needs no stop": {
			{0, Seen{labelled("healthy", "on-give-up", "stop", "max-attempts", "0")}, "", Idle},
			{0, Exited{"id1", 3, t0}, "", Idle},
			{0, Seen{down(labelled("healthy", "on-give-up", "stop", "max-attempts", "0"), 3, t0)}, "critical:gave_up", GivenUp},
		},
		"notify: told once, restarted never": {
			{0, Seen{told}, "critical:not_restarted", Held},
			{time.Hour, Seen{told}, "", Held},
			{time.Hour, Tick{}, "", Held},
			{0, Seen{better}, "info:recovered", Idle},
			{0, Seen{told}, "critical:not_restarted", Held},
		},
		"notify: what died by itself is told of": {
			{0, Seen{better}, "", Idle},
			{0, Exited{"id1", 3, t0}, "", Idle},
			{0, Seen{down(better, 3, t0)}, "critical:not_restarted", Held},
			{time.Hour, Seen{down(better, 3, t0)}, "", Held},
			{0, Seen{again(better, "healthy", t0.Add(time.Hour))}, "info:recovered", Idle},
		},
		"notify: a person's reset starts what is down": {
			{0, Seen{better}, "", Idle},
			{0, Exited{"id1", 3, t0}, "", Idle},
			{0, Seen{down(better, 3, t0)}, "critical:not_restarted", Held},
			{0, ResetAsked{"app"}, "info:reset restart1", Restarting},
			{sec, ok(again(better, "unhealthy", t0.Add(sec))), "warning:restarted critical:not_restarted", Held},
		},
		"notify: another label, and it is restarted": {
			{0, Seen{told}, "critical:not_restarted", Held},
			{0, Seen{labelled("unhealthy")}, "restart1", Restarting},
		},
		"notify: a person stops it": {
			{0, Seen{told}, "critical:not_restarted", Held},
			{0, Signalled{"id1", "15", t0.Add(1)}, "info:left_alone", Idle},
		},
		"a bad label: the default": {
			{0, Seen{labelled("unhealthy", "action", "kill", "on-give-up", "pause")}, "restart1", Restarting},
		},
	} {
		t.Run(name, func(t *testing.T) { run(t, settings(), steps) })
	}
}

// What is stopped counts for the limits over all containers; what is notified
// of does not.
func TestRemediesAndLimits(t *testing.T) {
	s := settings()
	s.MaxRestarts = 1
	m := online(t, s)
	one := func(name, action string) Seen {
		return Seen{with(named(name, "unhealthy"), func(c *Container) { c.Labels["watchdog.action"] = action })}
	}
	want(t, m, one("a", "notify"), t0, "critical:not_restarted")
	want(t, m, one("b", "stop"), t0, "stop")
	want(t, m, one("c", "notify"), t0, "critical:not_restarted")
	want(t, m, one("d", "stop"), t0, "critical:throttled")
	// A start that a person asked for is a restart.
	m = online(t, s)
	gone := one("a", "notify")
	gone.Container.State, gone.Container.ExitCode, gone.Container.FinishedAt = "exited", 3, t0
	m.Apply(one("a", "notify"), t0)
	m.Apply(Exited{"id-a", 3, t0}, t0)
	m.Apply(gone, t0)
	want(t, m, ResetAsked{"a"}, t0, "info:reset restart1")
	want(t, m, one("b", "stop"), t0, "critical:throttled")
}

// Who is notified alone waits for no call of another; who would be, in a dry run,
// comes as the restart would.
func TestNotificationsWaitForNoCall(t *testing.T) {
	s := settings()
	s.MaxConcurrent = 1
	m := online(t, s)
	want(t, m, Seen{named("a", "unhealthy")}, t0, "restart1")
	one := func(name string, labels ...string) Seen {
		return Seen{with(named(name, "unhealthy"), func(c *Container) {
			for i := 0; i < len(labels); i += 2 {
				c.Labels["watchdog."+labels[i]] = labels[i+1]
			}
		})}
	}
	want(t, m, one("b", "action", "notify"), t0, "critical:not_restarted")
	want(t, m, one("c", "action", "stop"), t0, "")
	want(t, m, one("d", "action", "notify", "dry-run", "true"), t0, "")
	want(t, m, one("e"), t0, "")
}

// What is not to be restarted is not restarted for another's sake, and what
// depends on it does not follow it.
func TestRemediesOfDependents(t *testing.T) {
	s := settings()
	db := named("db", "unhealthy")
	web := with(named("web", "healthy"), func(c *Container) {
		c.Labels[composeDependsOn], c.Labels["watchdog.action"] = "db:service_started:true", "notify"
	})
	edge := with(named("edge", "healthy"), func(c *Container) { c.Labels[composeDependsOn] = "web:service_started:true" })
	all := []Container{db, web, edge}
	m := online(t, s, all...)
	up := with(named("db", "healthy"), func(c *Container) { c.StartedAt = t0.Add(time.Second) })
	want(t, m, CallEnded{Key: "p/db/1", Seen: &up}, t0.Add(time.Second), "warning:restarted info:recovered cascade")
	found := m.Settings.DependentsOf(all, up)
	if len(found) != 1 || found[0].Container.Name != "web" {
		t.Fatalf("%+v", found)
	}
	want(t, m, Dependents{Of: "p/db/1", All: found}, t0.Add(time.Second), "warning:not_followed")
	if p := m.Services["p/web/1"]; p.Phase != Idle || p.Open {
		t.Errorf("%+v", *p)
	}
}

// What lives in the network of one that was restarted is told of once, and not
// again with every look at its owner.
func TestRemediesInANetwork(t *testing.T) {
	m := online(t, settings(), named("db", "healthy"))
	side := with(named("side", "healthy"), func(c *Container) {
		c.NetworkOf, c.Labels["watchdog.action"] = "id-db", "stop"
	})
	m.Apply(Listed{[]Container{named("db", "healthy"), side}}, t0)
	m.Apply(Seen{side}, t0)
	up := with(named("db", "healthy"), func(c *Container) { c.StartedAt = t0.Add(time.Second) })
	want(t, m, Seen{up}, t0.Add(2*time.Second), "warning:not_followed")
	for range 3 {
		want(t, m, Seen{up}, t0.Add(3*time.Second), "")
		want(t, m, Seen{side}, t0.Add(3*time.Second), "")
	}
	// Its own probes find out.
	failing := with(side, func(c *Container) { c.Health, c.FailingStreak = "unhealthy", 1 })
	want(t, m, Seen{failing}, t0.Add(4*time.Second), "stop")
}

// An earlier run asked for the stop, and this one learns what became of it.
func TestRemediesRestored(t *testing.T) {
	m := NewMachine(settings())
	began := t0.Add(-time.Second)
	m.Restore(map[string]*Service{"app": {ID: "id1", Name: "app", Phase: ShuttingDown, Stops: 1, Open: true, LastRestart: began, Life: Life{Started: t0.Add(-time.Hour)}}}, nil, t0)
	c := down(labelled("unhealthy", "action", "stop"), 143, t0)
	for _, msg := range []Message{
		Signalled{"id1", "15", t0.Add(-time.Second / 2)}, Exited{"id1", 143, t0}, StopDone{"id1", t0.Add(1)},
		CallEnded{Key: "app", Err: errors.New("cut off"), Seen: &c},
	} {
		m.Apply(msg, t0.Add(time.Second))
	}
	if s := m.Services["app"]; s.Phase != ShutDown || !s.Open {
		t.Errorf("%+v", *s)
	}
	want(t, m, Online{}, t0.Add(time.Second), "")
	want(t, m, Seen{c}, t0.Add(time.Minute), "")
}

// A start that a person asked an earlier run for comes, whatever the labels
// say, which no file has kept.
func TestAskedForIsRestored(t *testing.T) {
	for _, labels := range [][]string{{"max-attempts", "0"}, {"action", "stop"}, {"action", "notify"}} {
		m := NewMachine(settings())
		m.Restore(map[string]*Service{"app": {ID: "id1", Name: "app", Phase: Waiting, Asked: true, Due: t0, Life: Life{Started: t0.Add(-time.Hour), Marks: []Mark{{Kind: Ended, At: t0, Received: t0, Ours: true}}}}}, nil, t0)
		m.Apply(Seen{down(labelled("unhealthy", labels...), 143, t0)}, t0)
		want(t, m, Online{}, t0.Add(time.Second), "restart1")
	}
}

// One that nobody watches, and that could not be started with the container
// whose network it lives in, is told of once, with no incident of which nobody
// would see the end.
func TestRemediesOfWhatIsNotWatched(t *testing.T) {
	for _, action := range []string{"notify", "stop"} {
		t.Run(action, func(t *testing.T) {
			side := with(joined(""), func(c *Container) {
				c.State, c.ExitCode, c.Error, c.Health = "exited", 128, "cannot join network of a non running container", ""
				c.HasHealthcheck = false
				c.Labels = map[string]string{"watchdog.action": action}
			})
			m := online(t, settings(), side)
			want(t, m, Seen{container("healthy")}, t0.Add(time.Second), "warning:not_followed")
			for i := range 3 {
				at := t0.Add(time.Duration(i+1) * time.Minute)
				want(t, m, Seen{side}, at, "")
				want(t, m, Seen{container("healthy")}, at, "")
			}
			if s := m.Services["side"]; s != nil {
				t.Errorf("%+v", *s)
			}
			// It runs, and its owner is restarted: the network that it lives in is no more.
			up := with(side, func(c *Container) { c.State, c.Error, c.StartedAt = "running", "", t0.Add(time.Hour) })
			m.Apply(Seen{up}, t0.Add(time.Hour))
			owner := restarted("healthy", t0.Add(2*time.Hour))
			want(t, m, Seen{owner}, t0.Add(2*time.Hour), "warning:not_followed")
			for i := range 3 {
				want(t, m, Seen{owner}, t0.Add(2*time.Hour+time.Duration(i)*time.Minute), "")
			}
		})
	}
}

// That people know of a give-up is not told by an open incident, which a restart
// opens as well; it outlives the program.
func TestGaveUpIsRestored(t *testing.T) {
	for gaveUp, wanted := range map[bool]string{true: "", false: "critical:gave_up"} {
		m := NewMachine(settings())
		m.Restore(map[string]*Service{"app": {ID: "id1", Name: "app", Phase: Waiting, Attempts: 1, Open: true, GaveUp: gaveUp, Due: t0, Life: Life{Started: t0.Add(-time.Hour)}}}, nil, t0)
		want(t, m, Seen{labelled("unhealthy", "on-give-up", "stop", "max-attempts", "1")}, t0, wanted)
		want(t, m, Online{}, t0.Add(time.Second), "stop")
	}
	m := online(t, settings(), container("healthy"))
	m.Changed()
	s := m.Services["app"]
	s.Open, s.Phase = true, GivenUp
	m.touch(s)
	m.Changed()
	s.GaveUp = true
	if m.touch(s); !m.Changed() {
		t.Error("it is not saved")
	}
}
