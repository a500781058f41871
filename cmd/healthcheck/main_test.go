package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"healthcheck/cmd/flags"
	"healthcheck/probe/report"
	"healthcheck/probe/target"
)

// binary is the program as users get it: static, stripped.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "healthcheck-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "healthcheck")
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building healthcheck: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// execute runs the built program with these variables alone.
func execute(t *testing.T, environ []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append([]string{"HEALTHCHECK_STATE_DIR=" + t.TempDir()}, environ...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestUsageErrors replays testdata/usage.txt: after "$", variables and
// arguments, then exactly what the program prints, with exit code 1.
func TestUsageErrors(t *testing.T) {
	text, err := os.ReadFile("../../testdata/usage.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split(string(text), "\n$ ")[1:]
	if len(cases) < 40 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		line, want, _ := strings.Cut(c, "\n")
		want = strings.TrimSpace(want) + "\n"
		var environ, args []string
		for _, w := range words(line) {
			if name, _, ok := strings.Cut(w, "="); ok && strings.ToUpper(name) == name && len(args) == 0 {
				environ = append(environ, w)
			} else {
				args = append(args, w)
			}
		}
		stdout, stderr, code := execute(t, environ, args...)
		if code != 1 || stdout != "" || stderr != want {
			t.Errorf("%s\nexit %d, stdout %q, got:\n%swant:\n%s", line, code, stdout, stderr, want)
		}
		if strings.Contains(stderr, "hunter2") {
			t.Errorf("%s: a secret in %q", line, stderr)
		}
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, environ, &out, &errs); code != 1 || errs.String() != want {
			t.Errorf("run(%s) = %d, %q", line, code, errs.String())
		}
	}
}

// words splits a line as a shell does that knows nothing but quotes.
func words(line string) (out []string) {
	for _, m := range regexp.MustCompile(`(?:[^\s'"]|'[^']*'|"[^"]*")+`).FindAllString(line, -1) {
		out = append(out, regexp.MustCompile(`'([^']*)'|"([^"]*)"`).ReplaceAllString(m, "$1$2"))
	}
	return out
}

// seedApp serves the three endpoints of old; handler may take over a path.
func seedApp(t *testing.T, takeOver map[string]http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, ok := takeOver[r.URL.Path]; ok {
			h(w, r)
			return
		}
		if r.URL.Path != "/health" && r.URL.Path != "/db/health" && r.URL.Path != "/vector/health" {
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// quiet resources: the machine that runs the tests may be busy or full.
var noLimits = []string{"HEALTHCHECK_CPU_MAX=off", "HEALTHCHECK_MEM_MAX=off", "HEALTHCHECK_DISK_MAX=off"}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

func TestDefaultsAreTheSeeds(t *testing.T) {
	base := seedApp(t, nil)
	stdout, stderr, code := execute(t, append(noLimits, "HEALTHCHECK_BASE_URL="+base))
	if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "healthy: 6 checks passed in ") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	for _, line := range []string{"cpu ", "memory ", "disk ", "network ", "api ", "db ", "vector "} {
		if !strings.Contains(stdout, "\nok   "+line) {
			t.Errorf("no line for %q in\n%s", line, stdout)
		}
	}
	c, err := parseConfig(nil, nil, nil)
	if err != nil || c.cpu.Max != 90 || c.mem.Max != 90 || c.disk.Max != 95 || c.timeout != 8*time.Second ||
		c.checkTimeout != 5*time.Second || c.interval != 30*time.Second || c.targets["api"][0].String() != "http://localhost:5000/health" {
		t.Errorf("the defaults are %+v, %v", c, err)
	}
}

func TestFirstLineIsVerdictAndCause(t *testing.T) {
	base := seedApp(t, map[string]http.HandlerFunc{"/db/health": status(503, "pool exhausted")})
	stdout, _, code := execute(t, noLimits, "--base-url", base)
	first, rest, _ := strings.Cut(stdout, "\n")
	want := `db: GET ` + base + `/db/health: status 503, want 200: "pool exhausted"`
	if code != 1 || !strings.HasPrefix(first, "unhealthy: 1 of 6 failed: ") || !strings.HasSuffix(first, want) || !strings.HasPrefix(rest, "FAIL db ") {
		t.Errorf("exit %d:\n%s", code, stdout)
	}
}

func TestJSONOutput(t *testing.T) {
	base := seedApp(t, map[string]http.HandlerFunc{"/db/health": status(503, "pool exhausted")})
	stdout, _, code := execute(t, noLimits, "--base-url", base, "--output", "json", "--optional", "db")
	var doc struct {
		Status   string
		Summary  string
		Duration float64 `json:"duration_ms"`
		Checks   []struct {
			Name, Layer, Status, Stage, Message string
			Duration                            *float64 `json:"duration_ms"`
			Value, Limit                        *float64
		}
	}
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, stdout)
	}
	if c := doc.Checks[0]; doc.Status != "degraded" || c.Name != "db" || c.Layer != "db" || c.Status != "warn" || c.Stage != "status" || c.Duration == nil {
		t.Errorf("got %+v", doc)
	}
	for _, c := range doc.Checks {
		if c.Name == "memory" && (c.Value == nil || *c.Value <= 0) {
			t.Errorf("memory has no value: %+v", c)
		}
	}
}

