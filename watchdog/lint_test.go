package watchdog

import (
	"strings"
	"testing"
	"time"
)

// rules are the names of what was found.
func rules(all []Finding) string {
	var names []string
	for _, f := range all {
		names = append(names, f.Level+":"+f.Rule)
	}
	return strings.Join(names, " ")
}

func TestLintOfRunningContainers(t *testing.T) {
	start := t0
	ran := func(after, took time.Duration, code int) ProbeResult {
		return ProbeResult{start.Add(after), start.Add(after + took), code, "OCI runtime exec failed: exec: \"curl\": executable file not found in $PATH"}
	}
	good := Container{Name: "app", Image: "app", State: "running", StartedAt: start, HasHealthcheck: true, Interval: 10 * time.Second, Timeout: 4 * time.Second,
		StartPeriod: 20 * time.Second, Test: []string{"CMD", "/healthcheck", "--layers", "api"}, Log: []ProbeResult{ran(10*time.Second, time.Second, 0)}}
	for name, c := range map[string]struct {
		c       Container
		watched bool
		want    string
	}{
		"well":            {good, true, ""},
		"default timeout": {with(good, func(c *Container) { c.Timeout = 0 }), false, "error:timeout-not-shorter-than-interval"},
		"slow probe":      {with(good, func(c *Container) { c.Log = []ProbeResult{ran(10*time.Second, 3*time.Second, 0)} }), false, "warning:slow-probe"},
		"slow start": {with(good, func(c *Container) {
			c.Log = []ProbeResult{ran(10*time.Second, 1, 1), ran(20*time.Second, 1, 1), ran(30*time.Second, 1, 0)}
		}), false, "warning:start-period-too-short"},
		"a log that does not reach back": {with(good, func(c *Container) { c.Log = []ProbeResult{ran(time.Hour, 1, 1), ran(time.Hour+time.Minute, 1, 0)} }), false, ""},
		"cannot run":                     {with(good, func(c *Container) { c.Log = []ProbeResult{ran(10*time.Second, 1, -1)} }), false, "error:probe-cannot-run"},
		"restart policy":                 {with(good, func(c *Container) { c.RestartPolicy = "unless-stopped" }), true, "warning:competing-restart-policy"},
		"not watched":                    {with(good, func(c *Container) { c.RestartPolicy = "unless-stopped" }), false, ""},
		"none":                           {Container{Name: "x"}, false, "warning:no-healthcheck"},
		"none, watched":                  {Container{Name: "x"}, true, "error:watched-without-healthcheck"},
		"database":                       {with(good, func(c *Container) { c.Test = []string{"CMD", "curl", "http://x/db/health"} }), true, "warning:liveness-looks-at-dependencies"},
		"all layers":                     {with(good, func(c *Container) { c.Test = []string{"CMD", "/healthcheck"} }), true, "warning:liveness-looks-at-dependencies"},
	} {
		all := Lint(LintContainer(c.c, c.watched))
		if got := rules(all); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		for _, f := range all {
			if f.Instead == "" || f.Message == "" || f.Place != "container "+c.c.Name {
				t.Errorf("%s: %+v", name, f)
			}
			if !containsRule(f.Rule) {
				t.Errorf("%s is not listed", f.Rule)
			}
		}
	}
}

func containsRule(name string) bool {
	for _, r := range Rules {
		if r.Name == name {
			return true
		}
	}
	return false
}
