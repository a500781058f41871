package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// containerd is the engine's own, by the client that Debian ships with it.
func containerd(t *testing.T) []string {
	t.Helper()
	for _, sock := range []string{"/var/run/docker/containerd/containerd.sock", "/run/containerd/containerd.sock"} {
		if _, err := os.Stat(sock); err == nil {
			return []string{"ctr", "--address", sock, "--namespace", "moby"}
		}
	}
	t.Fatal("the engine's containerd is not to be found")
	return nil
}

// killedByKubelet runs a probe through containerd and kills it when running
// says that it is at work.
func killedByKubelet(t *testing.T, id string, running func() (string, bool), command ...string) {
	t.Helper()
	ctr := containerd(t)
	name := fmt.Sprintf("probe-%d", time.Now().UnixNano())
	call := func(args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), ctr[0], append(ctr[1:], args...)...)
	}
	cmd := call(append([]string{"tasks", "exec", "--exec-id", name, id}, command...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the probe is at work", running)
	if out, err := call("tasks", "kill", "--exec-id", name, "-s", "SIGKILL", id).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+9 {
		t.Errorf("exit %d, want that of SIGKILL", code)
	}
}

// dead counts the dead that nobody has waited for, once the application is all
// that is left alive in the container. The engine does not tell of them; they
// are children of the container's first process.
func dead(t *testing.T, id string) (n int) {
	t.Helper()
	first := docker(t, "inspect", "--format", "{{.State.Pid}}", id)
	eventually(t, "the probe has left nothing alive", func() (string, bool) {
		living := docker(t, "top", id, "-eo", "pid,stat,args")
		out, _ := output(t, nil, "ps", "-o", "pid,stat,args", "--ppid", first, "--no-headers")
		n = strings.Count(out, "\n")
		return living + out, strings.Count(living, "\n")-strings.Count(living, "<defunct>") == 1 && strings.Contains(living, "/demo serve")
	})
	return n
}

// alone fails unless the probe has left nothing behind, not even a dead process.
func alone(t *testing.T, id string, before int) {
	t.Helper()
	eventually(t, "the probe has left nothing behind", func() (string, bool) {
		n := dead(t, id)
		return fmt.Sprintf("%d dead, %d before", n, before), n <= before
	})
}

// A probe as a kubelet runs it: containerd starts it in the container, its
// output is kept, and it is killed at the timeout.
//
// The engine's own exec is what runs it while it may end by itself: ctr now
// and then loses the output of a program that ends at once, whichever it is.
func TestExecProbe(t *testing.T) {
	t.Parallel()
	image := buildImageWith(t, []string{filepath.Join(bin, "testapp")}, "COPY testapp /usr/bin/nvidia-smi", `CMD ["/demo", "serve", ":5000"]`)
	id := start(t, "--read-only", "--user", "65532", "--network", "none", image)
	quiet := []string{"/healthcheck", "--cpu-max", "off", "--mem-max", "off", "--disk-max", "off"}
	run := func(args ...string) (string, int) {
		return output(t, nil, "docker", slices.Concat([]string{"exec", id}, quiet, args)...)
	}
	eventually(t, "the application serves", func() (string, bool) {
		out, code := run()
		return out, code == 0
	})
	for name, c := range map[string]struct {
		code int
		want string
		args []string
	}{
		"healthy":            {0, "healthy: 6 checks passed in ", nil},
		"unhealthy":          {1, "1 of 1 failed: ", []string{"--layers", "api", "--api", "/nothing"}},
		"bad flag":           {1, "error: unknown flag --nothing", []string{"--nothing"}},
		"own deadline":       {1, "vector: GET http://localhost:5000/hang: no answer within 800ms", []string{"--timeout", "800ms", "--vector", "/hang"}},
		"a child that hangs": {1, "no answer within 800ms", []string{"--timeout", "800ms", "--gpu"}},
	} {
		before := dead(t, id)
		out, code := run(c.args...)
		if code != c.code || !strings.Contains(out, c.want) || len(out) > 4096 {
			t.Errorf("%s: exit %d, want %d and %q: %s", name, code, c.code, c.want, out)
		}
		if !strings.Contains(name, "child") {
			alone(t, id, before)
		}
	}
	// A child that was killed is waited for. On a machine that is too busy to end
	// it within the little time that is left, a run may leave it; not each one.
	const runs = 20
	before := dead(t, id)
	for range runs {
		if out, code := run("--timeout", "100ms", "--layers", "gpu"); code != 1 {
			t.Errorf("exit %d: %s", code, out)
		}
	}
	if n := dead(t, id) - before; n >= runs {
		t.Errorf("%d runs left %d dead children", runs, n)
	}
	// A probe with a deadline of its own that is too long is killed.
	at := func() (string, bool) {
		out := docker(t, "top", id, "-eo", "pid,args")
		return out, strings.Contains(out, "/hang")
	}
	before = dead(t, id)
	killedByKubelet(t, id, at, append(quiet, "--interval", "2m", "--timeout", "1m", "--check-timeout", "1m", "--vector", "/hang")...)
	alone(t, id, before)
}
