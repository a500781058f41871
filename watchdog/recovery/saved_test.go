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

// What became of a call that an earlier run made tell the events that the
// engine repeats: it stopped the container, and did not start it; or it never
// arrived, and a person has stopped the container since.
func TestCutOffCallAndEvents(t *testing.T) {
	began := t0.Add(-time.Minute)
	for stopped, wanted := range map[time.Duration]string{time.Second: "start", 20 * time.Second: ""} {
		m := NewMachine(settings())
		m.Restore(map[string]*Service{"app": {Key: "app", ID: "id1", Name: "app", Phase: Restarting, Attempts: 1, LastRestart: began, Life: Life{Started: t0.Add(-time.Hour)}}}, nil, t0)
		at := began.Add(stopped)
		m.Apply(Signalled{"id1", "15", at}, t0)
		m.Apply(Exited{"id1", 143, at.Add(time.Second)}, t0)
		m.Apply(StopDone{"id1", at.Add(time.Second)}, t0)
		down := with(container("unhealthy"), func(c *Container) { c.State, c.ExitCode, c.FinishedAt = "exited", 143, at.Add(time.Second) })
		want(t, m, CallEnded{Key: "app", Seen: &down, Err: errors.New("cut off")}, t0, wanted)
	}
}

// A run that was ended between a restart that failed half-way and the start
// behind it: the events of that restart come late, and are not a person's.
func TestCutOffStartAndEvents(t *testing.T) {
	began, ended := t0.Add(-time.Minute), t0.Add(-time.Minute+time.Second)
	m := NewMachine(settings())
	m.Restore(map[string]*Service{"app": {Key: "app", ID: "id1", Name: "app", Phase: Launching, Attempts: 1, LastRestart: ended.Add(time.Millisecond),
		Life: Life{Started: t0.Add(-time.Hour), Marks: []Mark{{Kind: Ended, At: ended, Received: ended, ExitCode: 143, Ours: true}}}}}, nil, t0)
	m.Apply(Signalled{"id1", "15", began}, t0)
	m.Apply(Exited{"id1", 143, ended}, t0)
	m.Apply(StopDone{"id1", ended.Add(1)}, t0)
	down := with(container("unhealthy"), func(c *Container) { c.State, c.ExitCode, c.FinishedAt = "exited", 143, ended })
	want(t, m, CallEnded{Key: "app", Seen: &down, Err: errors.New("cut off")}, t0, "")
	m.Apply(Online{}, t0)
	want(t, m, Tick{}, t0.Add(2*time.Second), "restart2")
}

// A clock that was set back lengthens no hold.
func TestHoldAndClock(t *testing.T) {
	ahead := t0.Add(20 * time.Hour)
	m := NewMachine(settings())
	m.Restore(map[string]*Service{
		"app":   {Key: "app", ID: "id1", Name: "app", Phase: Held, Hold: Hold{ForStart, "", ahead}, Due: ahead.Add(5 * time.Minute), Life: Life{Started: t0.Add(-time.Hour)}},
		"other": {Key: "other", ID: "id2", Name: "other", Phase: Held, Hold: Hold{ForDependency, "app", ahead}},
	}, nil, t0)
	if s := m.Services["app"]; !s.Due.Equal(t0.Add(5*time.Minute)) || !s.Hold.Since.Equal(t0) {
		t.Errorf("held since %s until %s", s.Hold.Since, s.Due)
	}
	if s := m.Services["other"]; !s.Due.IsZero() {
		t.Errorf("due at %s", s.Due)
	}
}
