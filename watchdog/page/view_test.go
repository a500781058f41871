package page

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
	"healthcheck/watchdog/timeline"
)

// Incidents are told by the history: from the first alert to what closes it,
// with what was kept since the service began to fail.
func TestIncidents(t *testing.T) {
	d := func(minutes int, service string, phase recovery.Phase, event recovery.Event, sev recovery.Severity, more ...string) store.Decision {
		out := store.Decision{Time: ago(minutes), Service: service, Phase: phase, Event: event, Severity: sev, What: string(event)}
		for _, m := range more {
			switch m {
			case "alert":
				out.Alert = true
			case "closes":
				out.Alert, out.Closes = true, true
			default:
				out.Evidence = m
			}
		}
		return out
	}
	const info, warning, critical = recovery.Info, recovery.Warning, recovery.Critical
	history := store.History{
		// Healthy by itself before any alert: no incident, and its evidence is none
		// of the next one's.
		d(90, "app", recovery.Restarting, recovery.EventRestarting, info, "E0"),
		d(89, "app", recovery.Idle, recovery.EventHealthyAgain, info),
		// Two restarts, given up, reset.
		d(80, "app", recovery.Restarting, recovery.EventRestarting, info, "E1"),
		d(79, "app", recovery.Verifying, recovery.EventRestarted, warning, "alert"),
		d(78, "app", recovery.Restarting, recovery.EventRestarting, info, "E2"),
		d(77, "app", recovery.GivenUp, recovery.EventGaveUp, critical, "alert"),
		d(76, "app", recovery.Verifying, recovery.EventRestarted, warning, "alert"),
		d(75, "app", recovery.Idle, recovery.EventReset, info, "closes"),
		d(74, "app", recovery.Idle, recovery.EventLabelIgnored, warning),
		// One that nobody watches, restarted for another's sake, and a dry run: what
		// is over as it is reported is no incident.
		d(70, "side", recovery.Restarting, recovery.EventRestarting, info, "E3"),
		d(69, "side", recovery.Verifying, recovery.EventRestarted, warning, "closes"),
		d(68, "side", recovery.Idle, recovery.EventRecovered, info, "alert"),
		d(67, "dry", recovery.Waiting, recovery.EventWaiting, info),
		d(66, "dry", recovery.Rehearsed, recovery.EventDryRun, warning, "closes"),
		// An alert about all of them, and one that is still open.
		d(60, "", recovery.Idle, recovery.EventThrottled, critical, "alert"),
		d(59, "", recovery.Idle, recovery.EventThrottleOver, info, "closes"),
		d(50, "web", recovery.Held, recovery.EventHeld, info),
		d(49, "web", recovery.Held, recovery.EventHeld, warning, "alert"),
		d(40, "lost", recovery.Held, recovery.EventHeld, warning, "alert"),
		d(30, "", recovery.Idle, recovery.EventStarted, info, "closes"),
		d(20, "old", recovery.Restarting, recovery.EventRestarting, info),
	}
	open := map[string]*alert.Incident{"service web": {}, "service old": {Opened: ago(3000), Last: alert.Message{Severity: critical, Title: "old"}}, "engine": {Opened: ago(5), Last: alert.Message{Severity: critical, Title: "lost"}}}
	var got []string
	for _, inc := range incidents(history, open) {
		line := fmt.Sprintf("%s/%s open=%v %s %s since %d", inc.Subject, inc.Service, inc.Open, inc.Severity, inc.What, int(t0.Sub(inc.Opened).Minutes()))
		if !inc.Closed.IsZero() {
			line += fmt.Sprintf(" until %d by %s", int(t0.Sub(inc.Closed).Minutes()), inc.Outcome)
		}
		got = append(got, strings.TrimSpace(line+" "+strings.Join(inc.Evidence, ",")))
	}
	want := []string{
		"engine/ open=true critical lost since 5",
		"service web/web open=true warning held since 49",
		"service old/old open=true critical old since 3000",
		"service lost/lost open=false warning held since 40",
		"throttle/ open=false critical throttled since 60 until 59 by throttle_over",
		"service app/app open=false critical restarted since 79 until 75 by reset E1,E2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What is short and bad is wide enough to be seen, over what is better; the
// present is over all.
func TestBars(t *testing.T) {
	segments := line(timeline.Healthy, 2000, timeline.Restarting, 720, timeline.Healthy, 719, timeline.GivenUp, 300, timeline.Healthy, 299, timeline.Unhealthy, 2, timeline.Held, 1).Segments(t0.Add(-timeline.Span), t0)
	var got []string
	for _, b := range bars(segments, t0) {
		got = append(got, fmt.Sprintf("%s %s+%s", b.State, b.X, b.Width))
	}
	want := []string{"healthy 0%+50%", "healthy 50.07%+29.1%", "healthy 79.24%+20.62%", "restarting 50%+0.4%", "unhealthy 99.6%+0.4%", "given up 79.17%+0.4%", "held 99.6%+0.4%"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if b := bars(nil, t0); len(b) != 0 {
		t.Errorf("%v", b)
	}
}

func TestCheckViews(t *testing.T) {
	v := newCheckView("s", check("memory", probe.OK, 80, 0, 40, 100), t0)
	if v.Figure != "100 (limit 80)" || v.Points != "58,15 59,9.4 60,1" || v.Limit != "3.8" || v.Dot != nil || v.Summary != "last hour: lowest 0, highest 100" || v.Status != "ok" {
		t.Errorf("%+v", v)
	}
	if v := newCheckView("s", check("memory", probe.OK, 80, 20, 40), t0); v.Points != "59,11.5 60,8" || v.Limit != "1" {
		t.Errorf("far from its limit: %+v", v)
	}
	if v := newCheckView("s", check("x", probe.Warn, 0, 7), t0); v.Figure != "7" || v.Dot == nil || *v.Dot != (dot{"60", "1"}) || v.Limit != "" || v.Status != "warning" {
		t.Errorf("%+v", v)
	}
	c := check("api", probe.Fail, 0)
	c.Trend.Note(0.0031, ago(30))
	c.Trend.Note(0.0031, ago(0))
	if v := newCheckView("s", c, t0); v.Figure != "3ms" || v.Points != "30,1 60,1" || v.Summary != "last hour: lowest 3ms, highest 3ms" || v.Status != "failed" {
		t.Errorf("%+v", v)
	}
	if v := newCheckView("s", check("api", probe.Skip, 0), t0.Add(2*time.Hour)); v.Points != "" || v.Status != "not run" {
		t.Errorf("%+v", v)
	}
}
