package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A configuration file sets what neither a flag nor a variable sets.
func TestConfigFile(t *testing.T) {
	const text = `# everything by its name
all: true
max-attempts: 7
backoff-base: 3s
backoff-multiplier: 2.5
notify:
  - critical=generic://hunter2.invalid/x
  - generic://hunter2.invalid/y
quiet-hours: Sun 02:00-04:00
services: [a, b]
per-service:
  shop/db:
    max-attempts: 1
    cascade: false
  worker: {enable: false}
`
	g := given{args: []string{"--config", "/etc/watchdog.yml", "--backoff-base", "5s"}, environ: []string{"WATCHDOG_BACKOFF_MULTIPLIER=4"},
		read: func(path string) (string, error) { return text, nil }}
	c, err := parseRun(g)
	if err != nil {
		t.Fatal(err)
	}
	s := c.settings
	if !s.All || s.MaxAttempts != 7 || s.Base.String() != "5s" || s.Multiplier != 4 || len(c.router.Sinks) != 2 || s.QuietHours.String() != "Sun 02:00-04:00" || strings.Join(s.Services, " ") != "a b" {
		t.Errorf("%+v %+v", s, c.router.Sinks)
	}
	if len(c.overrides) != 2 || c.overrides[0].Name != "shop/db" || c.overrides[0].Labels["max-attempts"] != "1" || c.overrides[0].Labels["cascade"] != "false" {
		t.Errorf("%+v", c.overrides)
	}
	for _, empty := range []string{"", "# nothing\n", "---\n", "per-service: {}\n"} {
		g.read = func(string) (string, error) { return empty, nil }
		if c, err := parseRun(g); err != nil || c.settings.MaxAttempts != 3 {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

// What is wrong in the file is named with its line, and nothing of its values
// is printed.
func TestConfigFileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"max-atempts: 3":                         "line 1: there is no setting \"max-atempts\" (did you mean max-attempts?)",
		"all: true\nconfig: x":                   "line 2: there is no setting \"config\"",
		"all: true\n\nall: false":                "line 3: \"all\" stands there twice",
		"max-attempts: many":                     "/c.yml, line 1: max-attempts",
		"max-attempts: [1, 2]":                   "line 1: max-attempts: want one value",
		"max-attempts: {a: 1}":                   "line 1: max-attempts: want a value",
		"max-attempts:":                          "line 1: max-attempts: want a value",
		"- a\n- b":                               "line 1: want names with values",
		"a: b: c":                                "not YAML",
		"\tx":                                    "not YAML",
		"all: true\n---\nall: true":              "more than one document",
		"x: 1\nall: true":                        "there is no setting",
		"all: &a true\ndry-run: *a":              "line 2: anchors, aliases",
		"per-service: [a]":                       "line 1: want names with values",
		"per-service: {a: {max-attempts: x}}":    "line 1: max-attempts: \"x\" is not a whole number",
		"per-service:\n  a:\n    max-atempts: 1": "line 3: max-atempts: there is no such setting",
		"per-service: {a: {enable: perhaps}}":    "line 1: enable: \"perhaps\" is neither true nor false",
		"notify: slack://hunter2":                "not an address that shoutrrr knows",
		"escalate-after: [hunter2]":              "want a duration, = and an address",
		"heartbeat: hunter2":                     "want an http or https URL",
		"max-restarts: 0/5m":                     "want a number, a slash and a duration",
	} {
		g := given{args: []string{"--config", "/c.yml"}, read: func(string) (string, error) { return text + "\n", nil }}
		_, err := parseRun(g)
		if err == nil {
			t.Errorf("%q was taken", text)
			continue
		}
		ue, ok := err.(*usageError)
		got := err.Error()
		if ok {
			got += " (" + ue.Hint + ")"
		}
		if !ok || !strings.Contains(got, want) || strings.Contains(got, "hunter2") || ue.Hint == "" {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// On SIGHUP the file is read anew: a good one holds at once, a bad one is
// refused whole. watchdog config check says which it is.
func TestConfigFileReadAnew(t *testing.T) {
	f := newFakeEngine(t, 2)
	path := filepath.Join(t.TempDir(), "watchdog.yml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func() string {
		out, _ := exec.CommandContext(t.Context(), binary, "config", "check", path).CombinedOutput()
		return string(out)
	}
	write("host-name: node7\nper-service:\n  app0: {enable: false}\n")
	cmd, log := daemon(t, f, nil, "--listen", "none", "--config", path)
	eventually(t, "app1 alone is watched", func() bool { return strings.Contains(log.String(), "watched containers: 1") })
	f.makeUnhealthy(f.order[0])
	f.makeUnhealthy(f.order[1])
	if id := <-f.restarts; id != f.order[1] {
		t.Fatalf("%s was restarted", id)
	}
	write("max-attempts: 5\nmax-atempts: 3\n")
	if got := check(); got != "error: "+path+", line 2: there is no setting \"max-atempts\"\nhint: did you mean max-attempts?\n" {
		t.Error(got)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is refused", func() bool { return strings.Contains(log.String(), "event=config_refused") })
	h := newHooks(t)
	write("max-attempts: 5\nreconcile: 2m\nhost-name: node8\nnotify: [" + h.url + "/all]\n")
	if got := check(); got != path+" is good\n" {
		t.Error(got)
	}
	if len(f.restarts) != 0 {
		t.Errorf("restarted by a bad configuration:\n%s", log)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if id := <-f.restarts; id != f.order[0] {
		t.Errorf("%s was restarted", id)
	}
	eventually(t, "what needs a restart is named", func() bool {
		return strings.Contains(log.String(), "these change with a restart of the watchdog alone: --reconcile, --host-name\"") && strings.Contains(log.String(), "restart 1 of 5")
	})
	eventually(t, "an alert is sent", func() bool { return len(h.at("/all")) > 0 })
	if text := h.at("/all")[0]; !strings.Contains(text, "host: node7") {
		t.Errorf("another name of the host than that of the page: %q", text)
	}
}
