package lint

import (
	"slices"
	"strings"
	"testing"
	"time"

	"healthcheck/watchdog/recovery"
)

// rules are the names of what was found.
func rules(all []Finding) string {
	var names []string
	for _, f := range all {
		names = append(names, f.Level+":"+f.Rule)
	}
	return strings.Join(names, " ")
}

// with is a changed copy.
func with(c recovery.Container, change func(*recovery.Container)) recovery.Container {
	details := *c.Details
	c.Details = &details
	change(&c)
	return c
}

func TestRunningContainers(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ran := func(after, took time.Duration, code int) recovery.ProbeResult {
		return recovery.ProbeResult{Start: start.Add(after), End: start.Add(after + took), ExitCode: code, Output: "OCI runtime exec failed: exec: \"curl\": executable file not found in $PATH"}
	}
	good := recovery.Container{Name: "app", State: "running", StartedAt: start, HasHealthcheck: true, Interval: 10 * time.Second, Timeout: 4 * time.Second,
		StartPeriod: 20 * time.Second, Details: &recovery.Details{Image: "app", Test: []string{"CMD", "/healthcheck", "--layers", "api", "--timeout", "3s"}, Log: []recovery.ProbeResult{ran(10*time.Second, time.Second, 0)}}}
	for name, c := range map[string]struct {
		c       recovery.Container
		watched bool
		want    string
	}{
		"healthy":         {good, true, ""},
		"default timeout": {with(good, func(c *recovery.Container) { c.Timeout, c.Details.Test = 0, []string{"CMD", "x"} }), false, "warning:timeout-not-shorter-than-interval"},
		"own bound":       {with(good, func(c *recovery.Container) { c.Timeout = 0 }), false, ""},
		"no CMD":          {with(good, func(c *recovery.Container) { c.Details.Test = []string{"curl", "-f", "http://x"} }), false, "error:test-without-cmd"},
		"killed at the timeout": {with(good, func(c *recovery.Container) {
			c.Details.Log = []recovery.ProbeResult{{Start: start.Add(10 * time.Second), End: start.Add(11 * time.Second), ExitCode: -1, Output: "Health check exceeded timeout (4s)"}}
		}), false, ""},
		"one retry": {with(good, func(c *recovery.Container) { c.Retries = 1 }), true, "warning:one-failure-restarts"},
		"slow probe": {with(good, func(c *recovery.Container) {
			c.Details.Log = []recovery.ProbeResult{ran(10*time.Second, 3*time.Second, 0)}
		}), false, "warning:slow-probe"},
		"slow start": {with(good, func(c *recovery.Container) {
			c.Details.Log = []recovery.ProbeResult{ran(10*time.Second, 1, 1), ran(20*time.Second, 1, 1), ran(30*time.Second, 1, 0)}
		}), false, "warning:start-period-too-short"},
		"a log that does not reach back": {with(good, func(c *recovery.Container) {
			c.Details.Log = []recovery.ProbeResult{ran(time.Hour, 1, 1), ran(time.Hour+time.Minute, 1, 0)}
		}), false, ""},
		"cannot run":     {with(good, func(c *recovery.Container) { c.Details.Log = []recovery.ProbeResult{ran(10*time.Second, 1, -1)} }), false, "error:probe-cannot-run"},
		"restart policy": {with(good, func(c *recovery.Container) { c.RestartPolicy = "unless-stopped" }), true, "warning:competing-restart-policy"},
		"not watched":    {with(good, func(c *recovery.Container) { c.RestartPolicy = "unless-stopped" }), false, ""},
		"none":           {recovery.Container{Name: "x"}, false, "warning:no-healthcheck"},
		"none, watched":  {recovery.Container{Name: "x"}, true, "error:watched-without-healthcheck"},
		"database": {with(good, func(c *recovery.Container) {
			c.Details.Test = []string{"CMD", "curl", "-f", "http://localhost/db/health"}
		}), true, "warning:liveness-looks-at-dependencies"},
		"all layers": {with(good, func(c *recovery.Container) { c.Details.Test = []string{"CMD", "/healthcheck", "--timeout=3s"} }), true, "warning:dependency-not-named"},
	} {
		all := Check(Target{Subjects: []Subject{fromContainer(c.c, c.watched)}}, Options{})
		if got := rules(all); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		for _, f := range all {
			if f.Instead == "" || f.Message == "" || f.Place != "container "+c.c.Name {
				t.Errorf("%s: %+v", name, f)
			}
			if !slices.ContainsFunc(Rules, func(r Rule) bool { return r.Name == f.Rule }) {
				t.Errorf("%s is not listed", f.Rule)
			}
		}
	}
}
