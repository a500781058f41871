package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// prometheus is a real one, with the example's rules, that scrapes a watchdog.
type prometheus struct {
	url string
}

func startPrometheus(t *testing.T, target string) prometheus {
	t.Helper()
	dir, err := os.MkdirTemp(runDir, "prometheus-")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs("../examples/monitoring/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n  - job_name: watchdog\n    static_configs: [{targets: [%q]}]\n", rules, target)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p := prometheus{"http://127.0.0.1:" + freePort(t)}
	log := &logBuffer{}
	cmd := exec.Command("prometheus", "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", strings.TrimPrefix(p.url, "http://"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Log(tail(log.String()))
		}
	})
	eventually(t, "Prometheus is ready", func() (string, bool) {
		resp, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return err.Error(), false
		}
		resp.Body.Close()
		return resp.Status, resp.StatusCode == http.StatusOK
	})
	return p
}

// get asks the API for something and returns its data.
func (p prometheus) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := http.Get(p.url + "/api/v1/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v: %s %s", path, err, resp.Status, body)
	}
	var answer struct{ Data json.RawMessage }
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%s: %v: %s", path, err, body)
	}
	return string(answer.Data)
}

// query lists the values of an expression, by check where there is one.
func (p prometheus) query(t *testing.T, expression string) (values []string) {
	t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := json.Unmarshal([]byte(p.get(t, "query?query="+url.QueryEscape(expression))), &data); err != nil {
		t.Fatal(err)
	}
	for _, r := range data.Result {
		values = append(values, strings.TrimSpace(r.Metric["check"]+" "+fmt.Sprint(r.Value[1])))
	}
	slices.Sort(values)
	return values
}

// becomes waits for the values of an expression.
func (p prometheus) becomes(t *testing.T, expression string, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is %q", expression, want), func() (string, bool) {
		got := p.query(t, expression)
		return fmt.Sprintf("%q", got), slices.Equal(got, want)
	})
}

// A real Prometheus scrapes a watchdog: what the probes tell, the example's
// alerts, every expression and every metric of the dashboard, and the end of
// the series with their service.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	name := runName("prometheus-app")
	start(t, append(probedApp(name), causesImage())...)
	waitFor(t, name, "healthy")
	addr := "127.0.0.1:" + freePort(t)
	startWatchdog(t, nil, "--services", name, "--max-attempts", "1", "--probe-figures", "--listen", addr)
	p := startPrometheus(t, addr)
	p.becomes(t, `up{job="watchdog"}`, "1")
	p.becomes(t, fmt.Sprintf(`healthcheck_check_status{service=%q}`, name), "api 0", "cpu 0", "disk 0", "memory 0", "network 0")
	p.becomes(t, fmt.Sprintf(`healthcheck_check_limit{service=%q}`, name), "cpu 90", "disk 95", "memory 90")
	p.becomes(t, fmt.Sprintf(`healthcheck_check_value{service=%q, check=~"disk|memory"} > bool 0`, name), "disk 1", "memory 1")
	p.becomes(t, fmt.Sprintf(`count(healthcheck_check_duration_seconds{service=%q} >= 0)`, name), "5")

	dockerExec(t, name, "/testapp", "fail", "-1")
	p.becomes(t, fmt.Sprintf(`healthcheck_check_status{service=%q, check=~"api|cpu"}`, name), "api 2", "cpu 0")
	p.becomes(t, `ALERTS{alertname="ServiceGivenUp", alertstate="firing", severity="critical"}`, "1")
	p.becomes(t, `ALERTS{alertname="CheckFails", alertstate="pending"}`, "api 1")

	// Everything that the rules and the dashboard name is there, and is an
	// expression that Prometheus understands.
	there := p.get(t, "label/__name__/values")
	for _, file := range []string{"alerts.yml", "grafana.json"} {
		text, err := os.ReadFile("../examples/monitoring/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, metric := range regexp.MustCompile(`(?:watchdog|healthcheck)_[a-z_]+`).FindAllString(string(text), -1) {
			if !strings.Contains(there, `"`+metric+`"`) {
				t.Errorf("%s: there is no %s in %s", file, metric, there)
			}
		}
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	text, err := os.ReadFile("../examples/monitoring/grafana.json")
	if err == nil {
		err = json.Unmarshal(text, &dashboard)
	}
	if err != nil || len(dashboard.Panels) < 12 {
		t.Fatalf("%v: %d panels", err, len(dashboard.Panels))
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			p.query(t, target.Expr)
		}
	}

	docker(t, "rm", "-f", name)
	p.becomes(t, fmt.Sprintf(`{__name__=~"healthcheck_check_.*", service=%q}`, name))
}