// Whoever reads JSON gets it for bad input, too, and in the same place.
func TestUsageErrorsAsJSON(t *testing.T) {
	for _, c := range []struct {
		environ []string
		line    string
		json    bool
	}{
		{nil, "--timeout 60s --output json", true},
		{nil, "--output=json --nonsense", true},
		{nil, "--nonsense --output=text --output json", true},
		{nil, "--db postgress://app:hunter2@db/app --output json", true},
		{[]string{"HEALTHCHECK_OUTPUT=json"}, "--nonsense", true},
		{[]string{"HEALTHCHECK_OUTPUT=json"}, "--nonsense --output text", false},
		{[]string{"HEALTHCHECK_OUTPUT=json"}, "gpu fit", false},
		{[]string{"HEALTHCHECK_OUTPUT=json"}, "install", false},
		{nil, "gpu fit --output json", true},
		{nil, "--nonsense -- --output json", false},
	} {
		stdout, stderr, code := execute(t, c.environ, words(c.line)...)
		var doc struct{ Status, Summary, Error, Hint string }
		err := json.Unmarshal([]byte(stdout), &doc)
		switch {
		case code != 1 || strings.Contains(stdout+stderr, "hunter2"):
			t.Errorf("%s: exit %d, %q, %q", c.line, code, stdout, stderr)
		case c.json && (err != nil || doc.Status != "unhealthy" || doc.Error == "" || doc.Error != doc.Summary || doc.Hint == "" || stderr != ""):
			t.Errorf("%s: %v, %+v, %q", c.line, err, doc, stderr)
		case !c.json && (stdout != "" || !strings.HasPrefix(stderr, "error: ")):
			t.Errorf("%s: %q, %q", c.line, stdout, stderr)
		}
	}
}

func TestQuietPrintsNothingOnSuccess(t *testing.T) {
	base := seedApp(t, nil)
	if stdout, stderr, code := execute(t, noLimits, "--base-url", base, "--quiet"); code != 0 || stdout+stderr != "" {
		t.Errorf("exit %d: %q", code, stdout+stderr)
	}
	if stdout, _, code := execute(t, noLimits, "--base-url", base+"/nowhere", "--quiet"); code != 1 || stdout == "" {
		t.Errorf("exit %d: %q", code, stdout)
	}
}

func TestLayersNamesAndReplacement(t *testing.T) {
	base := seedApp(t, nil)
	for _, c := range []struct {
		args []string
		want []string // names in the report
	}{
		{[]string{"--layers", "api,db"}, []string{"api", "db"}},
		{[]string{"--layers", "api", "--api", "/health", "--api", "x=/db/health", "--api", "/vector/health"}, []string{"api", "x", "api-3"}},
		{[]string{"--layers", "db", "--layers", "api"}, []string{"db", "api"}},
		{[]string{"--layers", "resource", "--pids-max", "99.9", "--disk-path", "/", "--disk-path", "/dev"}, []string{"cpu", "memory", "disk:/", "disk:/dev", "pids", "network"}},
	} {
		stdout, _, code := execute(t, noLimits, append(c.args, "--base-url", base, "--output", "json")...)
		var doc struct{ Checks []struct{ Name string } }
		json.Unmarshal([]byte(stdout), &doc)
		var got []string
		for _, ch := range doc.Checks {
			got = append(got, ch.Name)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) || code != 0 {
			t.Errorf("%v: exit %d, %v, want %v\n%s", c.args, code, got, c.want, stdout)
		}
	}
}

