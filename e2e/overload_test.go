package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestOverloadedHost: the CPU is busy, and the probes of most services run out
// of time. Nothing is restarted, one alert says why, and once it is over
// everything becomes healthy by itself. The probes hang by a switch, since how
// slow they become beside a busy CPU is another matter on each machine.
func TestOverloadedHost(t *testing.T) {
	t.Parallel()
	base := testImage() // which measures the pace
	timeout := max(3*time.Second, 20*pace).Round(time.Millisecond)
	image := buildTestImage("overload", "FROM "+base,
		fmt.Sprintf(`HEALTHCHECK --interval=%s --timeout=%s --retries=2 CMD ["/testapp", "probe"]`, max(12*pace, 500*time.Millisecond).Round(time.Millisecond), timeout))
	var names []string
	for range 5 {
		name := fmt.Sprintf("%s-%d", runName("overload"), containerNumbers.next())
		start(t, "--name", name, "--network", "none", image)
		names = append(names, name)
	}
	for _, name := range names {
		waitFor(t, name, "healthy")
	}
	idle := hogs(t)
	r := newReceiver(t, 200)
	d := startWatchdog(t, nil, "--services", strings.Join(names, ","), "--notify", r.url)
	for _, name := range names[:4] {
		dockerExec(t, name, "/testapp", "hang", "1")
	}
	d.waitFor(t, "the host is overloaded: the probes of ")
	for _, name := range names[:4] {
		d.waitForN(t, name, "held: the host is overloaded", 1)
	}
	if status, _ := output(t, nil, filepath.Join(bin, "watchdog"), "status", "--control", filepath.Join(d.dir, "control.sock")); strings.Count(status, "the overloaded host") != 4 {
		t.Errorf("status:\n%s", status)
	}
	// One that dies meanwhile is not started either.
	dockerExec(t, names[4], "/testapp", "die", "3")
	d.waitForN(t, names[4], "held: the host is overloaded", 1)
	idle()
	for _, name := range names[:4] {
		dockerExec(t, name, "/testapp", "hang", "0")
	}
	d.waitFor(t, "the host is not overloaded any more")
	for _, name := range names {
		waitFor(t, name, "healthy")
	}
	for i, name := range names {
		if n, want := starts(t, name), 1+i/4; n != want {
			t.Errorf("%d starts, want %d:\n%s", n, want, d.log)
		}
	}
	r.waitFor(t, "resolved: ")
	critical := 0
	for _, l := range d.lines() {
		if l.Severity == "critical" {
			critical++
			if !strings.Contains(l.Msg, "(load ") || !strings.Contains(l.Msg, " of 5 services time out") {
				t.Errorf("the alert lacks the figures: %s", l.Msg)
			}
		}
	}
	if critical != 1 {
		t.Errorf("%d critical alerts:\n%s", critical, d.log)
	}
}

// hogs keeps every core busy until the function that it returns is called.
func hogs(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	for range runtime.NumCPU() {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, "testapp"), "spin")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go cmd.Wait()
	}
	return cancel
}
