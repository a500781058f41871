package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
		{"", "run --max-attempts -1", "error: --max-attempts -1: want 0 or more\nhint: --max-attempts 0 only alerts\n"},
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
	if code := run(t.Context(), []string{"--help"}, os.Environ(), &out, &out); code != 0 {
		t.Errorf("exit %d", code)
	}
	for line := range strings.Lines(out.String()) {
		if len([]rune(line)) > 81 {
			t.Errorf("%d columns: %s", len([]rune(line))-1, line)
		}
	}
	for _, command := range []string{"run", "lint", "status", "history", "reset"} {
		var help, complaint bytes.Buffer
		if code := run(t.Context(), []string{command, "--help"}, os.Environ(), &help, &complaint); code != 0 || help.String() != out.String() || complaint.Len() > 0 {
			t.Errorf("%s --help: exit %d: %s", command, code, complaint.String())
		}
	}
	out.Reset()
	if code := run(t.Context(), []string{"version"}, os.Environ(), &out, &out); code != 0 || !strings.HasPrefix(out.String(), "watchdog ") {
		t.Errorf("exit %d: %s", code, out.String())
	}
}
