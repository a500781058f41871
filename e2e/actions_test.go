package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// phase is what watchdog status says of a container.
func (d *daemon) phase(t *testing.T, name string) string {
	t.Helper()
	out, code := output(t, nil, filepath.Join(bin, "watchdog"), "status", "--output", "json", "--control", filepath.Join(d.dir, "control.sock"))
	var all []struct{ Container, Phase string }
	if code != 0 || json.Unmarshal([]byte(out), &all) != nil {
		t.Fatalf("exit %d: %s", code, out)
	}
	for _, s := range all {
		if s.Container == name {
			return s.Phase
		}
	}
	return ""
}

func (d *daemon) waitForPhase(t *testing.T, name, phase string) {
	t.Helper()
	eventually(t, name+" is "+phase, func() (string, bool) {
		got := d.phase(t, name)
		return got + "\n" + tail(d.log.String()), got == phase
	})
}

// What is to be stopped is stopped once, by the engine's own call, and neither
// the watchdog nor a restart policy starts it again; a person does, or a reset.
// What is only told of is left as it is.
func TestWatchdogActions(t *testing.T) {
	t.Parallel()
	stops := newContainer(t, "--restart", "always", "--label", "watchdog.action=stop")
	givesUp := newContainer(t, "--restart", "unless-stopped", "--label", "watchdog.on-give-up=stop", "--label", "watchdog.max-attempts=1")
	told := newContainer(t, "--label", "watchdog.action=notify")
	state := func(name string) string {
		return strings.TrimSpace(docker(t, "inspect", "--format", "{{.State.Status}}", name))
	}
	d := startWatchdog(t, nil, "--services", strings.Join([]string{stops, givesUp, told}, ","))
	for _, name := range []string{stops, givesUp, told} {
		waitFor(t, name, "healthy")
		dockerExec(t, name, "/testapp", "fail", "-1")
	}
	d.waitForPhase(t, stops, "stopped")
	d.waitForPhase(t, givesUp, "stopped")
	d.waitForPhase(t, told, "held")
	d.never(t, stops, "restart ")
	d.never(t, told, "restart ")
	// So it stays behind a restart of the watchdog, too.
	d.stop(t)
	d.start(t)
	d.waitFor(t, "watching")
	d.never(t, givesUp, "restart ")
	for name, want := range map[string]string{stops: "exited", givesUp: "exited", told: "running"} {
		if got := state(name); got != want {
			t.Errorf("%s is %s, want %s:\n%s", name, got, want, d.log)
		}
	}
	for name, want := range map[string]string{stops: "stopped", givesUp: "stopped", told: "held"} {
		if got := d.phase(t, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if n, m := starts(t, stops), starts(t, givesUp); n != 1 || m != 2 {
		t.Errorf("%d and %d starts, want 1 and 2:\n%s", n, m, d.log)
	}
	// A person starts one of them, and resets the other.
	docker(t, "start", stops)
	d.waitForN(t, stops, "started by somebody else", 1)
	if out, code := output(t, nil, filepath.Join(bin, "watchdog"), "reset", givesUp, "--control", filepath.Join(d.dir, "control.sock")); code != 0 {
		t.Fatal(out)
	}
	d.waitForN(t, givesUp, "restarted (1 of 1)", 1)
	dockerExec(t, told, "/testapp", "fail", "0")
	d.waitForPhase(t, told, "watching")
	d.waitForN(t, told, "healthy again by itself", 1)
}
