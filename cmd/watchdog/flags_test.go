package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"healthcheck/cmd/flags"
	"healthcheck/watchdog/recovery"
)

// values holds a value other than the default for each flag of every command.
var values = map[string]string{
	"services": "a,b/c", "all": "true", "max-attempts": "7", "backoff-base": "2s", "backoff-multiplier": "3", "backoff-max": "7m0s", "backoff-jitter": "0.5",
	"stable-for": "1h0m0s", "verify-timeout": "9s", "unhealthy-for": "8s", "by-cause": "false", "hold-max": "1m0s", "restart-exited": "false", "max-concurrent": "9", "max-restarts": "7/1h", "cascade": "false",
	"notify-title": "{{.Severity}}", "notify-text": "{{.Text}}", "action": "notify", "on-give-up": "stop", "stop-timeout": "5", "dry-run": "true", "reconcile": "2m0s", "state-file": "/x/state.json", "notify": "critical=ntfy://ntfy.sh/x", "escalate-after": "15m=ntfy://ntfy.sh/y",
	"notify-every": "5m0s", "host-name": "node7", "listen": "127.0.0.1:1", "control": "/x/control.sock", "host": "tcp://node7:2375", "log-format": "json",
	"config": "/x/watchdog.yml", "quiet-hours": "Sun 02:00-04:00", "evidence": "true", "probe-figures": "true", "evidence-lines": "9", "notify-start": "true", "heartbeat": "https://beats.example/x", "show": "20260102T030405.000000006Z", "reason": "moving",
	"output": "json", "compose": "x.yml", "kubernetes": "y.yml", "env-file": "vars", "ignore": "some-rule",
}

// Each flag of every command can be given as such, by its variable, and by the
// file that a variable names; a flag wins.
func TestEveryFlagHasItsVariables(t *testing.T) {
	read := func(path string) (string, error) { return strings.TrimPrefix(path, "/file/") + "\n", nil }
	for _, c := range commands() {
		if c.flags == nil {
			continue
		}
		for _, name := range flags.Names(c.flags()) {
			value, ok := values[name]
			if !ok {
				t.Errorf("%s --%s has no value here", c.name, name)
				continue
			}
			variable := "WATCHDOG_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			var got []string
			for _, g := range []given{
				{args: []string{"--" + name + "=" + value}},
				{environ: []string{variable + "=" + value}},
				{environ: []string{variable + "_FILE=/file/" + value}},
				{args: []string{"--" + name + "=" + value}, environ: []string{variable + "=nonsense", variable + "_FILE=/x"}},
			} {
				g.read = read
				fs := c.flags()
				environ, err := g.parse(fs, 0)
				if err != nil {
					t.Fatalf("%s %v: %v", c.name, g, err)
				}
				got = append(got, fs.Lookup(name).Value.String())
				if source := environ.Source(name); len(g.args) > 0 != strings.HasPrefix(source, "--") {
					t.Errorf("%s %v: by %s", c.name, g, source)
				}
			}
			before := c.flags().Lookup(name).Value.String()
			for _, v := range got[1:] {
				if v != got[0] || v == before {
					t.Errorf("%s --%s: %q by flag, variable, file and flag over variable; the default is %q", c.name, name, got, before)
				}
			}
		}
	}
}

