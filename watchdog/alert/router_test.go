package alert

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"healthcheck/watchdog/recovery"
)

func alertOf(sev recovery.Severity, event recovery.Event, key string) recovery.Action {
	return recovery.Action{Closes: sev == recovery.Info, Kind: recovery.DoAlert, Severity: sev, Event: event, Key: key, Name: key, Attempt: 1, Policy: recovery.DefaultPolicy(), Text: string(event), Output: "status 503\x1b[31m"}
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
	r := &Router{Host: "h", Every: time.Hour, Sinks: []Sink{{MinSeverity: recovery.Info, URL: "info"}, {MinSeverity: recovery.Warning, URL: "warn"}, {MinSeverity: recovery.Critical, URL: "crit"}}, Escalations: []Escalation{{15 * time.Minute, "boss"}, {time.Hour, "ceo"}}}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, c := range []struct {
		after time.Duration
		a     *recovery.Action // nil: time passes
		want  string
	}{
		{0, new(alertOf(recovery.Warning, "restarted", "app")), "info=sent warn=sent"},
		{time.Minute, new(alertOf(recovery.Info, "recovered", "app")), "info=resolved warn=resolved"},
		{time.Minute, new(alertOf(recovery.Warning, "restarted", "app")), "info=sent warn=sent"}, // a new incident
		{time.Minute, new(alertOf(recovery.Warning, "restarted", "app")), ""},                    // the same, within the hour
		{time.Minute, new(alertOf(recovery.Warning, "restarted", "db")), "info=sent warn=sent"},
		{time.Minute, new(alertOf(recovery.Critical, "gave_up", "app")), "crit=sent info=sent warn=sent"},
		{14 * time.Minute, nil, ""},
		{time.Minute, nil, "boss=unresolved for 15m0s"},
		{time.Minute, nil, ""},
		{44 * time.Minute, nil, "ceo=unresolved for 1h0m0s"},
		{time.Hour, nil, ""},
		{time.Minute, new(alertOf(recovery.Info, "recovered", "app")), "boss=resolved ceo=resolved crit=resolved info=resolved warn=resolved"},
		{time.Hour, nil, ""},
		{0, new(alertOf(recovery.Info, "recovered", "nobody")), "info=sent"},
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

// A router that was saved and restored goes on: nothing is repeated, what is
// due comes, and the end reaches those who were notified. Addresses are not
// saved.
func TestRouterRestored(t *testing.T) {
	fresh := func() *Router {
		return &Router{Host: "h", Every: time.Hour, Sinks: []Sink{{MinSeverity: recovery.Warning, URL: "slack://TOKEN@x"}}, Escalations: []Escalation{{15 * time.Minute, "boss"}}}
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := fresh()
	r.Route(alertOf(recovery.Critical, "gave_up", "app"), now)
	saved, err := json.Marshal(State{Incidents: r.Incidents()})
	if err != nil || strings.Contains(string(saved), "TOKEN") {
		t.Fatalf("%s, %v", saved, err)
	}
	var state State
	if err := json.Unmarshal(saved, &state); err != nil {
		t.Fatal(err)
	}
	r = fresh()
	r.Restore(state.Incidents, now)
	if got := urls(r.Route(alertOf(recovery.Critical, "gave_up", "app"), now.Add(time.Minute))); got != "" {
		t.Errorf("repeated: %s", got)
	}
	if next := r.Next(); !next.Equal(now.Add(15 * time.Minute)) {
		t.Errorf("the escalation is due at %s", next)
	}
	if got := urls(r.Tick(now.Add(15 * time.Minute))); got != "boss=unresolved for 15m0s" {
		t.Errorf("escalated: %s", got)
	}
	state.Incidents = r.Incidents()
	r = fresh()
	r.Restore(state.Incidents, now)
	if got := urls(r.Tick(now.Add(time.Hour))); got != "" {
		t.Errorf("escalated twice: %s", got)
	}
	if got := urls(r.Route(alertOf(recovery.Info, "removed", "app"), now.Add(time.Hour))); got != "boss=resolved slack://TOKEN@x=resolved" {
		t.Errorf("resolved: %s", got)
	}
	// The next give-up is news.
	if got := urls(r.Route(alertOf(recovery.Critical, "gave_up", "app"), now.Add(61*time.Minute))); got != "slack://TOKEN@x=sent" {
		t.Errorf("the next: %s", got)
	}
}