func TestFailFastAndOptional(t *testing.T) {
	base := seedApp(t, map[string]http.HandlerFunc{"/health": status(500, "")})
	stdout, _, code := execute(t, noLimits, "--base-url", base, "--fail-fast")
	if code != 1 || !strings.Contains(stdout, "skip db ") || !strings.Contains(stdout, "not run: layer api failed first") {
		t.Errorf("exit %d:\n%s", code, stdout)
	}
	stdout, _, code = execute(t, noLimits, "--base-url", base, "--fail-fast", "--optional", "api")
	if code != 0 || !strings.HasPrefix(stdout, "degraded: 1 of 6 warned") || !strings.Contains(stdout, "ok   db ") {
		t.Errorf("exit %d:\n%s", code, stdout)
	}
}

func TestVariablesAndFiles(t *testing.T) {
	base := seedApp(t, map[string]http.HandlerFunc{"/secret": func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer hunter2hunter2" {
			w.WriteHeader(401)
		} else {
			w.WriteHeader(500)
		}
		fmt.Fprintf(w, "you sent %q", r.Header.Get("Authorization"))
	}})
	file := filepath.Join(t.TempDir(), "header")
	if err := os.WriteFile(file, []byte("Authorization: Bearer hunter2hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := execute(t, []string{"HEALTHCHECK_LAYERS=api", "HEALTHCHECK_API=" + base + "/health,x=" + base + "/secret", "HEALTHCHECK_HEADER_FILE=" + file})
	if code != 1 || !strings.Contains(stdout, `x: GET `+base+`/secret: status 500, want 200: "you sent \"***\""`) {
		t.Errorf("exit %d:\n%s%s", code, stdout, stderr)
	}
	// A flag wins over its variable, even over a bad one.
	if _, stderr, code := execute(t, []string{"HEALTHCHECK_LAYERS=nonsense"}, "--layers", "api", "--base-url", base); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	// What Kubernetes sets beside a service of that name is no setting.
	links := []string{"HEALTHCHECK_SERVICE_HOST=10.0.0.2", "HEALTHCHECK_SERVICE_PORT=80",
		"HEALTHCHECK_SERVICE_PORT_HTTP=80", "HEALTHCHECK_PORT=tcp://10.0.0.2:80", "HEALTHCHECK_PORT_80_TCP=tcp://10.0.0.2:80", "HEALTHCHECK_PORT_80_TCP_ADDR=10.0.0.2"}
	for _, name := range []string{"HEALTHCHECK", "HEALTHCHECK_API", "HEALTHCHECK_DB_2"} {
		var environ []string
		for _, link := range links {
			environ = append(environ, strings.Replace(link, "HEALTHCHECK", name, 1))
		}
		if _, stderr, code := execute(t, environ, "--layers", "api", "--base-url", base); code != 0 {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
		}
	}
}

// Settings need no quotes in a shell, where an & would end the command.
func TestSettingsInAShell(t *testing.T) {
	base := seedApp(t, map[string]http.HandlerFunc{"/up": status(201, `{"db":"up"}`), "/down": status(201, `{"db":"down"}`)})
	for path, want := range map[string]int{"/up": 0, "/down": 1} {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", binary+" --layers api --api "+base+path+"#status=200,201,json=db=up")
		cmd.Env = []string{}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("exit %d, want %d: %s", code, want, out)
		}
	}
}

