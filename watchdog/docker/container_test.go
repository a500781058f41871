package docker

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"healthcheck/probe"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// inspected is an engine's answer with these results of probes.
func inspected(log ...*container.HealthcheckResult) container.InspectResponse {
	return container.InspectResponse{ID: "x", Name: "/app", HostConfig: &container.HostConfig{}, Config: &container.Config{},
		State: &container.State{Status: "running", StartedAt: t0.Format(time.RFC3339Nano), Health: &container.Health{Status: "unhealthy", FailingStreak: len(log), Log: log}}}
}

func TestFromInspect(t *testing.T) {
	failed := &container.HealthcheckResult{ExitCode: 1, Output: "pool exhausted"}
	for text, want := range map[string]bool{
		"OCI runtime exec failed: exec failed: cannot exec in a stopped state: unknown":  true,
		"OCI runtime exec failed: exec failed: cannot exec a container that has stopped": true,
		"container 4f5e is not running": true,
		`OCI runtime exec failed: exec: "curl": executable file not found in $PATH: unknown`:                                      false,
		`OCI runtime exec failed: exec failed: unable to start container process: exec: "/x": permission denied: unknown`:         false,
		"OCI runtime exec failed: exec failed: unable to start container process: read init-p: connection reset by peer: unknown": true,
		"Health check exceeded timeout (3s)": false,
	} {
		c, err := fromInspect(inspected(failed, &container.HealthcheckResult{ExitCode: -1, Output: text}))
		if err != nil || c.ProbeInterrupted != want || !c.StartedAt.Equal(t0) || c.LastOutput != text {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	// The label that opts in, as a variable.
	env := inspected()
	env.Config.Env = []string{"PATH=/bin", "watchdog.enable=true", "WATCHDOG_ENABLE=true", "WATCHDOG_ENABLED=true", "X_WATCHDOG_ENABLE=1"}
	if c, err := fromInspect(env); err != nil || strings.Join(c.NotLabels, " ") != "watchdog.enable WATCHDOG_ENABLE" {
		t.Errorf("%q, %v", c.NotLabels, err)
	}
	// Killed: as all that runs in a container is when that ends.
	if c, err := fromInspect(inspected(&container.HealthcheckResult{ExitCode: 137})); err != nil || !c.ProbeInterrupted {
		t.Errorf("%+v, %v", c, err)
	}
	// A program's own output is not the engine's.
	for output, late := range map[string]bool{
		"Health check exceeded timeout (1s)":                                                                   true,
		"unhealthy: api: no answer within 2s\nFAIL api 2000ms  [self]  no answer within 2s":                    true,
		"unhealthy: db: no answer within 2s\nFAIL db 2000ms  [dependency db:5432]  no answer within 2s":        false,
		"unhealthy: api: connection refused\nFAIL api 1ms  [self]  connect to localhost:1: connection refused": false,
		"no answer within 2s": false,
	} {
		code := 1
		if strings.HasPrefix(output, "Health check") {
			code = -1
		}
		if c, err := fromInspect(inspected(&container.HealthcheckResult{ExitCode: code, Output: output})); err != nil || c.ProbeTimedOut != late {
			t.Errorf("%q: out of time %v, %v", output, c.ProbeTimedOut, err)
		}
	}
	if c, err := fromInspect(inspected(&container.HealthcheckResult{ExitCode: 1, Output: "the queue has stopped"})); err != nil || c.ProbeInterrupted {
		t.Errorf("%+v, %v", c, err)
	}
	for name, r := range map[string]container.InspectResponse{"empty": {}, "no state": {ID: "x", Config: &container.Config{}, HostConfig: &container.HostConfig{}}} {
		if c, err := fromInspect(r); err == nil {
			t.Errorf("%s: taken for %+v", name, c)
		}
	}
}

// What a report says is read whole, before the output is cut; a program that
// cannot be run is no fault of the container.
func TestCausesOfAFailedProbe(t *testing.T) {
	report := "unhealthy: vector: connection refused\n" + strings.Repeat("ok   x  1ms  fine\n", 100) + "FAIL vector  1ms  [dependency qdrant:6333]  connection refused\n"
	c, err := fromInspect(inspected(&container.HealthcheckResult{ExitCode: 1, Output: report}))
	if err != nil || len(c.Failures) != 1 || c.Failures[0].Cause.Host != "qdrant" || c.Failures[0].Check != "vector" {
		t.Errorf("%+v, %v", c.Failures, err)
	}
	c, err = fromInspect(inspected(&container.HealthcheckResult{ExitCode: -1, Output: `OCI runtime exec failed: exec: "curl": executable file not found in $PATH: unknown`}))
	if err != nil || len(c.Failures) != 1 || c.Failures[0].Cause.Class != probe.Config {
		t.Errorf("%+v, %v", c.Failures, err)
	}
	c, err = fromInspect(inspected(&container.HealthcheckResult{ExitCode: 1, Output: report}, &container.HealthcheckResult{ExitCode: -1, Output: "Health check exceeded timeout (3s)"}))
	if err != nil || len(c.Failures) != 0 {
		t.Errorf("the report before the last: %+v, %v", c.Failures, err)
	}
}

func TestNetworks(t *testing.T) {
	all := map[string]*network.EndpointSettings{"b": nil, "a": {IPAddress: netip.MustParseAddr("172.20.0.2"), Aliases: []string{"db"}, DNSNames: []string{"db", "p-db-1"}}}
	r := inspected()
	r.NetworkSettings = &container.NetworkSettings{Networks: all}
	c, err := fromInspect(r)
	if err != nil || len(c.Networks) != 2 || c.Networks[0].IP != "172.20.0.2" || !slices.Contains(c.Networks[0].Aliases, "p-db-1") || c.Networks[1].Name != "b" {
		t.Errorf("%+v, %v", c.Networks, err)
	}
	if c := fromSummary(container.Summary{NetworkSettings: &container.NetworkSettingsSummary{Networks: all}}); len(c.Networks) != 2 || c.Networks[0].IP != "172.20.0.2" {
		t.Errorf("%+v", c.Networks)
	}
}

// A report's checks have their figures; another probe has one of its own.
func TestFigures(t *testing.T) {
	at := time.Unix(100, 0)
	log := func(code int, output string) *container.Health {
		return &container.Health{Log: []*container.HealthcheckResult{{Output: "older"}, {Start: at, End: at.Add(2 * time.Second), ExitCode: code, Output: output}}}
	}
	for text, h := range map[string]*container.Health{
		"[]":                          nil,
		"[{probe ok 2s <nil> <nil>}]": log(0, "fine"), "[{probe fail 2s <nil> <nil>}]": log(1, "pool exhausted"),
	} {
		if got := fmt.Sprint(figures(h)); got != text {
			t.Errorf("%s, want %s", got, text)
		}
	}
	all := figures(log(1, "unhealthy: 1 of 1 failed: cpu: 98.0% of 2 cores\nFAIL cpu  3ms  [self]  98.0% of 2 cores (max 90%)\n"))
	if len(all) != 1 || all[0].Check != "cpu" || *all[0].Value != 98 || *all[0].Limit != 90 || all[0].Duration != 3*time.Millisecond {
		t.Errorf("%+v", all)
	}
}
