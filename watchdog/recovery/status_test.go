package recovery

import (
	"testing"
	"time"
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
		m := NewMachine(settings())
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
