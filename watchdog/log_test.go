package watchdog

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"healthcheck/watchdog/recovery"
)

// The keys of a decision's log line, which people search for and alert on, in
// both formats.
func TestLogKeys(t *testing.T) {
	a := recovery.Action{Kind: recovery.DoAlert, Event: recovery.EventGaveUp, Severity: recovery.Critical, Key: "p/web/1", ID: "0123456789abcdef", Name: "p-web-1",
		Phase: recovery.GivenUp, Attempt: 3, Delay: time.Second, Text: "gave up", Cause: "unhealthy: 1 probes failed in a row", Output: "pool exhausted\x1b[31m"}
	var out bytes.Buffer
	(&Daemon{Log: slog.New(slog.NewTextHandler(&out, nil))}).log(a)
	want := `level=ERROR msg="gave up" event=gave_up severity=critical phase="given up" service=p/web/1 container=p-web-1 id=0123456789ab attempt=3 delay=1s cause="unhealthy: 1 probes failed in a row" output="pool exhausted\x1b[31m"` + "\n"
	if _, got, _ := strings.Cut(out.String(), " "); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	out.Reset()
	(&Daemon{Log: slog.New(slog.NewJSONHandler(&out, nil))}).log(a)
	var line struct {
		Event, Severity, Phase, Service, Container, ID, Cause, Output string
		Attempt, Delay                                                int
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line.Event != "gave_up" || line.Severity != "critical" || line.Phase != "given up" || line.Service != a.Key || line.Container != a.Name ||
		line.ID != "0123456789ab" || line.Attempt != 3 || line.Delay != int(time.Second) || line.Cause != a.Cause || line.Output != a.Output {
		t.Errorf("%+v", line)
	}
	// What concerns all services has none of a service's keys.
	out.Reset()
	(&Daemon{Log: slog.New(slog.NewTextHandler(&out, nil))}).log(recovery.Action{Event: recovery.EventThrottled, Text: "storm"})
	if _, got, _ := strings.Cut(out.String(), " "); got != "level=INFO msg=storm event=throttled\n" {
		t.Errorf("got %s", got)
	}
}

// The phase in a log line is the one after the decision.
func TestLogPhases(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	withDaemon(t, engine, func(d *Daemon, log *syncBuffer) {
		engine.set("id1", "health_status", makeUnhealthy)
		time.Sleep(11 * time.Minute)
		for _, part := range []string{"event=restarting phase=restarting", "event=restarted phase=verifying", "event=recovered phase=watching", "event=stable phase=watching"} {
			if !strings.Contains(log.String(), part) {
				t.Errorf("no %q in\n%s", part, log)
			}
		}
		if h := d.History(context.Background()); len(h) != 4 || h[0].Event != recovery.EventRestarting || h[3].Event != recovery.EventStable {
			t.Errorf("the history is %+v", h)
		}
	})
}
