package main

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A snoozed container is not restarted, also by the next watchdog, until the
// snooze is ended; status and history say so.
func TestSnoozeAndResume(t *testing.T) {
	f := newFakeEngine(t, 2)
	dir := t.TempDir()
	socket := filepath.Join(dir, "control.sock")
	ask := func(args ...string) string {
		out, _ := exec.CommandContext(t.Context(), binary, append(args, "--control", socket)...).CombinedOutput()
		return regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+`).ReplaceAllString(string(out), "TIME")
	}
	want := func(text string, args ...string) {
		t.Helper()
		if got := ask(args...); got != text {
			t.Errorf("%v: %q, want %q", args, got, text)
		}
	}
	start := func() (*exec.Cmd, *lockedBuffer) {
		t.Helper()
		log := &lockedBuffer{}
		cmd := exec.Command(binary, "run", "--host", f.host, "--listen", "none", "--control", socket, "--state-file", filepath.Join(dir, "state.json"))
		cmd.Env, cmd.Stderr = []string{}, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd, log
	}
	first, log := start()
	eventually(t, "the containers are seen", func() bool { return strings.Contains(ask("status"), "app1") })
	want("error: no service or container is called \"nobody\"\nhint: watchdog status lists the names\n", "snooze", "nobody", "1h")
	want("app0: not restarted before TIME (snoozed by a person: moving house); it is healthy\n", "snooze", "app0", "1h", "--reason", "moving house")
	f.makeUnhealthy(f.order[0])
	eventually(t, "the log says that it waits", func() bool { return strings.Contains(log.String(), "event=paused") })
	if text := ask("status"); !contains(text, "not before ", "(snoozed by a person: moving house)") {
		t.Error(text)
	}
	if text := ask("history"); !contains(text, "a person has snoozed it until ", ": moving house") {
		t.Error(text)
	}
	// The snooze is on the disk at once.
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.Wait()
	_, log = start()
	eventually(t, "the next one knows of it", func() bool { return strings.Contains(log.String(), "event=paused") })
	if len(f.restarts) != 0 {
		t.Errorf("restarted in a snooze:\n%s", log)
	}
	want("app0: may be restarted; it is unhealthy\n", "resume", "app0")
	eventually(t, "it is restarted", func() bool { return len(f.restarts) == 1 })
	want("all services, 2 now: not restarted before TIME\n", "snooze", "--all", "10m")
	want("all services, 2 now: no snooze any more\n", "resume", "--all")
}

// A test message says which receivers take it, and never where they are.
func TestNotifyTest(t *testing.T) {
	got := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got <- r.URL.Path; r.URL.Path == "/hunter2-gone" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	address := "generic+" + srv.URL
	cmd := exec.CommandContext(t.Context(), binary, "notify", "test", "--notify", "critical="+address+"/hunter2-gone")
	cmd.Env = []string{"WATCHDOG_ESCALATE_AFTER=15m=" + address + "/hunter2-here", "WATCHDOG_ALL=true"}
	out, err := cmd.CombinedOutput()
	if !regexp.MustCompile(`^receiver 1, generic\+http: not delivered: status 404\nreceiver 2, generic\+http: delivered in \S+\n$`).Match(out) || err == nil {
		t.Errorf("%v: %s", err, out)
	}
	if a, b := <-got, <-got; a != "/hunter2-gone" || b != "/hunter2-here" {
		t.Errorf("%s, %s", a, b)
	}
	cmd = exec.CommandContext(t.Context(), binary, "notify", "test", address+"/hunter2-alone")
	cmd.Env = []string{"WATCHDOG_NOTIFY=" + address + "/hunter2-gone"}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "receiver 1, generic+http: delivered in ") {
		t.Errorf("%v: %s", err, out)
	}
	if path := <-got; path != "/hunter2-alone" || len(got) != 0 {
		t.Error(path)
	}
}

// The start and each minute of health are told, where that is asked for.
func TestNotifyStartAndHeartbeat(t *testing.T) {
	got := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Method + " " + r.URL.Path }))
	t.Cleanup(srv.Close)
	f := newFakeEngine(t, 1)
	_, log := daemon(t, f, []string{"WATCHDOG_HEARTBEAT=" + srv.URL + "/hunter2"}, "--listen", "none", "--notify", "generic+"+srv.URL+"/hook", "--notify-start")
	seen := map[string]bool{}
	for range 2 {
		select {
		case what := <-got:
			seen[what] = true
		case <-time.After(30 * time.Second):
			t.Fatalf("only %v:\n%s", seen, log)
		}
	}
	if !seen["GET /hunter2"] || !seen["POST /hook"] {
		t.Errorf("%v\n%s", seen, log)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Error(log.String())
	}
}
