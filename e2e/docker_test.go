package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// health is what the engine knows of a container's health.
type health struct {
	Status string
	Log    []struct {
		ExitCode int
		Output   string
	}
}

func inspect(t *testing.T, id string) (h health) {
	t.Helper()
	if err := json.Unmarshal([]byte(docker(t, "inspect", "--format", "{{json .State.Health}}", id)), &h); err != nil {
		t.Fatal(err)
	}
	return h
}

func waitFor(t *testing.T, id, status string) health {
	t.Helper()
	var h health
	eventually(t, "status "+status, func() (string, bool) {
		h = inspect(t, id)
		return fmt.Sprintf("%+v", h), h.Status == status
	})
	return h
}

// exampleHealthcheck is the HEALTHCHECK instruction of Dockerfile.example, so
// that the line people copy is the line that is tested.
func exampleHealthcheck(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile.example")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.ReplaceAll(string(text), "\\\n", " "), "\n")
	for _, l := range lines {
		if strings.HasPrefix(l, "HEALTHCHECK ") {
			return l
		}
	}
	t.Fatal("Dockerfile.example has no HEALTHCHECK")
	return ""
}

const fastHealthcheck = `HEALTHCHECK --interval=1s --timeout=10s --retries=1 CMD ["/healthcheck"]`

// The seed's job with no flag at all, in an image from scratch, read-only, as
// nobody, within limits: the engine's own view of it.
func TestEngineSeesHealthyUnhealthyHealthy(t *testing.T) {
	image := buildImage(t, fastHealthcheck, `CMD ["/demo", "serve", ":5000"]`)
	id := start(t, "--read-only", "--user", "65534", "--memory", "64m", "--cpus", "0.5", image)

	h := waitFor(t, id, "healthy")
	last := h.Log[len(h.Log)-1]
	if last.ExitCode != 0 || !strings.HasPrefix(last.Output, "healthy: 6 checks passed in ") {
		t.Errorf("exit %d: %s", last.ExitCode, last.Output)
	}
	for _, want := range []string{"% of 0.5 cores ", "% of 64.0 MiB (max 90%), container limit", "http://localhost:5000/vector/health: status 200"} {
		if !strings.Contains(last.Output, want) {
			t.Errorf("the log does not say %q:\n%s", want, last.Output)
		}
	}
	// From the second probe on there is a sample to compare with.
	eventually(t, "the sample is used", func() (string, bool) {
		log := inspect(t, id).Log
		out := log[len(log)-1].Output
		return out, strings.Contains(out, "% of 0.5 cores since last probe (max 90%), container limit")
	})

	docker(t, "kill", "-s", "USR1", id)
	h = waitFor(t, id, "unhealthy")
	last = h.Log[len(h.Log)-1]
	if last.ExitCode != 1 || len(last.Output) > 4096 ||
		!strings.Contains(last.Output, `1 of 6 failed: `) ||
		!strings.Contains(last.Output, `: db: GET http://localhost:5000/db/health: status 503, want 200: "pool exhausted"`) {
		t.Errorf("exit %d: %s", last.ExitCode, last.Output)
	}

	docker(t, "kill", "-s", "USR2", id)
	waitFor(t, id, "healthy")
}

