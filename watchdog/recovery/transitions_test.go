package recovery

import (
	"errors"
	"testing"
	"time"
)

func TestTransitions(t *testing.T) {
	sec := time.Second
	boom := errors.New("500: boom")
	unhealthy, healthy, fresh := container("unhealthy"), container("healthy"), restarted("starting", t0.Add(sec))
	exited := with(container("unhealthy"), func(c *Container) { c.State, c.ExitCode = "exited", 3 })
	for name, steps := range map[string][]step{
		"recovers on the first restart": {
			{0, Seen{healthy}, "", Idle},
			{0, Seen{unhealthy}, "restart1", Restarting},
			{sec, ok(fresh), "warning:restarted", Verifying},
			{sec, Seen{restarted("healthy", fresh.StartedAt)}, "info:recovered cascade", Idle},
		},
		"backs off, then gives up with one alert": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(restarted("starting", t0.Add(1))), "warning:restarted", Verifying},
			{0, Seen{restarted("unhealthy", t0.Add(1))}, "", Waiting},
			{2*sec - 1, Tick{}, "", Waiting},
			{1, Tick{}, "restart2", Restarting},
			{0, ok(restarted("starting", t0.Add(2*sec+1))), "warning:restarted", Verifying},
			{0, Seen{restarted("unhealthy", t0.Add(2*sec+1))}, "", Waiting},
			{4*sec - 1, Tick{}, "", Waiting},
			{1, Tick{}, "restart3", Restarting},
			{0, ok(restarted("starting", t0.Add(7*sec))), "warning:restarted", Verifying},
			{sec, Seen{restarted("unhealthy", t0.Add(7*sec))}, "critical:gave_up", GivenUp},
			{time.Hour, Seen{restarted("unhealthy", t0.Add(7*sec))}, "", GivenUp},
			{time.Hour, Tick{}, "", GivenUp},
			{0, Seen{restarted("healthy", t0.Add(7*sec))}, "info:recovered", Idle},
			{sec, Seen{restarted("unhealthy", t0.Add(7*sec))}, "critical:gave_up", GivenUp}, // not stable yet
			{sec, Seen{restarted("healthy", t0.Add(7*sec))}, "info:recovered", Idle},
			{10 * time.Minute, Tick{}, "", Idle},
			{0, Seen{restarted("unhealthy", t0.Add(7*sec))}, "restart1", Restarting},
		},
		"a healthy spell that is too short forgets nothing": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(restarted("healthy", t0.Add(1))), "warning:restarted info:recovered cascade", Idle},
			{9 * time.Minute, Seen{restarted("unhealthy", t0.Add(1))}, "restart2", Restarting},
		},
		"no verdict in time is a failure": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(fresh), "warning:restarted", Verifying},
			{12*sec - 1, Tick{}, "", Verifying}, // 1 × (1 s + 1 s) + 10 s
			{1, Tick{}, "restart2", Restarting}, // the backoff has passed meanwhile
		},
		"healthy by itself during the backoff": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{restarted("healthy", t0.Add(1))}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"a pause leaves 'unhealthy' behind": {
			{0, Seen{with(unhealthy, func(c *Container) { c.State = "paused"; c.FailingStreak = 0 })}, "", Idle},
			{sec, Seen{with(unhealthy, func(c *Container) { c.FailingStreak = 0 })}, "", Idle},
			{sec, Seen{unhealthy}, "restart1", Restarting},
		},
		"paused in the middle is left alone": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{with(restarted("unhealthy", t0.Add(1)), func(c *Container) { c.State = "paused" })}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"stopped by a person in the middle is left alone": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Killed{"id1", "15", t0.Add(sec)}, "", Waiting},
			{0, Died{"id1", 0, t0.Add(sec)}, "", Waiting},
			{0, Seen{with(exited, func(c *Container) { c.StartedAt = t0.Add(1) })}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"stopped by a person is left alone": {
			{0, Seen{healthy}, "", Idle},
			{0, Killed{"id1", "15", t0}, "", Idle},
			{0, Died{"id1", 137, t0}, "", Idle},
			{0, Seen{exited}, "", Idle},
		},
		"died by itself": {
			{0, Seen{healthy}, "", Idle},
			{0, Died{"id1", 3, t0}, "", Idle},
			{0, Seen{exited}, "restart1", Restarting},
			{sec, ok(restarted("healthy", t0.Add(sec))), "warning:restarted info:recovered cascade", Idle},
		},
		"a probe that fails as the container ends is no failure": {
			{0, Seen{healthy}, "", Idle},
			{0, Seen{with(unhealthy, func(c *Container) { c.ProbeInterrupted = true })}, "", Idle},
			{0, Died{"id1", 3, t0}, "", Idle},
			{0, Seen{with(exited, func(c *Container) { c.RestartPolicy = "always" })}, "", Idle},
		},
		"one that seems to end, and does not, is unhealthy": {
			{0, Seen{with(unhealthy, func(c *Container) { c.ProbeInterrupted, c.FailingStreak = true, 2 })}, "", Idle},
			{0, Seen{with(unhealthy, func(c *Container) { c.ProbeInterrupted, c.FailingStreak = true, 3 })}, "restart1", Restarting},
		},
		"a signal that does not end it is not a stop": {
			{0, Seen{healthy}, "", Idle},
			{0, Killed{"id1", "10", t0}, "", Idle},
			{0, Died{"id1", 3, t0}, "", Idle},
			{0, Seen{exited}, "restart1", Restarting},
		},
		"found dead is left alone: nobody saw why": {
			{0, Seen{healthy}, "", Idle},
			{0, Seen{exited}, "", Idle},
		},
		"its own restart policy revives it": {
			{0, Seen{healthy}, "", Idle},
			{0, Died{"id1", 3, t0}, "", Idle},
			{0, Seen{with(exited, func(c *Container) { c.RestartPolicy = "always" })}, "", Idle},
		},
		"echoes of its own restart are no stop": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, Killed{"id1", "15", t0.Add(sec / 2)}, "", Restarting},
			{sec, ok(fresh), "warning:restarted", Verifying},
			{0, Killed{"id1", "15", t0.Add(sec / 2)}, "", Verifying},
			{0, Died{"id1", 137, t0.Add(sec / 2)}, "", Verifying},
			{sec, Died{"id1", 3, t0.Add(2 * sec)}, "", Verifying}, // this is a new one
			{0, Seen{with(exited, func(c *Container) { c.StartedAt = fresh.StartedAt })}, "", Waiting},
		},
		"restarted by somebody else in the backoff": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{restarted("starting", t0.Add(sec))}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
			{0, Seen{restarted("unhealthy", t0.Add(sec))}, "restart2", Restarting},
		},
		"vanishes": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, Done{Key: "app", Err: errors.New("no such container"), Missing: true}, "", Idle},
		},
		"vanishes in the backoff": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Gone{"id1"}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"recreated in the middle keeps the count": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Gone{"id1"}, "", Idle},
			{sec, Seen{with(unhealthy, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "", Waiting},
			{sec, Tick{}, "restart2", Restarting},
		},
		"the old container beside the new one changes nothing": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{with(unhealthy, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "", Waiting},
			{0, Seen{with(exited, func(c *Container) { c.StartedAt = t0.Add(1) })}, "", Waiting},
			{0, Seen{with(container("healthy"), func(c *Container) { c.StartedAt = t0.Add(1) })}, "", Waiting},
			{sec, Tick{}, "restart2", Restarting},
		},
		"what is not watched for a while keeps its count": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Seen{with(restarted("unhealthy", t0.Add(1)), func(c *Container) { c.Labels = nil })}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
			{0, Seen{with(unhealthy, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "restart2", Restarting},
		},
		"recreated after giving up begins anew": {
			{0, Seen{with(unhealthy, func(c *Container) { c.Labels = map[string]string{"autoheal": " TRUE ", "watchdog.max-attempts": "0"} })}, "critical:gave_up", GivenUp},
			{sec, Seen{with(unhealthy, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "restart1", Restarting},
		},
		"a restart that fails half-way is followed by a start": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, Done{Key: "app", Err: boom, Seen: &exited}, "start", Restarting},
			{sec, ok(fresh), "warning:restarted", Verifying},
		},
		"a start that fails as well waits for the next attempt": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, Done{Key: "app", Err: boom, Seen: &exited}, "start", Restarting},
			{0, Done{Key: "app", Err: boom, Seen: &exited}, "", Waiting},
			{2 * sec, Tick{}, "restart2", Restarting},
		},
		"a restart that is refused is tried again, then given up": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, Done{Key: "app", Err: boom, Seen: &unhealthy}, "", Waiting},
			{2 * sec, Tick{}, "restart2", Restarting},
			{0, Done{Key: "app", Err: boom}, "", Waiting},
			{4 * sec, Tick{}, "restart3", Restarting},
			{0, Done{Key: "app", Err: boom, Seen: &unhealthy}, "critical:gave_up", GivenUp},
		},
		"a restart that succeeds after the client gave up": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{sec, Done{Key: "app", Err: boom, Seen: &fresh}, "warning:restarted", Verifying},
		},
		"nothing is decided while the engine is lost": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Offline{}, "", Waiting},
			{time.Minute, Tick{}, "", Waiting},
			{0, Seen{restarted("healthy", t0.Add(1))}, "", Idle},
			{0, Online{}, "", Idle},
		},
		"an outage does not count against the verdict": {
			{0, Seen{unhealthy}, "restart1", Restarting},
			{0, ok(fresh), "warning:restarted", Verifying},
			{sec, Offline{}, "", Verifying},
			{time.Minute, Tick{}, "", Verifying},
			{0, Online{}, "", Verifying},
			{11*sec - 1, Tick{}, "", Verifying},
			{1, Tick{}, "restart2", Restarting},
		},
		"opting out wins": {
			{0, Seen{with(unhealthy, func(c *Container) { c.Labels["watchdog.enable"] = "false" })}, "", Idle},
		},
		"reset by a person": {
			{0, Seen{with(unhealthy, func(c *Container) {
				c.Labels = map[string]string{"watchdog.enable": "true", "watchdog.max-attempts": "0"}
			})}, "critical:gave_up", GivenUp},
			{0, Reset{"app"}, "", Idle},
		},
	} {
		t.Run(name, func(t *testing.T) {
			runSteps(t, settings(), steps)
		})
	}
}
