package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The last stage of the Dockerfile and the example's compose file bring up a
// watchdog that works: nobody, read-only, without a network, healthy by the
// probe's own word.
func TestWatchdogExample(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, ok := strings.Cut(string(text), "FROM scratch\n")
	if !ok {
		t.Fatal("the image is not FROM scratch")
	}
	last = strings.Replace(last, "COPY --from=build /out/healthcheck /out/watchdog /", "COPY healthcheck watchdog /", 1)
	last = strings.Replace(last, "COPY --from=build --chown=65532:65532 /out/state ", "COPY --chown=65532:65532 state ", 1)
	empty := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	image := buildImageWith(t, []string{filepath.Join(bin, "watchdog"), empty}, last)
	st, err := os.Stat(engineSocket)
	if err != nil {
		t.Fatal(err)
	}
	project := runName("example")
	environ := append(os.Environ(), "WATCHDOG_IMAGE="+image, "APP_IMAGE="+testImage(), fmt.Sprintf("DOCKER_GID=%d", st.Sys().(*syscall.Stat_t).Gid))
	// The example as it is, but for the pause between its probes.
	text, err = os.ReadFile("../examples/watchdog/docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "docker-compose.yml")
	quick := strings.Replace(strings.Replace(string(text), "interval: 30s", "interval: 1s", 1), `"--timeout", "3s"`, `"--timeout", "3s", "--interval", "30s"`, 1)
	if err := os.WriteFile(file, []byte(quick), 0o600); err != nil {
		t.Fatal(err)
	}
	compose := func(args ...string) (string, int) {
		return output(t, environ, "docker-compose", append([]string{"-p", project, "-f", file}, args...)...)
	}
	t.Cleanup(func() {
		cmd := exec.Command("docker-compose", "-p", project, "-f", file, "down", "-v", "-t", "5")
		cmd.Env = environ
		cmd.Run()
	})
	if out, code := compose("up", "-d"); code != 0 {
		t.Fatal(out)
	}
	id := func(service string) string {
		return docker(t, "ps", "-aq", "--no-trunc", "--filter", "label=com.docker.compose.project="+project, "--filter", "label=com.docker.compose.service="+service)
	}
	daemon, app := id("watchdog"), id("app")
	waitFor(t, daemon, "healthy")
	waitFor(t, app, "healthy")
	dockerExec(t, app, "/testapp", "fail", "1")
	eventually(t, "the app has recovered", func() (string, bool) {
		log := docker(t, "logs", daemon)
		out, _ := output(t, nil, "docker", "logs", daemon)
		return out, strings.Contains(log+out, "recovered in ")
	})
	if n := starts(t, app); n != 2 {
		t.Errorf("%d starts", n)
	}
}

// examples/compose, by the one command that its reader runs: up, broken,
// recovered, and gone again. Its images share their layers with TestRelease's,
// and it has the machine to itself likewise.
func TestComposeExample(t *testing.T) {
	if _, err := releaseImage(); err != nil { // whose layers it shares
		t.Fatal(err)
	}
	base, err := builder()
	if err != nil {
		t.Fatal(err)
	}
	name := runName("compose")
	images := []string{name + "-stand-in", name + "-watchdog"}
	environ := append(os.Environ(), "DOCKER_BUILDKIT=0", "COMPOSE_DOCKER_CLI_BUILD=0", "COMPOSE_PROJECT_NAME="+name, "BUILDER="+base, "VERSION="+releaseVersion,
		"STAND_IN_IMAGE="+images[0], "WATCHDOG_IMAGE="+images[1], "PORT="+freePort(t), "CPU_MAX=off")
	t.Cleanup(func() {
		cmd := exec.Command("docker-compose", "-f", "../examples/compose/docker-compose.yml", "down", "-v", "-t", "2")
		cmd.Env = append(environ, "DOCKER_GID=0")
		cmd.Run()
		exec.Command("docker", append([]string{"image", "rm", "-f"}, images...)...).Run()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../examples/compose/demo.sh")
	cmd.Env = environ
	text, err := cmd.CombinedOutput()
	out := string(text)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"ollama://ollama:11434: version demo",
		`unhealthy: 1 of 7 failed: `,
		`[dependency qdrant:6333]  qdrant://qdrant:6333: GET /readyz: status 503, want 200: "pool exhausted"`,
		"held: qdrant depends on ", "restarted", "recovered in ", "The application was never restarted.\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not show %q:\n%s", want, out)
		}
	}
	_, last, _ := strings.Cut(out, "# And all is well again:\n")
	if !strings.HasPrefix(last, "healthy: 7 checks passed in ") {
		t.Errorf("at the end:\n%s", last)
	}
	if left := docker(t, "ps", "-aq", "--filter", "label=com.docker.compose.project="+name); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
