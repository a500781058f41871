package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// What a restart destroys is kept: what the container wrote, ran and used, and
// what its probes said. Secrets are not.
func TestWatchdogEvidence(t *testing.T) {
	t.Parallel()
	name := newContainer(t, "--env", "SAYS=connecting to redis://:hunter2@cache with API_TOKEN=hunter2", "--env", "DB_PASSWORD=hunter2")
	d := startWatchdog(t, nil, "--services", name, "--evidence")
	ask := func(args ...string) string {
		t.Helper()
		out, code := output(t, []string{"WATCHDOG_CONTROL=" + filepath.Join(d.dir, "control.sock")}, filepath.Join(bin, "watchdog"), args...)
		if code != 0 {
			t.Fatalf("%v: exit %d: %s", args, code, out)
		}
		return out
	}
	waitFor(t, name, "healthy")
	dockerExec(t, name, "/testapp", "fail", "1")
	d.waitForN(t, name, "recovered in ", 1)
	var history []struct{ Event, Evidence string }
	if err := json.Unmarshal([]byte(ask("history", name, "--output", "json")), &history); err != nil {
		t.Fatal(err)
	}
	id := ""
	for _, h := range history {
		if h.Event == "restarting" {
			id = h.Evidence
		}
	}
	if id == "" || !strings.Contains(ask("history", name), id) {
		t.Fatalf("no evidence in %v:\n%s", history, d.log)
	}
	text := ask("history", "--show", id)
	for _, want := range []string{name, "cause: unhealthy: 1 probes failed in a row: pool exhausted", "exit 1: pool exhausted", "/testapp serve",
		"connecting to redis://:***@cache with API_TOKEN=***", `"memory_stats"`, `"DB_PASSWORD=***"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "hunter2") {
		t.Errorf("a secret in\n%s", text)
	}
}

// A person who works on a container keeps the watchdog away from it, for a
// time.
func TestWatchdogSnooze(t *testing.T) {
	t.Parallel()
	name := newContainer(t)
	d := startWatchdog(t, nil, "--services", name)
	control := func(args ...string) string {
		t.Helper()
		out, code := output(t, []string{"WATCHDOG_CONTROL=" + filepath.Join(d.dir, "control.sock")}, filepath.Join(bin, "watchdog"), args...)
		if code != 0 {
			t.Fatalf("%v: exit %d: %s", args, code, out)
		}
		return out
	}
	waitFor(t, name, "healthy")
	control("snooze", name, "1h", "--reason", "repair")
	dockerExec(t, name, "/testapp", "fail", "1")
	d.waitForN(t, name, "not restarted before ", 1)
	d.never(t, name, "restart ")
	if text := control("status"); !strings.Contains(text, "snoozed by a person: repair") {
		t.Error(text)
	}
	control("resume", name)
	d.waitForN(t, name, "recovered in ", 1)
	if n := starts(t, name); n != 2 {
		t.Errorf("%d starts, want 2", n)
	}
}