// Variables that are another command's, systemd's or a service link's are none
// of a command's business.
func TestForeignVariables(t *testing.T) {
	environ := []string{"WATCHDOG_MAX_ATTEMPTS=5", "WATCHDOG_COMPOSE_FILE=/x", "WATCHDOG_STATE_FILE=/x/state.json", "WATCHDOG_USEC=30000000", "WATCHDOG_PID=1",
		"WATCHDOG_SERVICE_HOST=10.0.0.2", "WATCHDOG_SERVICE_PORT=9181", "WATCHDOG_PORT=tcp://10.0.0.2:9181", "WATCHDOG_PORT_80_TCP_ADDR=10.0.0.2",
		"WATCHDOG_UI_SERVICE_HOST=10.0.0.3", "WATCHDOG_UI_PORT_80_TCP=tcp://10.0.0.3:80", "WATCHDOG_EMPTY="}
	for _, c := range commands() {
		if c.flags == nil {
			continue
		}
		// --all=x is an error of its own, but comes behind the variables'.
		if _, err := (given{environ: environ, read: func(string) (string, error) { return "x", nil }}).parse(c.flags(), 0); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What is secret comes from a file, with several values behind one another.
func TestNotifyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notify")
	text := "  ntfy://ntfy.sh/a critical=generic+https://hook.example/x,y?template=json\r\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := parseRun(given{environ: []string{"WATCHDOG_NOTIFY_FILE=" + file, "WATCHDOG_SERVICES=a b,c\nd", "WATCHDOG_ESCALATE_AFTER=1m=ntfy://ntfy.sh/b\n2m=ntfy://ntfy.sh/c"}, read: readFile})
	if err != nil {
		t.Fatal(err)
	}
	sinks := cfg.router.Sinks
	if len(sinks) != 2 || sinks[0].URL != "ntfy://ntfy.sh/a" || sinks[0].MinSeverity != recovery.Info || sinks[1].URL != "generic+https://hook.example/x,y?template=json" || sinks[1].MinSeverity != recovery.Critical {
		t.Errorf("%+v", sinks)
	}
	if got := cfg.settings.Services; !reflect.DeepEqual(got, []string{"a b", "c", "d"}) {
		t.Errorf("%q", got)
	}
	if e := cfg.router.Escalations; len(e) != 2 || e[0].After != time.Minute || e[1].URL != "ntfy://ntfy.sh/c" {
		t.Errorf("%+v", e)
	}
}

// The forms that the hints show are understood.
func TestReceiverForms(t *testing.T) {
	for _, f := range receiverForms {
		address := strings.NewReplacer("A-B-C", "T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX", "TOKEN@telegram", "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram", "chats=ID", "chats=1", "@ID", "@1").Replace(f.write)
		if err := checkReceiver("x", address); err != nil {
			t.Errorf("%s: %v", f.write, err)
		}
		if err := checkReceiver("x", f.given); err == nil || !strings.HasPrefix(err.(*usageError).Hint, "write "+f.write) {
			t.Errorf("%s: %v", f.given, err)
		}
	}
}

// The variables hold for the commands that ask the daemon, and for lint.
func TestVariablesOfEveryCommand(t *testing.T) {
	f := newFakeEngine(t, 1)
	control := filepath.Join(t.TempDir(), "control.sock")
	daemon(t, f, []string{"WATCHDOG_LISTEN=none"}, "--control", control)
	ask := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Env = []string{"WATCHDOG_CONTROL=" + control, "WATCHDOG_HOST=" + f.host, "WATCHDOG_OUTPUT=json", "WATCHDOG_MAX_ATTEMPTS=9"}
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	for command, want := range map[string]string{"status": `"service":"app0"`, "reset app0": `"reset":1`, "history": `"what":"reset by a person"`, "lint": "["} {
		if command == "history" {
			continue // behind the reset
		}
		if out := ask(strings.Fields(command)...); !strings.Contains(out, want) || strings.Contains(out, "error: ") {
			t.Errorf("%s: %s", command, out)
		}
	}
	eventually(t, "the reset is history", func() bool { return strings.Contains(ask("history"), `"service":"app0"`) })
}

// FuzzParseRun: whatever the arguments, the variables and the files are, the
// outcome is a configuration that makes sense, or one error with a hint that
// fits a terminal and repeats nothing of a file.
func FuzzParseRun(f *testing.F) {
	f.Add("--max-attempts\n3", "WATCHDOG_NOTIFY=ntfy://ntfy.sh/a", "x")
	f.Add("--notify\nhttps://hooks.slack.com/services/T/B/C", "", "x")
	f.Add("--notify\ncrit=a\n--escalate-after\n=", "WATCHDOG_MAX_RESTARTS=1/1s", "x")
	f.Add("--backoff-multiplier=NaN\n--backoff-jitter=Inf", "WATCHDOG_STOP_TIMEOUT=-9", "x")
	f.Add("", "WATCHDOG_NOTIFY_FILE=/x\nWATCHDOG_MAX_ATTEMPTS_FILE=/x", "ntfy://ntfy.sh/a,b")
	f.Add("", "WATCHDOG_MAX_RESTARTS_FILE=/x", "20/5m0s")
	f.Add("", "WATCHDOG_LOG_FORMAT_FILE=/x\nWATCHDOG_\xff=1", "json")
	f.Add("--host\nssh://x", "DOCKER_HOST=tcp://x\nDOCKER_SOCK=://", "x")
	f.Add("--listen\n[::1]:0\n--control\nnone", "WATCHDOG_PORT=tcp://1.2.3.4:5\nWATCHDOG__TCP=\nWATCHDOG_1_NAME=/a/b\nWATCHDOG_1_ENV_X=1", "x")
	f.Add("--services\na,,b\n-h\n--", "AUTOHEAL_START_PERIOD=99999999999999999999\nWEBHOOK_URL=%", "x")
	f.Fuzz(func(t *testing.T, args, environ, file string) {
		const secret = "hunter2hunter2"
		read := func(string) (string, error) { return secret + file, nil }
		if strings.HasSuffix(file, "x") {
			read = func(string) (string, error) { return "", io.ErrUnexpectedEOF }
		}
		g := given{args: strings.Split(args, "\n"), environ: strings.Split(environ, "\n"), read: read}
		cfg, err := parseRun(g)
		switch {
		case errors.Is(err, errHelp):
		case err != nil:
			ue, ok := errors.AsType[*usageError](err)
			var out bytes.Buffer
			if !ok || ue.Hint == "" || fail(&out, err) != 1 || out.Len() > 2000 || strings.Count(out.String(), "\n") != 2 || strings.Contains(out.String(), secret) {
				t.Errorf("%T %q", err, out.String())
			}
		default:
			s := cfg.settings
			if s.MaxAttempts < 0 || !(s.Multiplier >= 1) || !(s.Jitter >= 0) || s.MaxConcurrent < 1 || s.MaxRestarts < 1 || s.Window <= 0 || s.Base < 0 || cfg.reconcile < time.Second ||
				cfg.control != "" && !filepath.IsAbs(cfg.control) || cfg.stateFile != "" && !filepath.IsAbs(cfg.stateFile) || strings.HasPrefix(cfg.host, "ssh:") {
				t.Errorf("accepted %+v", cfg)
			}
		}
	})
}

// Only a request for this host is answered on TCP, whatever the path.
func TestHostHeader(t *testing.T) {
	f := newFakeEngine(t, 1)
	_, log := daemon(t, f, nil, "--listen", "127.0.0.1:0", "--host-name", "node7.example")
	address := listening(t, log)
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		"": 200, "localhost": 200, "LOCALHOST.:9181": 200, "127.0.0.1": 200, "192.0.2.7:80": 200, "[::1]:9181": 200, "[fe80::1]": 200, own: 200, strings.ToUpper(own) + ":1": 200, "node7.example": 200,
		"evil.example": 403, "evil.example:9181": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403, own + ".evil.example": 403, "node7": 403, ".": 403, "[evil]:1": 403,
	} {
		for _, path := range []string{"/", "/page.js", "/healthz", "/metrics", "/api/status"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host // for "", the address
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatalf("%q: %v", host, err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != want || want == 403 && (strings.Count(string(body), "\n") != 1 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain")) {
				t.Errorf("Host %q, %s: %d %s", host, path, resp.StatusCode, body)
			}
		}
	}
	// The address that it listens on may have a name, and HTTP 1.0 has no host.
	for _, c := range []struct {
		host string
		want int
	}{{"", 200}, {"metrics.example", 200}, {"evil.example", 403}} {
		rec, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		req.Host = c.host
		onlyFor([]string{"metrics.example"}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(rec, req)
		if rec.Code != c.want {
			t.Errorf("Host %q: %d", c.host, rec.Code)
		}
	}
}
