package main

import (
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

	"healthcheck/watchdog"
)

// binary is the program as users get it.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "watchdog-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "watchdog")
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building watchdog: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		env, args string
		want      string
	}{
		{"", "", "error: no command\nhint: watchdog run\n"},
		{"", "walk", "error: unknown command \"walk\"\nhint: the commands are run, status, history, reset, lint, version and help\n"},
		{"", "run now", "error: unexpected argument \"now\"\nhint: watchdog run --help lists the flags\n"},
		{"", "run --max-atempts 3", "error: unknown flag --max-atempts\nhint: watchdog run --help lists the flags\n"},
		{"", "run --max-attempts many", "error: --max-attempts \"many\": not a int\nhint: watchdog run --help lists the flags\n"},
		{"", "run --max-attempts", "error: --max-attempts needs a value\nhint: watchdog run --help lists the flags\n"},
		{"", "run --max-attempts -1", "error: --max-attempts -1: want 0 or more\nhint: --max-attempts 0 only tells\n"},
		{"", "run --max-restarts 20", "error: --max-restarts \"20\": want a number, a slash and a duration\nhint: --max-restarts 20/5m\n"},
		{"", "run --max-concurrent 0", "error: --max-concurrent 0: want 1 or more\nhint: --max-concurrent 4\n"},
		{"", "run --backoff-multiplier 0.5", "error: --backoff-multiplier 0.5: want 1 or more\nhint: --backoff-multiplier 2\n"},
		{"", "run --backoff-jitter -1", "error: --backoff-jitter -1: want 0 to 10\nhint: --backoff-jitter 0.1\n"},
		{"", "run --backoff-base -1s", "error: a duration is below 0\nhint: watchdog run --help lists the flags\n"},
		{"", "run --reconcile 1ms", "error: --reconcile 1ms: want 1s or more\nhint: --reconcile 1m\n"},
		{"", "run --state-file x", "error: --state-file \"x\" is not absolute\nhint: give an absolute path, or none\n"},
		{"", "run --listen 9181", "error: --listen \"9181\": want HOST:PORT\nhint: --listen 127.0.0.1:9181, or none\n"},
		{"", "run --stop-timeout -3", "error: --stop-timeout -3: want seconds, -1 or -2\nhint: --stop-timeout 10\n"},
		{"", "run --log-format xml", "error: --log-format \"xml\": want text or json\nhint: --log-format text or --log-format json\n"},
		{"WATCHDOG_MAX_ATTEMPTS=x", "run", "error: WATCHDOG_MAX_ATTEMPTS \"x\": not a value for --max-attempts\nhint: watchdog run --help lists the flags\n"},
		{"AUTOHEAL_START_PERIOD=soon", "run", "error: AUTOHEAL_START_PERIOD \"soon\": want a number of seconds\nhint: AUTOHEAL_START_PERIOD=10\n"},
	} {
		cmd := exec.CommandContext(t.Context(), binary, strings.Fields(c.args)...)
		cmd.Env = strings.Fields(c.env)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != 1 || errs.String() != c.want {
			t.Errorf("%s %s: exit %d, %q, want %q", c.env, c.args, code, errs.String(), c.want)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, os.Getenv, &out, &out); code != 0 {
		t.Errorf("exit %d", code)
	}
	for line := range strings.Lines(out.String()) {
		if len([]rune(line)) > 81 {
			t.Errorf("%d columns: %s", len([]rune(line))-1, line)
		}
	}
	for _, command := range []string{"run", "lint", "status", "history", "reset"} {
		var help, complaint bytes.Buffer
		if code := run(t.Context(), []string{command, "--help"}, os.Getenv, &help, &complaint); code != 0 || help.String() != out.String() || complaint.Len() > 0 {
			t.Errorf("%s --help: exit %d: %s", command, code, complaint.String())
		}
	}
	out.Reset()
	if code := run(t.Context(), []string{"version"}, os.Getenv, &out, &out); code != 0 || !strings.HasPrefix(out.String(), "watchdog ") {
		t.Errorf("exit %d: %s", code, out.String())
	}
}

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
	f.listeners(t)
	return cmd, log
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
	query := f.asked.URL.Query()
	f.mu.Unlock()
	var filters map[string]map[string]bool
	if err := json.Unmarshal([]byte(query.Get("filters")), &filters); err != nil {
		t.Fatal(err)
	}
	if !filters["type"]["container"] || !filters["event"]["health_status"] || filters["event"]["exec_create"] || !regexp.MustCompile(`^[0-9]+\.[0-9]{9}$`).MatchString(query.Get("since")) {
		t.Errorf("it asks for %v", query)
	}
	f.fall(f.order[0])
	if id := <-f.restarts; id != f.order[0] {
		t.Errorf("%s was restarted", id)
	}
	// Podman 4.3.1's message: the bare action at every probe, the status beside.
	f.mu.Lock()
	f.boxes[f.order[1]].Health, f.boxes[f.order[1]].Streak = "unhealthy", 1
	f.mu.Unlock()
	for _, i := range []int{2, 1} {
		f.tell(fmt.Sprintf(`{"status":"health_status","id":%q,"from":"localhost/sick:latest","Type":"container","Action":"health_status","Actor":{"ID":%q,"Attributes":{"containerExitCode":"0","image":"localhost/sick:latest","name":"app"}},"scope":"local","time":%d,"timeNano":%d,"HealthStatus":"unhealthy"}`,
			f.order[i], f.order[i], time.Now().Unix(), time.Now().UnixNano()))
	}
	if id := <-f.restarts; id != f.order[1] {
		t.Errorf("%s was restarted", id)
	}
	eventually(t, "both are well", func() bool { return strings.Count(log.String(), "recovered in ") == 2 })
	// The probe's words come escaped.
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
	m := regexp.MustCompile(`listening.* address=(\S+)`).FindStringSubmatch(log.String())
	if m == nil {
		t.Fatalf("no address:\n%s", log)
	}
	resp, err := http.Get("http://" + m[1] + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 || string(body) != "ok\n" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, err = http.Post("http://"+m[1]+"/healthz", "", nil); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
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

// docker-autoheal's webhooks are called, and one that hangs holds up nothing.
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
	f.fall(f.order[0])
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
			t.Fatalf("nobody is told at %q", want)
		}
	}
}