// The instruction in Dockerfile.example is accepted and configured as written.
func TestExampleInstruction(t *testing.T) {
	image := buildImage(t, exampleHealthcheck(t), `CMD ["/demo", "serve", ":5000"]`)
	got := docker(t, "inspect", "--format", "{{json .Config.Healthcheck}}", image)
	want := `{"Test":["CMD","/healthcheck"],"Interval":30000000000,"Timeout":10000000000,"StartPeriod":5000000000,"Retries":3}`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// As root and as nobody, writable and read-only, with and without limits and
// with next to nothing of the machine to see.
func TestContainersOfAllKinds(t *testing.T) {
	image := buildImage(t, `CMD ["/demo", "serve", ":5000"]`)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"root":         {nil, ", no limit; host "},
		"nobody":       {[]string{"--user", "65534:65534"}, ", no limit; host "},
		"read-only":    {[]string{"--read-only", "--user", "65534", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"}, ", no limit; host "},
		"cpuset":       {[]string{"--cpuset-cpus", "0"}, "% of 1 core "},
		"pids":         {[]string{"--pids-limit", "40", "-e", "HEALTHCHECK_PIDS_MAX=99"}, "% of 40 tasks (max 99%), container limit"},
		"no network":   {[]string{"--network", "none"}, "status 200"},
		"hosts groups": {[]string{"--cgroupns", "host", "--memory", "64m"}, "% of 64.0 MiB"},
		"tiny":         {[]string{"--memory", "32m", "--cpus", "0.1"}, "% of 0.1 cores "},
	} {
		t.Run(name, func(t *testing.T) {
			id := start(t, append(c.args, image)...)
			eventually(t, "healthy", func() (string, bool) {
				out, code := output(t, nil, "docker", "exec", id, "/healthcheck", "--disk-max", "off", "--mem-max", "99", "--optional", "cpu")
				return out, code == 0 && strings.Contains(out, c.want)
			})
			// A second probe finds the first one's sample, whoever it runs as.
			out, code := output(t, nil, "docker", "exec", id, "/healthcheck", "--disk-max", "off", "--optional", "cpu")
			if code != 0 || !strings.Contains(out, "since last probe") && !strings.Contains(out, " over ") {
				t.Errorf("exit %d: %s", code, out)
			}
		})
	}
}

// The shell form, in an image that has a shell: what a person writes who
// follows the Docker documentation.
func TestShellForm(t *testing.T) {
	image := buildImageWith(t, []string{"/bin/busybox"}, "COPY busybox /bin/sh",
		`HEALTHCHECK --interval=1s --timeout=10s --retries=1 CMD /healthcheck --optional cpu || exit 1`, `CMD ["/demo", "serve", ":5000"]`)
	id := start(t, image)
	waitFor(t, id, "healthy")
	docker(t, "kill", "-s", "USR1", id)
	h := waitFor(t, id, "unhealthy")
	if last := h.Log[len(h.Log)-1]; last.ExitCode != 1 || !strings.Contains(last.Output, "db: GET http://localhost:5000/db/health: status 503") {
		t.Errorf("exit %d: %s", last.ExitCode, last.Output)
	}
}

// As the entrypoint of an image without a shell: the application is started
// once what it needs is there, as the container's first process, and gets the
// engine's signal.
func TestWaitAsTheEntrypoint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "there")
	image := buildImage(t, `ENTRYPOINT ["/healthcheck", "wait", "--db", "file:///wait/there", "--", "/demo", "serve", ":5000"]`)
	id := start(t, "-v", filepath.Dir(file)+":/wait:ro", "--stop-timeout", "600", image)
	eventually(t, "a line about what is missing", func() (string, bool) {
		out := docker(t, "logs", id)
		return out, strings.Contains(out, "s FAIL db  file:///wait/there: no such file or directory")
	})
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the application answers", func() (string, bool) {
		out, code := output(t, nil, "docker", "exec", id, "/healthcheck", "--layers", "api")
		return out, code == 0
	})
	if out := docker(t, "top", id, "-eo", "pid,args"); strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, " /demo serve :5000") {
		t.Errorf("its processes are\n%s", out)
	}
	docker(t, "stop", id)
	if out := docker(t, "inspect", "-f", "{{.State.ExitCode}}", id); out == "137" {
		t.Error("the application did not end by the engine's signal")
	}
}

// An OOM kill since the last probe is named, as is the cause when the memory
// limit is reached.
func TestMemoryAboveTheLimit(t *testing.T) {
	image := buildImage(t, `CMD ["/demo", "serve", ":5000"]`)
	id := start(t, "--memory", "64m", image)
	var out string
	var code int
	eventually(t, "memory fails", func() (string, bool) {
		out, code = output(t, nil, "docker", "exec", id, "/healthcheck", "--layers", "resource", "--mem-max", "0.1", "--cpu-max", "off", "--disk-max", "off")
		return out, code == 1
	})
	if first, _, _ := strings.Cut(out, "\n"); !strings.Contains(first, "memory: ") || !strings.Contains(first, "% of 64.0 MiB (max 0.1%), container limit") {
		t.Errorf("got %s", out)
	}
}
