package alert

import (
	"strings"
	"testing"
	"time"

	"healthcheck/watchdog/recovery"
)

func alertOf(sev recovery.Severity, event recovery.Event, key string) recovery.Action {
	return recovery.Action{Kind: recovery.DoAlert, Severity: sev, Event: event, Key: key, Name: key, Attempt: 1, Policy: recovery.DefaultPolicy(), Text: string(event), Output: "status 503\x1b[31m"}
}

// urls are the receivers of deliveries, in brief.
func urls(all []Delivery) string {
	var out []string
	for _, d := range all {
		prefix, _, _ := strings.Cut(d.Text, ":")
		if !strings.HasPrefix(d.Text, "resolved") && !strings.HasPrefix(d.Text, "unresolved") {
			prefix = "sent"
		}
		out = append(out, d.URL+"="+prefix)
	}
	return strings.Join(out, " ")
}

func TestRouter(t *testing.T) {
	r := &Router{Host: "h", Every: time.Hour, Sinks: []Sink{{recovery.Info, "info"}, {recovery.Warning, "warn"}, {recovery.Critical, "crit"}}, Escalations: []Escalation{{15 * time.Minute, "boss"}, {time.Hour, "ceo"}}}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, c := range []struct {
		after time.Duration
		a     *recovery.Action // nil: time passes
		want  string
	}{
		{0, new(alertOf(recovery.Warning, "restarted", "app")), "info=sent warn=sent"},
		{time.Minute, new(alertOf(recovery.Info, "recovered", "app")), "info=resolved warn=resolved"},
		{time.Minute, new(alertOf(recovery.Warning, "restarted", "app")), ""}, // within the hour
		{time.Minute, new(alertOf(recovery.Warning, "restarted", "db")), "info=sent warn=sent"},
		{time.Minute, new(alertOf(recovery.Critical, "gave_up", "app")), "crit=sent info=sent warn=sent"},
		{14 * time.Minute, nil, ""},
		{time.Minute, nil, "boss=unresolved for 15m0s"},
		{time.Minute, nil, ""},
		{44 * time.Minute, nil, "ceo=unresolved for 1h0m0s"},
		{time.Hour, nil, ""},
		{time.Minute, new(alertOf(recovery.Info, "recovered", "app")), "boss=resolved ceo=resolved crit=resolved info=resolved warn=resolved"},
		{time.Hour, nil, ""},
		{0, new(alertOf(recovery.Info, "recovered", "nobody")), "info=resolved"},
		{0, new(alertOf(recovery.Critical, "engine_lost", "")), "crit=sent info=sent warn=sent"},
		{time.Minute, new(alertOf(recovery.Info, "engine_back", "")), "crit=resolved info=resolved warn=resolved"},
		{2 * time.Hour, nil, ""},
	} {
		now = now.Add(c.after)
		var got []Delivery
		if c.a != nil {
			got = r.Route(*c.a, now)
		} else {
			got = r.Tick(now)
		}
		if urls(got) != c.want {
			t.Fatalf("step %d: %q, want %q", i, urls(got), c.want)
		}
	}
	if next := r.Next(); !next.IsZero() {
		t.Errorf("next at %s", next)
	}
}
