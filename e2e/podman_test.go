package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Podman's compatible socket. There is no systemd here, whose timers run its
// probes: the test runs each probe itself, which sends the same events.
func TestWatchdogOnPodman(t *testing.T) {
	dir := shortDir(t) // podman wants at most 50 bytes
	environ := append(os.Environ(), "DISABLE_HC_SYSTEMD=true")
	base := []string{"--root", dir + "/root", "--runroot", dir + "/run", "--tmpdir", dir + "/tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"}
	podman := func(args ...string) (string, int) {
		t.Helper()
		return output(t, environ, "podman", append(append([]string{}, base...), args...)...)
	}
	must := func(args ...string) {
		t.Helper()
		if out, code := podman(args...); code != 0 {
			t.Fatalf("podman %v: exit %d: %s", args, code, out)
		}
	}
	t.Cleanup(func() {
		cmd := exec.Command("podman", append(append([]string{}, base...), "rm", "-a", "-f", "-t", "0")...)
		cmd.Env = environ
		cmd.Run()
		syscall.Unmount(dir+"/root/vfs", syscall.MNT_DETACH)
		syscall.Unmount(dir+"/root", syscall.MNT_DETACH)
	})
	if out, code := output(t, nil, "cp", filepath.Join(bin, "testapp"), dir); code != 0 {
		t.Fatal(out)
	}
	text := "FROM scratch\nCOPY testapp /testapp\nHEALTHCHECK --interval=1s --retries=1 CMD [\"/testapp\", \"probe\"]\nCMD [\"/testapp\", \"serve\"]\n"
	if err := os.WriteFile(dir+"/Dockerfile", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	must("build", "--format", "docker", "-t", "testapp", dir)
	s := &server{dir: dir}
	startServer(t, s, nil, []string{"DISABLE_HC_SYSTEMD=true"}, "podman", append(append([]string{}, base...), "system", "service", "-t", "0", "unix://"+dir+"/sock")...)
	for _, name := range []string{"papp", "pother"} {
		must("run", "-d", "--name", name, "--network", "none", "--ulimit", "nofile=512:512", "--ulimit", "nproc=512:512", "--label", "watchdog.enable=true", "testapp")
		must("healthcheck", "run", name)
	}
	d := startWatchdog(t, nil, "--host", "unix://"+dir+"/sock")
	if _, code := podman("exec", "papp", "/testapp", "fail", "1"); code != 0 {
		t.Fatal("the container does not obey")
	}
	podman("healthcheck", "run", "papp")
	podman("healthcheck", "run", "pother") // an event that says healthy
	d.waitForN(t, "papp", "restarted (1 of 3)", 1)
	must("healthcheck", "run", "papp")
	d.waitForN(t, "papp", "recovered in ", 1)
	d.never(t, "pother", "restart ")
	if !strings.Contains(d.log.String(), "pool exhausted") {
		t.Errorf("the probe's output is missing:\n%s", d.log)
	}
}
