package watchdog

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// What is kept of a container is printable and holds no secret.
func TestNewEvidence(t *testing.T) {
	raw := docker.Evidence{
		Logs: []byte("one\nDB_PASSWORD=hunter2\x1b[2J\n"), Top: [][]string{{"PID", "CMD"}, {"1", "app --token=hunter2\nx"}}, Stats: []byte(`{"a":1}`),
		Inspection: []byte(`{"Config":{"Env":["API_TOKEN=hunter2"]},"State":{"Health":{"Log":[{"Start":"2026-01-02T03:04:05Z","End":"2026-01-02T03:04:06Z","ExitCode":1,"Output":"\u001b[2J redis://:hunter2@h"}]}}}`),
	}
	e := newEvidence(recovery.Action{Evidence: "x", Key: "app", Cause: "postgres://u:hunter2@h"}, raw, time.Time{})
	if e.Logs != "one\nDB_PASSWORD=***" && e.Logs != "one\nDB_PASSWORD=***\n" {
		t.Errorf("%q", e.Logs)
	}
	if len(e.Probes) != 1 || e.Probes[0].Output != "?[2J redis://:***@h" || e.Probes[0].ExitCode != 1 || len(e.Top) != 2 || e.Top[1][1] != "app --token=*** x" {
		t.Errorf("%+v %q", e.Probes, e.Top)
	}
	if text := string(e.Inspection) + e.Cause; strings.Contains(text, "hunter2") || !strings.Contains(text, "API_TOKEN=***") {
		t.Error(text)
	}
	if got := lastLines("a\nb\nc\n", 2); got != "b\nc" {
		t.Errorf("%q", got)
	}
	if got := lastLines("a\n", 0); got != "" {
		t.Errorf("%q", got)
	}
}

// A restart waits for evidence for two seconds and no longer, and comes whether
// or not there is any; the alert shows what was asked for.
func TestDaemonTakesEvidence(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		waits time.Duration
		hangs bool // the disk does, from when the evidence is there
	}{
		{"in time", time.Second, time.Second, false}, {"too late", time.Hour, evidenceTime, false},
		{"the disk hangs", time.Second, evidenceTime + saveWait, true}, // the decision waits for the disk, too
	} {
		t.Run(c.name, func(t *testing.T) {
			engine := newFakeEngine(container("healthy"))
			file := store.File{Path: filepath.Join(t.TempDir(), "state.json")}
			synctest.Test(t, func(t *testing.T) {
				var hangs atomic.Bool
				free := make(chan struct{})
				file.Hang = func() {
					if hangs.Load() {
						<-free
					}
				}
				engine.stream = make(chan docker.Message)
				log := &syncBuffer{}
				var sent []alert.Delivery
				d := &Daemon{Engine: engine, Settings: settings(), File: file, Log: slog.New(slog.NewTextHandler(log, nil)), Reconcile: time.Minute, EvidenceLines: 1,
					Evidence: func(ctx context.Context, id string) docker.Evidence {
						select {
						case <-time.After(c.takes):
							hangs.Store(c.hangs)
							return docker.Evidence{Logs: []byte("first\nlast of " + id)}
						case <-ctx.Done():
							<-time.After(time.Minute) // an engine that hangs
							return docker.Evidence{}
						}
					}}
				d.Alerts = &alert.Notifier{Router: alert.Router{Sinks: []alert.Sink{{MinSeverity: recovery.Warning, URL: "generic://x"}}, Every: time.Hour}, Log: d.Log,
					Send: func(m alert.Delivery) error { sent = append(sent, m); return nil }, Changed: d.AlertsChanged}
				ctx, cancel := context.WithCancel(t.Context())
				d.Alerts.Start(ctx, alert.State{}, time.Now())
				ended := make(chan struct{})
				go func() { defer close(ended); d.Run(ctx) }()
				synctest.Wait()
				engine.set("id1", "health_status", makeUnhealthy)
				synctest.Wait()
				time.Sleep(c.waits - time.Millisecond)
				if synctest.Wait(); engine.restarted() != 0 {
					t.Error("restarted before there was evidence")
				}
				time.Sleep(2 * time.Millisecond)
				if synctest.Wait(); engine.restarted() != 1 {
					t.Errorf("%d restarts after %s", engine.restarted(), c.waits)
				}
				if c.hangs {
					close(free)
				}
				time.Sleep(longestGap) // behind a slow save the next one waits, and what it reports
				synctest.Wait()
				id := ""
				for _, decision := range d.History(ctx) {
					if decision.Evidence != "" {
						id = decision.Evidence
					}
				}
				e, err := d.Kept(id)
				kept := c.takes == c.waits
				if kept != (err == nil) || kept && !strings.HasSuffix(e.Logs, "last of id1") {
					t.Errorf("%q: %+v, %v", id, e, err)
				}
				if kept == strings.Contains(log.String(), "event=no_evidence") {
					t.Error(log.String())
				}
				if len(sent) == 0 || strings.Contains(sent[0].Text, "first") || kept != strings.Contains(sent[0].Text, "last lines of its log: last of id1") {
					t.Errorf("%+v", sent)
				}
				time.Sleep(2 * time.Minute)
				cancel()
				<-ended
				d.Alerts.Wait()
				if len(d.lines) != 0 {
					t.Errorf("kept for ever: %v", d.lines)
				}
			})
		})
	}
}
