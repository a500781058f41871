package recovery

import (
	"errors"
	"testing"
	"time"
)

func ok(c Container) Message { return CallEnded{Key: "app", Seen: &c} }

func TestTransitions(t *testing.T) {
	sec := time.Second
	boom := errors.New("500: boom")
	failing, healthy, fresh := container("unhealthy"), container("healthy"), restarted("starting", t0.Add(sec))
	exited := with(container("unhealthy"), func(c *Container) { c.State, c.ExitCode = "exited", 3 })
	for name, steps := range map[string][]step{
		"recovers on the first restart": {
			{0, Seen{healthy}, "", Idle},
			{0, Seen{failing}, "restart1", Restarting},
			{sec, ok(fresh), "warning:restarted", Verifying},
			{sec, Seen{restarted("healthy", fresh.StartedAt)}, "info:recovered cascade", Idle},
		},
		"backs off, then gives up with one alert": {
			{0, Seen{failing}, "restart1", Restarting},
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
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(restarted("healthy", t0.Add(1))), "warning:restarted info:recovered cascade", Idle},
			{9 * time.Minute, Seen{restarted("unhealthy", t0.Add(1))}, "restart2", Restarting},
		},
		"no verdict in time is a failure": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(fresh), "warning:restarted", Verifying},
			{12*sec - 1, Tick{}, "", Verifying}, // 1 × (1 s + 1 s) + 10 s
			{1, Tick{}, "restart2", Restarting}, // the backoff has passed meanwhile
		},
		"healthy by itself during the backoff": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{restarted("healthy", t0.Add(1))}, "info:recovered", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"a pause leaves 'unhealthy' behind": {
			{0, Seen{with(failing, func(c *Container) { c.State = "paused"; c.FailingStreak = 0 })}, "", Idle},
			{sec, Seen{with(failing, func(c *Container) { c.FailingStreak = 0 })}, "", Idle},
			{sec, Seen{failing}, "restart1", Restarting},
		},
		"paused in the middle is left alone": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{with(restarted("unhealthy", t0.Add(1)), func(c *Container) { c.State = "paused" })}, "info:left_alone", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"stopped by a person in the middle is left alone": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Signalled{"id1", "15", t0.Add(sec)}, "info:left_alone", Idle},
			{0, Exited{"id1", 0, t0.Add(sec)}, "", Idle},
			{0, Seen{with(exited, func(c *Container) { c.StartedAt = t0.Add(1) })}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"stopped by a person is left alone": {
			{0, Seen{healthy}, "", Idle},
			{0, Signalled{"id1", "15", t0}, "", Idle},
			{0, Exited{"id1", 137, t0}, "", Idle},
			{0, Seen{exited}, "", Idle},
		},
		"died by itself": {
			{0, Seen{healthy}, "", Idle},
			{0, Exited{"id1", 3, t0}, "", Idle},
			{0, Seen{exited}, "restart1", Restarting},
			{sec, ok(restarted("healthy", t0.Add(sec))), "warning:restarted info:recovered cascade", Idle},
		},
		"a probe that fails as the container ends is no illness": {
			{0, Seen{healthy}, "", Idle},
			{0, Seen{with(failing, func(c *Container) { c.ProbeInterrupted = true })}, "", Idle},
			{0, Exited{"id1", 3, t0}, "", Idle},
			{0, Seen{with(exited, func(c *Container) { c.RestartPolicy = "always" })}, "", Idle},
		},
		"one that seems to end, and does not, is failing": {
			{0, Seen{with(failing, func(c *Container) { c.ProbeInterrupted, c.FailingStreak = true, 2 })}, "", Idle},
			{0, Seen{with(failing, func(c *Container) { c.ProbeInterrupted, c.FailingStreak = true, 3 })}, "restart1", Restarting},
		},
		"a signal that does not end it is not a stop": {
			{0, Seen{healthy}, "", Idle},
			{0, Signalled{"id1", "10", t0}, "", Idle},
			{0, Exited{"id1", 3, t0}, "", Idle},
			{0, Seen{exited}, "restart1", Restarting},
		},
		"found dead is left alone, with a warning: nobody saw why": {
			{0, Seen{healthy}, "", Idle},
			{0, Seen{exited}, "warning:vanished", Idle},
			{sec, Seen{exited}, "", Idle},
		},
		"its own restart policy revives it": {
			{0, Seen{healthy}, "", Idle},
			{0, Exited{"id1", 3, t0}, "", Idle},
			{0, Seen{with(exited, func(c *Container) { c.RestartPolicy = "always" })}, "", Idle},
		},
		"echoes of its own restart are no stop": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, Signalled{"id1", "15", t0.Add(sec / 2)}, "", Restarting},
			{sec, ok(fresh), "warning:restarted", Verifying},
			{0, Signalled{"id1", "15", t0.Add(sec / 2)}, "", Verifying},
			{0, Exited{"id1", 137, t0.Add(sec / 2)}, "", Verifying},
			{sec, Exited{"id1", 3, t0.Add(2 * sec)}, "", Verifying}, // this is a new one
			{0, Seen{with(exited, func(c *Container) { c.StartedAt = fresh.StartedAt })}, "", Waiting},
		},
		"restarted by somebody else in the backoff": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{restarted("starting", t0.Add(sec))}, "", Idle},
			{time.Minute, Tick{}, "", Idle},
			{0, Seen{restarted("unhealthy", t0.Add(sec))}, "restart2", Restarting},
		},
		"vanishes": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, CallEnded{Key: "app", Err: boom, Missing: true}, "", Idle},
		},
		"vanishes in the backoff": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Destroyed{"id1"}, "info:removed", Idle},
			{time.Minute, Tick{}, "", Idle},
		},
		"recreated in the middle keeps the count": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Destroyed{"id1"}, "info:removed", Idle},
			{sec, Seen{with(failing, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "", Waiting},
			{sec, Tick{}, "restart2", Restarting},
		},
		"the old container beside the new one changes nothing": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{sec, Seen{with(failing, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "info:recreated", Waiting},
			{0, Seen{with(exited, func(c *Container) { c.StartedAt = t0.Add(1) })}, "", Waiting},
			{0, Seen{with(container("healthy"), func(c *Container) { c.StartedAt = t0.Add(1) })}, "", Waiting},
			{sec, Tick{}, "restart2", Restarting},
		},
		"what is not watched for a while keeps its count": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Seen{with(restarted("unhealthy", t0.Add(1)), func(c *Container) { c.Labels = nil })}, "info:opted_out", Idle},
			{time.Minute, Tick{}, "", Idle},
			{0, Seen{with(failing, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "restart2", Restarting},
		},
		"recreated after giving up begins anew": {
			{0, Seen{with(failing, func(c *Container) { c.Labels = map[string]string{"autoheal": " TRUE ", "watchdog.max-attempts": "0"} })}, "critical:gave_up", GivenUp},
			{sec, Seen{with(failing, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(sec) })}, "info:recreated restart1", Restarting},
		},
		"removed by force after giving up, and recreated, begins anew": {
			{0, Seen{with(failing, func(c *Container) { c.Labels["watchdog.max-attempts"] = "0" })}, "critical:gave_up", GivenUp},
			{sec, Signalled{"id1", "9", t0.Add(sec)}, "", GivenUp},
			{0, Exited{"id1", 137, t0.Add(sec)}, "", GivenUp},
			{0, Seen{exited}, "info:left_alone", GivenUp},
			{0, Destroyed{"id1"}, "", GivenUp},
			{sec, Seen{with(failing, func(c *Container) { c.ID, c.StartedAt = "id2", t0.Add(2*sec) })}, "restart1", Restarting},
		},
		"given up, and started again by a person, is alerted again": {
			{0, Seen{with(failing, func(c *Container) { c.Labels["watchdog.max-attempts"] = "0" })}, "critical:gave_up", GivenUp},
			{sec, Signalled{"id1", "15", t0.Add(sec)}, "", GivenUp},
			{0, Exited{"id1", 0, t0.Add(sec)}, "", GivenUp},
			{0, Seen{exited}, "info:left_alone", GivenUp},
			{sec, Seen{with(restarted("starting", t0.Add(2*sec)), func(c *Container) { c.Labels["watchdog.max-attempts"] = "0" })}, "", Idle},
			{sec, Seen{with(restarted("unhealthy", t0.Add(2*sec)), func(c *Container) { c.Labels["watchdog.max-attempts"] = "0" })}, "critical:gave_up", GivenUp},
		},
		"a restart that fails half-way is followed by a start": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, CallEnded{Key: "app", Err: boom, Seen: &exited}, "start", Launching},
			{sec, ok(fresh), "warning:restarted", Verifying},
		},
		"a start that fails as well waits for the next attempt": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, CallEnded{Key: "app", Err: boom, Seen: &exited}, "start", Launching},
			{0, CallEnded{Key: "app", Err: boom, Seen: &exited}, "", Waiting},
			{2 * sec, Tick{}, "restart2", Restarting},
		},
		"a restart that is refused is tried again, then given up": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, CallEnded{Key: "app", Err: boom, Seen: &failing}, "", Waiting},
			{2 * sec, Tick{}, "restart2", Restarting},
			{0, CallEnded{Key: "app", Err: boom}, "", Waiting},
			{4 * sec, Tick{}, "restart3", Restarting},
			{0, CallEnded{Key: "app", Err: boom, Seen: &failing}, "critical:gave_up", GivenUp},
		},
		"a restart that succeeds after the client gave up": {
			{0, Seen{failing}, "restart1", Restarting},
			{sec, CallEnded{Key: "app", Err: boom, Seen: &fresh}, "warning:restarted", Verifying},
		},
		"nothing is decided while the engine is lost": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(restarted("unhealthy", t0.Add(1))), "warning:restarted", Waiting},
			{0, Offline{}, "", Waiting},
			{time.Minute, Tick{}, "", Waiting},
			{0, Seen{restarted("healthy", t0.Add(1))}, "info:recovered", Idle},
			{0, Online{}, "", Idle},
		},
		"an outage does not count against the verdict": {
			{0, Seen{failing}, "restart1", Restarting},
			{0, ok(fresh), "warning:restarted", Verifying},
			{sec, Offline{}, "", Verifying},
			{time.Minute, Tick{}, "", Verifying},
			{0, Online{}, "", Verifying},
			{11*sec - 1, Tick{}, "", Verifying},
			{1, Tick{}, "restart2", Restarting},
		},
		"opting out wins": {
			{0, Seen{with(failing, func(c *Container) { c.Labels["watchdog.enable"] = "false" })}, "", Idle},
		},
		"reset by a person": {
			{0, Seen{with(failing, func(c *Container) {
				c.Labels = map[string]string{"watchdog.enable": "true", "watchdog.max-attempts": "0"}
			})}, "critical:gave_up", GivenUp},
			{0, ResetAsked{"app"}, "info:reset", Idle},
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, settings(), steps)
		})
	}
}

func TestUnhealthyFor(t *testing.T) {
	s := settings()
	s.UnhealthyFor = time.Minute
	run(t, s, []step{
		{0, Seen{container("unhealthy")}, "", Waiting},
		{30 * time.Second, Seen{container("unhealthy")}, "", Waiting},
		{30 * time.Second, Tick{}, "restart1", Restarting},
	})
	run(t, s, []step{
		{0, Seen{container("unhealthy")}, "", Waiting},
		{30 * time.Second, Seen{container("healthy")}, "", Idle},
		{10 * time.Second, Seen{container("unhealthy")}, "", Waiting},
		{50 * time.Second, Tick{}, "", Waiting},
		{10 * time.Second, Tick{}, "restart1", Restarting},
	})
}
