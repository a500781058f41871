package e2e

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// receiver keeps the alerts that a webhook gets.
type receiver struct {
	url  string
	mu   sync.Mutex
	got  []string
	busy int // so many it refuses with 429 first
}

func newReceiver(t *testing.T, status int) *receiver {
	t.Helper()
	r := &receiver{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.busy--; r.busy >= 0 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		r.got = append(r.got, string(body))
		w.WriteHeader(status)
	}))
	t.Cleanup(srv.Close)
	r.url = "generic+" + srv.URL + "/?template=json"
	return r
}

func (r *receiver) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.got, "\n")
}

func (r *receiver) waitFor(t *testing.T, part string) {
	t.Helper()
	eventually(t, "an alert that says "+part, func() (string, bool) { all := r.all(); return all, strings.Contains(all, part) })
}

// On the real engine: who is notified of what, escalation, the way back, the commands
// and the metrics.
func TestWatchdogNotifies(t *testing.T) {
	t.Parallel()
	everybody, onCall, boss, dead := newReceiver(t, 200), newReceiver(t, 200), newReceiver(t, 200), newReceiver(t, 500)
	onCall.busy = 2
	name := newContainer(t)
	addr := "127.0.0.1:" + freePort(t)
	d := startWatchdog(t, nil, "--services", name, "--max-attempts", "2", "--probe-figures", "--notify", everybody.url, "--notify", "critical="+onCall.url, "--notify", dead.url,
		"--escalate-after", "1s="+boss.url, "--host-name", "node7", "--listen", addr)
	dockerExec(t, name, "/testapp", "fail", "-1")
	everybody.waitFor(t, "restarted (1 of 2)")
	onCall.waitFor(t, "gave up after 2 restarts")
	boss.waitFor(t, "unresolved for 1s: gave up after 2 restarts")
	for _, part := range []string{`"title":"[critical] ` + name + ` on node7"`, "host: node7", "attempt: 2 of 2", "next: nothing, until it is healthy", "last output of the failed probe: pool exhausted"} {
		if !strings.Contains(onCall.all(), part) {
			t.Errorf("the alert does not say %q:\n%s", part, onCall.all())
		}
	}
	if strings.Contains(onCall.all(), "restarted (1") {
		t.Errorf("a warning went to who wants critical ones:\n%s", onCall.all())
	}

	client := func(args ...string) (string, int) {
		return output(t, nil, filepath.Join(bin, "watchdog"), append(args, "--control", filepath.Join(d.dir, "control.sock"))...)
	}
	if out, code := client("status"); code != 0 || !strings.Contains(out, "given up") || !strings.Contains(out, "2 of 2") || !strings.Contains(out, "unhealthy") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, code := client("history"); code != 0 || !strings.Contains(out, "restart 1 of 2") || !strings.Contains(out, "gave up after 2 restarts") || strings.Count(out, "\n") < 5 {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, code := client("reset", "nobody"); code != 1 || !strings.Contains(out, `no service or container is called "nobody"`) {
		t.Errorf("exit %d: %s", code, out)
	}

	get := func(path string) string {
		t.Helper()
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	text := get("/metrics")
	for _, part := range []string{"watchdog_engine_up 1", `watchdog_restarts_total{service="` + name + `"} 2`, `watchdog_give_ups_total{service="` + name + `"} 1`, `watchdog_service_given_up{service="` + name + `"} 1`,
		`watchdog_service_healthy{service="` + name + `"} 0`, `watchdog_alert_deliveries_total{outcome="delivered"}`} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
	if !regexp.MustCompile(`(?m)^healthcheck_check_status\{check="probe",service="`+name+`"\} 2$`).MatchString(text) || !strings.Contains(text, `healthcheck_check_duration_seconds{check="probe",service="`+name+`"} `) {
		t.Errorf("no figures of the probe in\n%s", text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	var status []struct{ Service, Phase string }
	if err := json.Unmarshal([]byte(get("/api/status")), &status); err != nil || len(status) != 1 || status[0].Phase != "given up" {
		t.Errorf("%v %v", status, err)
	}

	// A person mends it: reset, and it is healed by the next restart.
	dockerExec(t, name, "/testapp", "fail", "1")
	if out, code := client("reset", name); code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	d.waitForN(t, name, "recovered in ", 1)
	everybody.waitFor(t, "recovered in ")
	for _, r := range []*receiver{everybody, onCall, boss} {
		r.waitFor(t, "resolved: reset by a person")
	}
	// Nobody else may open the socket, and nothing on TCP changes anything.
	if out, _ := output(t, nil, "stat", "-c", "%a", filepath.Join(d.dir, "control.sock")); strings.TrimSpace(out) != "600" {
		t.Errorf("the socket's mode is %s", out)
	}
	for _, path := range []string{"/reset?name=" + name, "/api/reset"} {
		resp, err := http.Post("http://"+addr+path, "", nil)
		if err != nil || resp.StatusCode < 400 {
			t.Errorf("POST %s: %v %v", path, resp, err)
		}
	}
	d.stop(t)
	if out, code := client("status"); code != 1 || !strings.HasPrefix(out, "error: ") || !strings.Contains(out, "hint: is watchdog run running") {
		t.Errorf("exit %d: %s", code, out)
	}
	// What it decided is remembered by the next one.
	d.start(t)
	d.waitFor(t, "watching")
	eventually(t, "the history is back", func() (string, bool) {
		out, _ := client("history", "--output", "json")
		return out, strings.Contains(out, "gave up after 2 restarts")
	})
}

// A receiver that hangs holds up no restart.
func TestWatchdogWithAReceiverThatHangs(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	name := newContainer(t)
	d := startWatchdog(t, nil, "--services", name, "--notify", "generic+http://"+ln.Addr().String()+"/")
	dockerExec(t, name, "/testapp", "fail", "3")
	d.waitForN(t, name, "recovered in ", 1)
	if n := starts(t, name); n != 4 {
		t.Errorf("%d starts", n)
	}
}

// The examples for Prometheus and Grafana name metrics that exist, and the
// rules are rules.
func TestMonitoringExamples(t *testing.T) {
	if out, code := output(t, nil, "promtool", "check", "rules", "../examples/monitoring/alerts.yml"); code != 0 || !strings.Contains(out, "9 rules found") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, code := output(t, nil, "promtool", "test", "rules", "../examples/monitoring/alerts_test.yml"); code != 0 || !strings.Contains(out, "SUCCESS") {
		t.Errorf("exit %d: %s", code, out)
	}
	source, err := os.ReadFile("../cmd/watchdog/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alerts.yml", "grafana.json"} {
		text, err := os.ReadFile("../examples/monitoring/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".json") && !json.Valid(text) {
			t.Errorf("%s is not JSON", name)
		}
		names := regexp.MustCompile(`(?:watchdog|healthcheck)_[a-z_]+`).FindAllString(string(text), -1)
		if len(names) < 8 {
			t.Errorf("%s names %v", name, names)
		}
		for _, metric := range names {
			if !strings.Contains(string(source), `"`+strings.TrimSuffix(metric, "_bucket")+`"`) {
				t.Errorf("%s: there is no metric %s", name, metric)
			}
		}
	}
}

// lint, on the containers that run: one whose timeout is longer than its
// interval and whose restart policy competes with the watchdog, which are
// warnings, and one whose probe the shell puts into the background.
func TestLintOnTheEngine(t *testing.T) {
	t.Parallel()
	name := newContainer(t, "--restart", "always")
	background := newContainer(t, "--health-cmd", "curl http://localhost/?a=1&b=2")
	lint := func(args ...string) (map[string]string, int) {
		out, code := output(t, nil, filepath.Join(bin, "watchdog"), append([]string{"lint", "--output", "json"}, args...)...)
		var all []struct{ Rule, Level, Service, Place string }
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			t.Fatalf("exit %d, %v: %s", code, err, out)
		}
		got := map[string]string{}
		for _, f := range all {
			got[f.Service+" "+f.Rule] = f.Level + " at " + f.Place
		}
		return got, code
	}
	got, code := lint("--services", name+","+background+",nothing-has-this-name")
	for what, want := range map[string]string{
		name + " timeout-not-shorter-than-interval":    "warning at container " + name,
		name + " competing-restart-policy":             "warning at container " + name,
		background + " background-in-probe":            "error at container " + background,
		"nothing-has-this-name services-match-nothing": "error at engine",
	} {
		if got[what] != want || code != 1 {
			t.Errorf("exit %d, %s: %q, want %q", code, what, got[what], want)
		}
	}
	if got, _ := lint("--services", name, "--ignore", "competing-restart-policy"); got[name+" competing-restart-policy"] != "" || got[name+" timeout-not-shorter-than-interval"] == "" {
		t.Errorf("found %v", got)
	}
}