// percentile is the p-th of sorted durations.
func percentile(d []time.Duration, p float64) time.Duration {
	slices.Sort(d)
	return d[int(p*float64(len(d)-1))]
}

// BenchmarkEventToRestart is the time from an event to the call that restarts,
// with 1,000 watched containers on a fake engine.
func BenchmarkEventToRestart(b *testing.B) {
	f := newFakeEngine(b, 1000)
	daemon(b, f, nil, "--listen", "none", "--max-restarts", "100000/1s", "--max-attempts", "100000")
	var took []time.Duration
	i := 0
	for b.Loop() {
		id := f.order[i%len(f.order)]
		i++
		begin := time.Now()
		f.fall(id)
		<-f.restarts
		took = append(took, time.Since(begin))
	}
	b.ReportMetric(float64(percentile(took, 0.5).Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(percentile(took, 0.99).Microseconds())/1000, "ms/p99")
}

// BenchmarkEvents is how many events are handled in a second, each with the
// inspection that it leads to, from 1,000 containers on a fake engine.
func BenchmarkEvents(b *testing.B) {
	f := newFakeEngine(b, 1000)
	daemon(b, f, nil, "--listen", "none")
	for b.Loop() {
		begin := f.count(&f.looks)
		f.tellHealthy()
		for f.count(&f.looks) < begin+len(f.order) {
			<-time.After(100 * time.Microsecond)
		}
	}
	b.ReportMetric(float64(len(f.order)*b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkIdle is what 10,000 watched containers cost: memory, and ten
// minutes in which nothing happens.
func BenchmarkIdle(b *testing.B) {
	f := newFakeEngine(b, 10000)
	cmd, _ := daemon(b, f, nil, "--listen", "none", "--reconcile", "1s")
	for b.Loop() {
		idleMinutes(b, f, cmd.Process.Pid, 10)
	}
	b.ReportMetric(residentMiB(b, cmd.Process.Pid)/10, "MiB/1000")
}

// idleMinutes lets as many reconciliations pass as there are minutes: between
// them an idle watchdog does nothing. Here they follow one another by seconds.
func idleMinutes(b *testing.B, f *fakeEngine, pid, minutes int) {
	b.Helper()
	begin, calls, lists := cpuTime(b, pid), f.count(&f.calls), f.count(&f.lists)
	for f.count(&f.lists) < lists+minutes {
		<-time.After(10 * time.Millisecond)
	}
	b.ReportMetric(float64((cpuTime(b, pid)-begin).Microseconds())/1000, "cpu-ms/10min")
	b.ReportMetric(float64(f.count(&f.calls)-calls), "requests/10min")
}

// BenchmarkTenIdleMinutes sets the watchdog beside a poller that asks as
// docker-autoheal does, every five seconds with curl and jq, on the same fake
// engine with 50 containers. Neither waits as long as it would: what is
// counted is what they ask and the CPU time that it takes them.
func BenchmarkTenIdleMinutes(b *testing.B) {
	f := newFakeEngine(b, 50)
	b.Run("watchdog", func(b *testing.B) {
		cmd, _ := daemon(b, f, nil, "--listen", "none", "--reconcile", "1s")
		for b.Loop() {
			idleMinutes(b, f, cmd.Process.Pid, 10)
		}
	})
	b.Run("polling", func(b *testing.B) {
		for _, tool := range []string{"curl", "jq"} {
			if _, err := exec.LookPath(tool); err != nil {
				b.Fatalf("%v: Debian has it", err)
			}
		}
		for b.Loop() {
			calls := f.count(&f.calls)
			cmd := exec.CommandContext(b.Context(), "sh", "testdata/poll.sh", strings.TrimPrefix(f.host, "unix://"), "120")
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() // its children's among it
			b.ReportMetric(float64(used.Microseconds())/1000, "cpu-ms/10min")
			b.ReportMetric(float64(f.count(&f.calls)-calls), "requests/10min")
		}
	})
}

// cpuTime is what a process has used, to the nanosecond (schedstat(5)), over
// all its threads.
func cpuTime(b *testing.B, pid int) (total time.Duration) {
	b.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		b.Fatal("no schedstat")
	}
	for _, name := range files {
		var ns int64
		if text, err := os.ReadFile(name); err == nil {
			fmt.Sscan(string(text), &ns)
		}
		total += time.Duration(ns)
	}
	return total
}

func residentMiB(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	var kb float64
	fmt.Sscan(string(m[1]), &kb)
	return kb / 1024
}

// TestLint compares what lint says of testdata/lint/compose.yaml, the seed's own
// Dockerfile among it, in each of its forms.
func TestLint(t *testing.T) {
	want, err := os.ReadFile("../../testdata/lint/compose.txt")
	if err != nil {
		t.Fatal(err)
	}
	lint := func(args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), binary, append([]string{"lint"}, args...)...)
		cmd.Dir = "../../testdata/lint"
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := lint("--compose", "compose.yaml"); out != string(want) || code != 1 {
		t.Errorf("exit %d:\n%s\nwant:\n%s", code, out, want)
	}
	out, code := lint("--compose", "compose.yaml", "--output", "json")
	var findings []watchdog.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil || code != 1 || len(findings) != 8 || findings[0].Line != 3 || findings[0].Instead == "" {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	if out, _ := lint("--compose", "compose.yaml", "--output", "github"); !strings.HasPrefix(out, "::error file=compose.yaml,line=3,title=probe-outlasts-timeout::pdf-chat: its requests") {
		t.Errorf("%s", out)
	}
	out, _ = lint("--compose", "compose.yaml", "--output", "sarif")
	var sarif struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct{ RuleID, Level string }
		}
	}
	if err := json.Unmarshal([]byte(out), &sarif); err != nil || sarif.Version != "2.1.0" || len(sarif.Runs) != 1 || len(sarif.Runs[0].Results) != 8 || len(sarif.Runs[0].Tool.Driver.Rules) != len(watchdog.Rules) {
		t.Errorf("%v: %s", err, out)
	}
	dir := t.TempDir()
	for text, part := range map[string]string{
		"services: {a: {image: x, healthcheck: {test: [CMD, x], interval: soon}}}": `service a: "soon" is not a duration`,
		"services: [": "did not find expected", "a: 1": "no services in it",
	} {
		if err := os.WriteFile(dir+"/c.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := lint("--compose", dir+"/c.yaml"); code != 1 || !strings.HasPrefix(out, "error: ") || !strings.Contains(out, part) {
			t.Errorf("%s: exit %d: %s", text, code, out)
		}
	}
	if out, code := lint("--compose", dir+"/none.yaml"); code != 1 || !contains(out, "error: ", "hint: ") {
		t.Errorf("exit %d: %s", code, out)
	}
	// Warnings alone are no error.
	os.WriteFile(dir+"/c.yaml", []byte("services: {a: {image: x, healthcheck: {disable: true}}}"), 0o600)
	if out, code := lint("--compose", dir+"/c.yaml"); code != 0 || !strings.HasSuffix(out, "0 errors, 1 warnings\n") {
		t.Errorf("exit %d: %s", code, out)
	}
}
