package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lockedBuffer is a log that two goroutines may touch.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// daemon runs the built program against a fake engine until the test ends.
func daemon(t testing.TB, f *fakeEngine, env []string, args ...string) (*exec.Cmd, *lockedBuffer) {
	t.Helper()
	log := &lockedBuffer{}
	cmd := exec.Command(binary, append([]string{"run", "--host", f.host, "--state-file", filepath.Join(t.TempDir(), "state.json"), "--control", "none"}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the watchdog ended with %v:\n%s", err, log)
		}
	})
	f.awaitSubscriber(t)
	return cmd, log
}

// listening is the address that a daemon serves on.
func listening(t *testing.T, log *lockedBuffer) string {
	t.Helper()
	m := regexp.MustCompile(`listening.* address=(\S+)`).FindStringSubmatch(log.String())
	if m == nil {
		t.Fatalf("no address:\n%s", log)
	}
	return m[1]
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("not in time: " + what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// The engine's client, through the real program: what it asks, and what it
// makes of Docker's and of Podman's messages.
func TestEngineClient(t *testing.T) {
	f := newFakeEngine(t, 3)
	_, log := daemon(t, f, nil, "--listen", "none")
	f.mu.Lock()
	query := f.subscribed.URL.Query()
	f.mu.Unlock()
	var filters map[string]map[string]bool
	if err := json.Unmarshal([]byte(query.Get("filters")), &filters); err != nil {
		t.Fatal(err)
	}
	if !filters["type"]["container"] || !filters["event"]["health_status"] || filters["event"]["exec_create"] || !regexp.MustCompile(`^[0-9]+\.[0-9]{9}$`).MatchString(query.Get("since")) {
		t.Errorf("it asks for %v", query)
	}
	f.makeUnhealthy(f.order[0])
	if id := <-f.restarts; id != f.order[0] {
		t.Errorf("%s was restarted", id)
	}
	// Podman 4.3.1's message: the bare action at every probe, the status beside.
	f.mu.Lock()
	f.containers[f.order[1]].Health, f.containers[f.order[1]].Streak = "unhealthy", 1
	f.mu.Unlock()
	for _, i := range []int{2, 1} {
		f.send(fmt.Sprintf(`{"status":"health_status","id":%q,"from":"localhost/app:latest","Type":"container","Action":"health_status","Actor":{"ID":%q,"Attributes":{"containerExitCode":"0","image":"localhost/app:latest","name":"app"}},"scope":"local","time":%d,"timeNano":%d,"HealthStatus":"unhealthy"}`,
			f.order[i], f.order[i], time.Now().Unix(), time.Now().UnixNano()))
	}
	if id := <-f.restarts; id != f.order[1] {
		t.Errorf("%s was restarted", id)
	}
	eventually(t, "both are healthy", func() bool { return strings.Count(log.String(), "recovered in ") == 2 })
	// The probe's output comes escaped.
	if !contains(log.String(), `pool exhausted\x1b[31m`) || strings.Contains(log.String(), "\x1b") {
		t.Errorf("the log:\n%s", log)
	}
	select {
	case id := <-f.restarts:
		t.Errorf("%s was restarted, too", id)
	default:
	}
}

func TestHealthz(t *testing.T) {
	f := newFakeEngine(t, 1)
	_, log := daemon(t, f, nil, "--listen", "127.0.0.1:0")
	address := listening(t, log)
	resp, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 || string(body) != "ok\n" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, err = http.Post("http://"+address+"/healthz", "", nil); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v %v", resp.StatusCode, err)
	}
}

// Who may reset attempts is who may open the socket: the watchdog's own user.
func TestControlSocketIsPrivate(t *testing.T) {
	f := newFakeEngine(t, 1)
	socket := filepath.Join(t.TempDir(), "control.sock")
	daemon(t, f, nil, "--listen", "none", "--control", socket)
	st, err := os.Stat(socket)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", st, err)
	}
	if out, err := exec.CommandContext(t.Context(), binary, "reset", "--control", socket, "app0").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// A second watchdog on the same socket does not start, and the first one goes
// on; what one that was killed left behind is in nobody's way.
func TestSecondWatchdogOnTheSameSocket(t *testing.T) {
	f := newFakeEngine(t, 1)
	dir := t.TempDir()
	socket := filepath.Join(dir, "control.sock")
	args := []string{"run", "--host", f.host, "--listen", "none", "--control", socket, "--state-file"}
	first := exec.Command(binary, append(args, filepath.Join(dir, "first.json"))...)
	first.Env = []string{}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { first.Process.Kill(); first.Wait() })
	f.awaitSubscriber(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	second := exec.CommandContext(ctx, binary, append(args, filepath.Join(dir, "second.json"))...)
	second.Env = []string{}
	out, _ := second.CombinedOutput()
	want := "error: --control " + socket + ": another watchdog serves it\nhint: end the other one, or give this one a --control and a --state-file of its own\n"
	if code := second.ProcessState.ExitCode(); code != 1 || !strings.HasSuffix(string(out), want) {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, err := exec.CommandContext(t.Context(), binary, "status", "--control", socket).CombinedOutput(); err != nil || !strings.Contains(string(out), "app0") {
		t.Errorf("%v: %s", err, out)
	}
	first.Process.Kill()
	first.Wait()
	if _, err := os.Lstat(socket); err != nil {
		t.Fatalf("a killed one leaves its socket: %v", err)
	}
	daemon(t, f, nil, "--listen", "none", "--control", socket)
	eventually(t, "the next one serves it", func() bool {
		return exec.CommandContext(t.Context(), binary, "status", "--control", socket).Run() == nil
	})
}

// A terminal that closes, or a person who wants the configuration read anew,
// does not end the watchdog.
func TestSIGHUP(t *testing.T) {
	f := newFakeEngine(t, 1)
	cmd, log := daemon(t, f, nil, "--listen", "none")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	f.makeUnhealthy(f.order[0])
	select {
	case <-f.restarts:
	case <-time.After(30 * time.Second):
		t.Fatalf("nothing was restarted:\n%s", log)
	}
}

// reset says what it has changed.
func TestResetSaysWhatHappened(t *testing.T) {
	f := newFakeEngine(t, 2)
	f.mu.Lock()
	f.staysUnhealthy = true
	f.mu.Unlock()
	socket := filepath.Join(t.TempDir(), "control.sock")
	_, log := daemon(t, f, nil, "--listen", "none", "--control", socket, "--max-attempts", "1", "--verify-timeout", "1ms")
	f.makeUnhealthy(f.order[0])
	eventually(t, "it gives up", func() bool { return strings.Contains(log.String(), "event=gave_up") })
	f.mu.Lock()
	f.staysUnhealthy = false
	f.mu.Unlock()
	reset := func(args ...string) string {
		out, _ := exec.CommandContext(t.Context(), binary, append([]string{"reset", "--control", socket}, args...)...).CombinedOutput()
		return string(out)
	}
	if got, want := reset("nobody"), "error: no service or container is called \"nobody\"\nhint: watchdog status lists the names\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := reset("app0"), "app0: 1 of 1 attempts are forgotten; it was given up, its container app0 is unhealthy and is looked at now\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	eventually(t, "it is tried again", func() bool { return strings.Contains(log.String(), "recovered in ") })
}

// docker-autoheal's webhooks are called, and one that hangs delays nothing.
func TestAutohealWebhooks(t *testing.T) {
	got := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(body)
		if r.URL.Path == "/apprise" {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(hook.Close) // after the watchdog, whose call hangs
	f := newFakeEngine(t, 1)
	_, _ = daemon(t, f, []string{"WEBHOOK_URL=" + hook.URL + "/hook", "WEBHOOK_JSON_KEY=content", "APPRISE_URL=" + hook.URL + "/apprise"}, "--listen", "none")
	f.makeUnhealthy(f.order[0])
	<-f.restarts
	want := []string{`/hook application/json {"content":"`, `/apprise application/json {"body":"`}
	for len(want) > 0 {
		select {
		case text := <-got:
			i := slices.IndexFunc(want, func(w string) bool { return strings.HasPrefix(text, w) })
			if i >= 0 && contains(text, "restarted (1 of 3): unhealthy: 1 probes failed in a row", "service: app0") {
				want = slices.Delete(want, i, i+1)
			} else if !strings.Contains(text, "resolved: recovered in ") {
				t.Errorf("got %s", text)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nothing was sent to %q", want)
		}
	}
}

// The page shows a service as it is, its stream says when that changes, and an
// open stream does not keep the watchdog from ending.
func TestPageAndItsStream(t *testing.T) {
	f := newFakeEngine(t, 1)
	f.mu.Lock()
	f.staysUnhealthy = true
	f.containers[f.order[0]].Labels["com.docker.compose.project"], f.containers[f.order[0]].Labels["com.docker.compose.service"] = "shop", "<b>app</b>"
	f.mu.Unlock()
	cmd, log := daemon(t, f, nil, "--listen", "127.0.0.1:0", "--max-attempts", "1", "--verify-timeout", "1ms")
	address := "http://" + listening(t, log)
	page := func() string {
		resp, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Fatalf("%v: %d %v %s", err, resp.StatusCode, resp.Header, body)
		}
		return string(body)
	}
	eventually(t, "it is healthy", func() bool { return contains(page(), "shop/&lt;b&gt;app&lt;/b&gt;/1", "No service needs anything") })
	resp, err := http.Get(address + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	messages, ended := make(chan struct{}, 100), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if lines.Text() == "event: change" {
				messages <- struct{}{}
			}
		}
	}()
	f.makeUnhealthy(f.order[0])
	for deadline := time.After(30 * time.Second); ; {
		select {
		case <-messages:
			if !contains(page(), "The one service that is watched is not healthy", "nothing, until it is healthy, recreated, or reset: watchdog reset app0", `<span class="tag">open</span> <span class="tag critical">critical</span>`, "given up, ") {
				continue
			}
		case <-deadline:
			t.Fatalf("no message; the page:\n%s", page())
		}
		break
	}
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the stream goes on")
	}
}
