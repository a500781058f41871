package recovery

import (
	"testing"
	"time"
)

// back is before everything that the engine's clock said until now.
var back = t0.Add(-2 * time.Hour)

// A restart behind which the engine's clock was set back is verified as ever:
// its life seems to begin before the one that it ended.
func TestClockSetBackAtARestart(t *testing.T) {
	m := online(t, settings(), container("unhealthy"))
	up := restarted("starting", back)
	want(t, m, CallEnded{Key: "app", Seen: &up}, t0.Add(time.Second), "warning:restarted")
	want(t, m, Seen{restarted("healthy", back)}, t0.Add(2*time.Second), "info:recovered cascade")
	failing := with(restarted("unhealthy", back), func(c *Container) { c.LastOutput = "status 503" })
	want(t, m, Seen{failing}, t0.Add(time.Minute), "restart2")
}

// It is, also where the look behind the call failed, and it is seen but once.
func TestClockSetBackAtARestartThatNobodySaw(t *testing.T) {
	m := online(t, settings(), container("unhealthy"))
	want(t, m, CallEnded{Key: "app"}, t0.Add(time.Second), "warning:restarted")
	want(t, m, Seen{restarted("healthy", back)}, t0.Add(2*time.Second), "info:recovered cascade")
}

// A life that another began behind such a step is believed once it is seen
// again; what is seen once may be an inspection that was overtaken.
func TestClockSetBackAndALifeOfAnothers(t *testing.T) {
	m := online(t, settings(), container("healthy"))
	m.Apply(Signalled{"id1", "15", t0}, t0)
	m.Apply(Exited{"id1", 143, t0.Add(1)}, t0)
	failing := restarted("unhealthy", back)
	want(t, m, Seen{failing}, t0.Add(time.Minute), "")
	want(t, m, Seen{failing}, t0.Add(2*time.Minute), "restart1")
	up := restarted("healthy", back.Add(3*time.Minute))
	want(t, m, CallEnded{Key: "app", Seen: &up}, t0.Add(3*time.Minute), "warning:restarted info:recovered cascade")
	m.Apply(Exited{"id1", 3, back.Add(4 * time.Minute)}, t0.Add(4*time.Minute))
	// What the clock before the step said of the life before is not of this one.
	want(t, m, Seen{with(up, func(c *Container) { c.State, c.ExitCode = "exited", 3 })}, t0.Add(4*time.Minute), "restart2")
}

// What lives in another's network follows it once, also where its own start
// seems to lie before the other's for ever.
func TestClockSetBackAtADependentsRestart(t *testing.T) {
	side := with(joined("healthy"), func(c *Container) { c.StartedAt = t0.Add(-time.Minute) })
	m := online(t, settings(), container("healthy"), side)
	want(t, m, Seen{restarted("healthy", t0)}, t0, "restart0")
	side.StartedAt = back
	want(t, m, CallEnded{Key: "side", Seen: &side}, t0.Add(time.Second), "warning:restarted info:recovered")
	for i := range 3 {
		want(t, m, Seen{restarted("healthy", t0)}, t0.Add(time.Duration(i+1)*time.Minute), "")
	}
	want(t, m, Seen{restarted("healthy", t0.Add(time.Hour))}, t0.Add(time.Hour), "restart0")
}

// Somebody's stop of which the clock says that it is still to come, since the
// clock was set back, is not waited for until then.
func TestClockSetBackBehindAStop(t *testing.T) {
	ahead := t0.Add(12 * time.Hour)
	m := NewMachine(settings())
	m.Restore(map[string]*Service{"app": {Key: "app", ID: "id1", Name: "app", Life: Life{Started: t0.Add(-time.Hour), Marks: []Mark{{Kind: Asked, At: t0, Received: ahead, Signal: "15"}}}}}, nil, t0)
	m.Apply(Online{}, t0)
	want(t, m, Seen{container("unhealthy")}, t0.Add(time.Second), "")
	want(t, m, Seen{container("unhealthy")}, t0.Add(5*time.Minute), "restart1")
}

// The uptime of a container without a healthcheck is this program's to count
// where the engine's clock is ahead.
func TestClockAheadAndUptime(t *testing.T) {
	plain := with(container(""), func(c *Container) { c.HasHealthcheck = false })
	m := online(t, settings(), plain)
	m.Apply(Exited{"id1", 3, t0.Add(1)}, t0)
	down := with(plain, func(c *Container) { c.State, c.ExitCode, c.RestartPolicy = "exited", 3, "on-failure" })
	down.MaxRetries, down.RestartCount = 2, 2
	want(t, m, Seen{down}, t0, "critical:policy_exhausted")
	up := with(plain, func(c *Container) { c.StartedAt = t0.Add(time.Hour) })
	want(t, m, Seen{up}, t0.Add(time.Minute), "")
	want(t, m, Tick{}, t0.Add(time.Minute+minUptime), "info:recovered")
}
