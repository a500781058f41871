package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The example's Dockerfile has the lines that are tested, and the example's
// compose file brings up a watchdog that works: nobody, read-only, without a
// network, healthy by the probe's own word.
func TestWatchdogExample(t *testing.T) {
	text, err := os.ReadFile("../examples/watchdog/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, ok := strings.Cut(string(text), "FROM scratch\n")
	if !ok {
		t.Fatal("the example is not FROM scratch")
	}
	last = strings.Replace(last, "COPY --from=build /out/healthcheck /out/watchdog /", "COPY healthcheck watchdog /", 1)
	last = strings.Replace(last, "COPY --from=build --chown=65534:65534 /out/state ", "COPY --chown=65534:65534 state ", 1)
	last = strings.Replace(last, "--interval=30s", "--interval=1s", 1)
	empty := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	image := buildImageWith(t, []string{filepath.Join(bin, "watchdog"), empty}, last)
	st, err := os.Stat(engineSocket)
	if err != nil {
		t.Fatal(err)
	}
	project := fmt.Sprintf("hcexample%d", os.Getpid())
	environ := append(os.Environ(), "WATCHDOG_IMAGE="+image, "APP_IMAGE="+sickImage(), fmt.Sprintf("DOCKER_GID=%d", st.Sys().(*syscall.Stat_t).Gid))
	compose := func(args ...string) (string, int) {
		return output(t, environ, "docker-compose", append([]string{"-p", project, "-f", "../examples/watchdog/docker-compose.yml"}, args...)...)
	}
	t.Cleanup(func() {
		cmd := exec.Command("docker-compose", "-p", project, "-f", "../examples/watchdog/docker-compose.yml", "down", "-v", "-t", "5")
		cmd.Env = environ
		cmd.Run()
	})
	if out, code := compose("up", "-d"); code != 0 {
		t.Fatal(out)
	}
	id := func(service string) string {
		return docker(t, "ps", "-aq", "--no-trunc", "--filter", "label=com.docker.compose.project="+project, "--filter", "label=com.docker.compose.service="+service)
	}
	dog, app := id("watchdog"), id("app")
	waitFor(t, dog, "healthy")
	waitFor(t, app, "healthy")
	exec_(t, app, "/sick", "ill", "1")
	eventually(t, "the app has recovered", func() (string, bool) {
		log := docker(t, "logs", dog)
		out, _ := output(t, nil, "docker", "logs", dog)
		return out, strings.Contains(log+out, "recovered in ")
	})
	if n := starts(t, app); n != 2 {
		t.Errorf("%d starts", n)
	}
}