// A flag that some target takes is fine beside others, and so is one where no
// target is checked at all.
func TestFlagsOfSomeTargets(t *testing.T) {
	for _, line := range []string{
		"--expect-status 204 --api http://x/ --db redis://y", "--header 'X: y' --db redis://y", "--header 'X: y' --api grpc://x:1", "--method HEAD --api unix:///a.sock:/x",
		"--expect-body ok --layers resource", "--expect-body ok --layers db", "--expect-body ok --api tcp://x:1 --db /health",
	} {
		if _, err := parseConfig(words(line), nil, nil); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	// Probes of one container share its variables, and name their layers.
	if _, err := parseConfig(words("--layers db --db redis://y"), []string{"HEALTHCHECK_HEADER=X: y"}, nil); err != nil {
		t.Error(err)
	}
	for _, environ := range []string{"HEALTHCHECK_LAYERS=db", "HEALTHCHECK_API=tcp://x:1"} {
		if _, err := parseConfig(words("--db redis://y --api tcp://x:1"), []string{"HEALTHCHECK_HEADER=X: y", environ}, nil); err == nil {
			t.Errorf("%s: no error", environ)
		}
	}
}

func TestSplitList(t *testing.T) {
	for _, c := range []struct {
		in     string
		begins func(before, text string) bool
		want   []string
	}{
		{"a,b\nc, d,,\n", flags.Anything, []string{"a", "b", "c", "d"}},
		{"/a,/b", target.Begins, []string{"/a", "/b"}},
		{"postgres://h1,h2/db,x=/b", target.Begins, []string{"postgres://h1,h2/db", "x=/b"}},
		{"http://x/#status=200,ca-cert=/x,status=/y", target.Begins, []string{"http://x/#status=200,ca-cert=/x,status=/y"}},
		{"http://x/,status=/y", target.Begins, []string{"http://x/", "status=/y"}},
		{"http://x/#status=200,204", target.Begins, []string{"http://x/#status=200,204"}},
		{"Accept: text/html, application/json,X-A: b", flags.ByStart(headerStart), []string{"Accept: text/html, application/json", "X-A: b"}},
		{"", flags.Anything, nil},
	} {
		if got := flags.SplitList(c.in, c.begins); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

// hangs accepts connections and says nothing.
func hangs(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return "http://" + ln.Addr().String()
}

// A process that a busy machine lets run too late still says what it found.
func TestLateReportIsWritten(t *testing.T) {
	for range 100 {
		var out bytes.Buffer
		writeBy(&out, []byte("unhealthy"), time.Now().Add(-time.Second))
		if out.String() != "unhealthy" {
			t.Fatalf("wrote %q", out.String())
		}
	}
}

func TestTimeoutShrinksTheChecksLimit(t *testing.T) {
	stdout, _, code := execute(t, noLimits, "--timeout", "250ms", "--base-url", hangs(t))
	if code != 1 || strings.Count(stdout, "no answer within 250ms") != 4 {
		t.Errorf("exit %d:\n%s", code, stdout)
	}
}

// Those by which people end a program end it, with the exit code of a probe;
// the others change nothing.
func TestSignals(t *testing.T) {
	ends := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}
	for _, sig := range append(ends, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGVTALRM,
		syscall.SIGXCPU, syscall.SIGIO, syscall.SIGPWR, syscall.SIGSYS, syscall.SIGTRAP, syscall.SIGPIPE) {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), binary, "--layers", "api", "--api", "http://"+ln.Addr().String())
		cmd.Env = []string{}
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		conn, err := ln.Accept() // the probe is waiting now
		if err != nil {
			t.Fatal(err)
		}
		cmd.Process.Signal(sig)
		want, text := 1, sig.String()+" signal received"
		if !slices.Contains(ends, sig) {
			want, text = 0, "status 200"
			// What the server says after the signal is what counts.
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
		cmd.Wait()
		conn.Close()
		ln.Close()
		if code := cmd.ProcessState.ExitCode(); code != want || !strings.Contains(out.String(), text) {
			t.Errorf("%v: exit %d: %s", sig, code, out.String())
		}
	}
}

func TestAReaderThatIsGoneChangesNothing(t *testing.T) {
	base := seedApp(t, nil)
	cmd := exec.CommandContext(t.Context(), binary, "--layers", "api", "--base-url", base)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd.Stdout, cmd.Env = w, []string{}
	err = cmd.Run()
	w.Close()
	if err != nil {
		t.Errorf("a closed pipe made a healthy probe fail: %v", err)
	}
}

// A reader who does not read must not keep the probe alive.
func TestAReaderWhoDoesNotReadHoldsNothingUp(t *testing.T) {
	done := make(chan int, 1)
	go func() {
		done <- run(context.Background(), []string{"--layers", "api", "--timeout", "200ms", "--base-url", hangs(t)}, nil, blocked{}, blocked{})
	}()
	select {
	case code := <-done:
		if code != 1 {
			t.Errorf("exit %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still running")
	}
}

type blocked struct{}

func (blocked) Write([]byte) (int, error) { select {} }

func TestSecretFileThatHangs(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := execute(t, []string{"HEALTHCHECK_DB_FILE=" + fifo})
	if code != 1 || !strings.Contains(stderr, "not a regular file") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestHelpAndVersion(t *testing.T) {
	stdout, _, code := execute(t, nil, "--help")
	if code != 0 || len(stdout) > report.MaxOutput {
		t.Errorf("exit %d, %d bytes", code, len(stdout))
	}
	for line := range strings.Lines(stdout) {
		if len([]rune(line)) > 81 {
			t.Errorf("%d columns: %s", len([]rune(line))-1, line)
		}
	}
	fs, _ := newFlags()
	for _, name := range flags.Names(fs) {
		if strings.HasPrefix(name, warnPrefix) {
			name = warnPrefix + "cpu-max" // one stands for all
		}
		if !strings.Contains(stdout, "--"+name+" ") {
			t.Errorf("--help does not say --%s", name)
		}
	}
	if stdout, _, code := execute(t, nil, "--version"); code != 0 || !strings.HasPrefix(stdout, "healthcheck ") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("--db\nmain=http://u:hunter2pw@x/#status=20", "HEALTHCHECK_API=/a,/b")
	f.Add("--layers\nresource\n--optional\nzz", "HEALTHCHECK_DB_FILE=/x")
	f.Add("--cpu-max=1e400\n--interval\n9999999h", "HEALTHCHECK_\xff=1\nHEALTHCHECK_TIMEOUT=1ns")
	f.Add("hunter2pw://x", "HEALTHCHECK_HEADER=hunter2pw")
	f.Fuzz(func(t *testing.T, args, environ string) {
		read := func(string, time.Duration) (string, error) { return "http://u:hunter2pw@h:x/", nil }
		c, err := parseConfig(strings.Split(args, "\n"), strings.Split(environ, "\n"), read)
		if err == nil && !c.help && !c.version {
			if c.timeout >= c.interval || c.checkTimeout > c.timeout || len(c.layers) == 0 || c.cpu.Max < 0 || c.cpu.Max > 100 {
				t.Errorf("accepted %+v", c)
			}
			c.stateDir = "none"
			_, err = newChecks(c)
		}
		if err != nil {
			var out bytes.Buffer
			if fail(&out, err) != 1 || out.Len() > report.MaxOutput || !strings.HasPrefix(out.String(), "error: ") || strings.Count(out.String(), "\n") > 2 {
				t.Errorf("%d bytes: %q", out.Len(), out.String())
			}
		}
	})
}

// Images have HEALTHCHECK_ variables of their own: LocalAI, serversideup/php and
// docker-postgres-backup-local are those of the first three. A misspelt one is
// never let pass.
func TestVariablesOfImages(t *testing.T) {
	base := seedApp(t, nil)
	foreign := []string{"HEALTHCHECK_ENDPOINT=http://localhost:8080/readyz", "HEALTHCHECK_PATH=/healthcheck", "HEALTHCHECK_PORT=8080",
		"HEALTHCHECK_URL=http://u:hunter2@h/", "HEALTHCHECK_RETRIES=3", "HEALTHCHECK_START_PERIOD=5s", "HEALTHCHECK_COMMAND=x"}
	const says = "ignored, as no setting has such a name: HEALTHCHECK_ENDPOINT, HEALTHCHECK_PATH, HEALTHCHECK_PORT, HEALTHCHECK_URL, HEALTHCHECK_RETRIES, and 2 more"
	for _, app := range []string{base, base + "/none"} {
		want := 0
		if app != base {
			want = 1
		}
		stdout, stderr, code := execute(t, foreign, "--layers", "api", "--base-url", app)
		if code != want || stderr != "" || strings.Count(stdout, "warning: ") != 1 || !strings.HasSuffix(stdout, "warning: "+says+"\n") {
			t.Errorf("exit %d: %s%s", code, stdout, stderr)
		}
	}
	stdout, stderr, code := execute(t, foreign, "--layers", "api", "--base-url", base, "--output", "json")
	var doc struct{ Status, Warning string }
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || code != 0 || doc.Warning != says || doc.Status != "healthy" {
		t.Errorf("exit %d, %v: %s%s", code, err, stdout, stderr)
	}
	if stdout, stderr, code := execute(t, foreign, "--layers", "api", "--base-url", base, "--quiet"); code != 0 || stdout+stderr != "" {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	for value, want := range map[string]string{"localhost": "HEALTHCHECK_HOST", "0.0.0.0": "HEALTHCHECK_HOST", "http://x": "HEALTHCHECK_HOST", "true": "", "false": ""} {
		stdout, stderr, code := execute(t, []string{"HEALTHCHECK_HOST=" + value}, "--layers", "api", "--base-url", base)
		if code != 0 || strings.Contains(stdout, "warning: ") != (want != "") || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit %d: %s%s", value, code, stdout, stderr)
		}
	}
	if stdout, _, _ := execute(t, nil, "--layers", "api", "--base-url", base); strings.Contains(stdout, "warning") {
		t.Errorf("a warning about nothing: %s", stdout)
	}
}

// Whatever wrote a variable or its file, a line end and a byte order mark are
// not part of its value.
func TestValuesWithNewlinesAndMarks(t *testing.T) {
	base := seedApp(t, nil)
	file := filepath.Join(t.TempDir(), "base")
	if err := os.WriteFile(file, []byte("\xef\xbb\xbf"+base+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"HEALTHCHECK_LAYERS=api\n", "HEALTHCHECK_BASE_URL_FILE=" + file + "\n", "HEALTHCHECK_TIMEOUT=\r\n7s\r\n", "HEALTHCHECK_EXPECT_STATUS=200\n",
		"HEALTHCHECK_QUIET= false\n", "HEALTHCHECK_METHOD=GET\n", "HEALTHCHECK_OUTPUT=\n", "HEALTHCHECK_MAX_REDIRECTS=3\n", "HEALTHCHECK_API=/health\n\n/db/health\r\n"}
	if stdout, stderr, code := execute(t, environ); code != 0 || !strings.HasPrefix(stdout, "healthy: 2 checks") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if err := os.WriteFile(file, []byte("\xff\xfeh\x00t\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := execute(t, environ); code != 1 || !strings.Contains(stderr, "the text is UTF-16, want UTF-8") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// A short deadline leaves the CPU's first sample time to be taken.
func TestCPUWindowShrinksWithTheDeadline(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{100 * time.Millisecond: 50 * time.Millisecond, time.Second: 200 * time.Millisecond} {
		c, err := parseConfig([]string{"--timeout", timeout.String()}, nil, nil)
		if err != nil || c.cpuWindow != want {
			t.Errorf("%s: %+v, %v", timeout, c, err)
		}
	}
}

// A CA's file that is not there, or that nobody ever writes to, is the failure
// of a check by every scheme with TLS: one that only warns where it is optional.
func TestCAFileIsReadInsideTheCheck(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	addr := faultyServer(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	targets := map[string]string{"postgres": "postgres://u@" + addr + "/?sslmode=verify-full", "pgvector": "pgvector://u@" + addr + "/?sslmode=verify-full", "mongodb": "mongodb://" + addr + "/?tls=true"}
	for _, scheme := range []string{"https", "grpcs", "rediss", "valkeys", "qdrants", "chromas", "weaviates", "elasticsearchs", "opensearchs", "ollamas"} {
		targets[scheme] = scheme + "://" + addr
	}
	// MySQL asks for TLS only after the server's greeting.
	targets["mysql"] = "mysql://u@" + addr + "/?tls=true"
	for path, says := range map[string]string{filepath.Join(dir, "none"): "no such file or directory", fifo: "not a regular file"} {
		for _, optional := range []bool{false, true} {
			args := []string{"--layers", "api", "--ca-cert", path, "--output", "json"}
			for name, target := range targets {
				args = append(args, "--api", name+"="+target)
			}
			want, verdict := 1, "unhealthy"
			if optional {
				args, want, verdict = append(args, "--optional", "api"), 0, "degraded"
			}
			stdout, stderr, code := execute(t, nil, args...)
			var doc struct {
				Status string
				Checks []struct {
					Name, Message string
					Cause         struct{ Class string }
				}
			}
			if err := json.Unmarshal([]byte(stdout), &doc); err != nil || code != want || doc.Status != verdict || len(doc.Checks) == 0 {
				t.Fatalf("exit %d, %v: %s%s", code, err, stdout, stderr)
			}
			for _, c := range doc.Checks {
				if !strings.Contains(c.Message, says) && !strings.Contains(c.Message, "…") || c.Cause.Class != "config" {
					t.Errorf("%s, optional %v: %+v", c.Name, optional, c)
				}
			}
		}
	}
}

// libpq's own variables and parameters name files, too.
func TestPostgresFilesAreReadInsideTheCheck(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := os.Symlink(fifo, filepath.Join(home, ".pgpass")); err != nil {
		t.Fatal(err)
	}
	addr := faultyServer(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	for _, c := range []struct{ variable, query, says string }{
		{"", "sslmode=verify-full&sslrootcert=" + fifo, "sslrootcert"},
		{"", "sslmode=require&sslcert=" + fifo + "&sslkey=" + fifo, "sslcert"},
		{"", "passfile=" + fifo, "passfile"},
		{"PGPASSFILE=" + fifo, "", "passfile"},
		{"PGSSLROOTCERT=" + fifo, "sslmode=verify-full", "sslrootcert"},
		{"PGSERVICEFILE=" + fifo, "service=app", "service file"},
		{"", "service=app&servicefile=" + fifo, "service file"},
		{"HOME=" + home, "", "passfile"},
	} {
		stdout, stderr, code := execute(t, []string{c.variable}, "--layers", "db", "--db", "postgres://u@"+addr+"/?"+c.query)
		if code != 1 || !regexp.MustCompile(c.says+` "[^"]*": not a regular file`).MatchString(stdout) {
			t.Errorf("%s %s: exit %d: %s%s", c.variable, c.query, code, stdout, stderr)
		}
	}
}

// A password file that nobody named may be out of reach: /root is another
// user's home where the probe runs as nobody.
func TestPostgresPasswordFileOutOfReach(t *testing.T) {
	addr := faultyServer(t, func(c net.Conn) {})
	for _, home := range []string{"/dev/null", "/nonexistent"} {
		if stdout, _, code := execute(t, []string{"HOME=" + home}, "--layers", "db", "--db", "postgres://u@"+addr+"/x"); code != 1 || strings.Contains(stdout, "passfile") {
			t.Errorf("%s: %s", home, stdout)
		}
	}
}

// What a layer that is not selected would look at is nobody's business.
func TestLayersThatAreNotSelectedAreNotBuilt(t *testing.T) {
	base := seedApp(t, nil)
	environ := []string{"HEALTHCHECK_DB=main=postgres://u@h/?sslmode=nonsense", "HEALTHCHECK_VECTOR=nosuch://h"}
	if stdout, stderr, code := execute(t, environ, "--layers", "api", "--base-url", base, "--optional", "main", "--optional", "disk"); code != 0 {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if _, stderr, code := execute(t, environ, "--layers", "db", "--base-url", base); code != 1 || !strings.Contains(stderr, "HEALTHCHECK_DB") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// A CA's file may begin with the mark that editors on Windows write.
func TestCAFileWithAMark(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	text := append([]byte("\xef\xbb\xbf"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})...)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := execute(t, nil, "--layers", "api", "--api", srv.URL, "--ca-cert", file); code != 0 {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}
