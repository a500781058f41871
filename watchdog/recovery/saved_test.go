package recovery

import (
	"errors"
	"testing"
	"time"
)

// The end of a call that an earlier run made is judged by the container's own
// labels, which no file has kept.
func TestCutOffCallAndLabels(t *testing.T) {
	saved := func() map[string]*Service {
		return map[string]*Service{"app": {Key: "app", ID: "id1", Name: "app", Phase: Restarting, Attempts: 1, LastRestart: t0.Add(-time.Second), Life: Life{Started: t0.Add(-time.Hour)}}}
	}
	m := NewMachine(settings())
	m.Restore(saved(), nil, t0)
	limited := with(container("unhealthy"), func(c *Container) { c.Labels["watchdog.max-attempts"] = "1" })
	want(t, m, CallEnded{Key: "app", Seen: &limited, Err: errors.New("cut off")}, t0, "critical:gave_up")

	m = NewMachine(settings())
	m.Restore(saved(), nil, t0)
	patient := with(container("unhealthy"), func(c *Container) { c.Labels["watchdog.backoff-base"] = "15s" })
	want(t, m, CallEnded{Key: "app", Seen: &patient, Err: errors.New("cut off")}, t0, "")
	m.Apply(Online{}, t0)
	want(t, m, Tick{}, t0.Add(29*time.Second), "")
	want(t, m, Tick{}, t0.Add(30*time.Second), "restart2")
}

// The labels of what waits are not known either, until it is seen.
func TestWaitingAndLabels(t *testing.T) {
	for value, wanted := range map[string]string{"1": "critical:gave_up", "3": ""} {
		m := NewMachine(settings())
		m.Restore(map[string]*Service{"app": {Key: "app", ID: "id1", Name: "app", Phase: Waiting, Attempts: 1, Due: t0.Add(2 * time.Second), LastRestart: t0, Life: Life{Started: t0.Add(-time.Hour)}}}, nil, t0)
		want(t, m, Seen{with(container("unhealthy"), func(c *Container) {
			c.Labels["watchdog.max-attempts"], c.Labels["watchdog.backoff-base"] = value, "15s"
		})}, t0, wanted)
		m.Apply(Online{}, t0)
		want(t, m, Tick{}, t0.Add(29*time.Second), "")
	}
}
