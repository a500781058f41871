package recovery

import (
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/report"
)

// The status of a service that waits says for what.
func TestStatusSaysWhatComesNext(t *testing.T) {
	for name, c := range map[string]struct {
		labels []string
		want   Remedy
	}{
		"the default":                        {nil, RemedyRestart},
		"it is to be stopped":                {[]string{"action", "stop"}, RemedyStop},
		"people are to be notified":          {[]string{"action", "notify"}, RemedyNotify},
		"given up, and then stopped":         {[]string{"on-give-up", "stop", "max-attempts", "0"}, RemedyStop},
		"stopped, whatever its attempts are": {[]string{"action", "stop", "max-attempts", "0"}, RemedyStop},
	} {
		// What is held for so long at the most says so, too, and so does its release.
		m := online(t, settings(), labelled("healthy", c.labels...))
		m.Apply(Seen{with(labelled("unhealthy", c.labels...), func(c *Container) { c.Failures = []report.Failure{fails(probe.Starting)} })}, t0)
		if all := m.Status(t0); len(all) != 1 || all[0].Phase != Held.String() || all[0].Next != c.want {
			t.Errorf("%s: held: %+v, want %s", name, all, c.want)
		}
		released := m.Apply(Tick{}, t0.Add(settings().HoldMax))
		if want := map[Remedy]string{RemedyRestart: "restart 1 comes now", RemedyStop: "it is stopped now", RemedyNotify: "people are notified now"}[c.want]; len(released) == 0 || released[0].Event != EventReleased || !strings.HasSuffix(released[0].Text, ": "+want) {
			t.Errorf("%s: %+v, want %q", name, released, want)
		}
		m = NewMachine(settings())
		m.Apply(Online{}, t0)
		m.Apply(Seen{labelled("healthy", c.labels...)}, t0)
		if all := m.Status(t0); len(all) != 1 || all[0].Next != "" {
			t.Errorf("%s: healthy: %+v", name, all)
		}
		m.Apply(SnoozeAsked{Name: "app", Until: t0.Add(time.Minute)}, t0)
		m.Apply(Seen{labelled("unhealthy", c.labels...)}, t0)
		all := m.Status(t0)
		if len(all) != 1 || all[0].Phase != Waiting.String() || all[0].Next != c.want {
			t.Errorf("%s: %+v, want %s", name, all, c.want)
			continue
		}
		// And so it comes.
		var done ActionKind
		for _, a := range m.Apply(Tick{}, t0.Add(time.Minute)) {
			if a.Kind != DoLog && done == "" {
				done = a.Kind
			}
		}
		if want := map[Remedy]ActionKind{RemedyRestart: DoRestart, RemedyStop: DoStop, RemedyNotify: DoAlert}[c.want]; done != want {
			t.Errorf("%s: it was %q, want %q", name, done, want)
		}
	}
}

// Of one that is held, and has no attempts left, people are notified when the
// hold is over.
func TestStatusOfAHoldBeforeAGiveUp(t *testing.T) {
	m := online(t, settings(), labelled("healthy", "max-attempts", "0"))
	m.Apply(Seen{with(labelled("unhealthy", "max-attempts", "0"), func(c *Container) { c.Failures = []report.Failure{fails(probe.Starting)} })}, t0)
	if s := m.Status(t0)[0]; s.Phase != Held.String() || s.Next != RemedyNotify {
		t.Errorf("%+v", s)
	}
	out := m.Apply(Tick{}, t0.Add(settings().HoldMax))
	if summary(out) != "critical:gave_up" || !strings.HasSuffix(out[0].Text, ": people are notified now") {
		t.Errorf("%+v", out)
	}
}
