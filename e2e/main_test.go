// Package e2e runs the built programs against the real thing: the Docker
// engine of this machine and file systems that hang.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bin holds the programs, static as users get them.
var bin string

// label marks everything that these tests leave with the engine with this
// process's id, so that the next run can clean up after one that was killed,
// and leaves alone what belongs to one that still runs.
const labelKey = "healthcheck.e2e"

var label = fmt.Sprintf("%s=%d", labelKey, os.Getpid())

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "healthcheck-e2e-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		bin = dir
		for _, b := range [][2]string{{"..", "./cmd/healthcheck"}, {"..", "./cmd/demo"}, {"..", "./cmd/watchdog"}, {".", "./hungfs"}, {".", "./sick"}} {
			cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", b[1])
			cmd.Dir, cmd.Env = b[0], append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "building %s: %v\n%s", b[1], err, out)
				return 1
			}
		}
		sweep()
		defer sweep()
		defer stopServers()
		return m.Run()
	}())
}

// sweep removes what carries the label of this run, or of one that has ended.
func sweep() {
	for kind, format := range map[string]string{"container": `{{.ID}} {{.Label "` + labelKey + `"}}`, "image": `{{.ID}}`} {
		args := []string{kind, "ls", "-a", "--filter", "label=" + labelKey, "--format", format}
		out, _ := exec.Command("docker", args...).Output()
		for line := range strings.Lines(string(out)) {
			id, pid, _ := strings.Cut(strings.TrimSpace(line), " ")
			if kind == "image" { // whose list does not show labels
				out, _ := exec.Command("docker", "image", "inspect", "--format", `{{index .Config.Labels "`+labelKey+`"}}`, id).Output()
				pid = strings.TrimSpace(string(out))
			}
			if _, err := os.Stat("/proc/" + pid); pid != fmt.Sprint(os.Getpid()) && err == nil && pid != "" {
				continue
			}
			exec.Command("docker", kind, "rm", "-f", id).Run()
		}
	}
}

// output runs a command and returns what it prints and its exit code.
func output(t *testing.T, environ []string, name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	if environ != nil {
		cmd.Env = environ
	}
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// docker runs the engine's client, which must succeed.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, code := output(t, append(os.Environ(), "DOCKER_BUILDKIT=0"), "docker", args...)
	if code != 0 {
		t.Fatalf("docker %s: exit %d: %s", strings.Join(args, " "), code, out)
	}
	return strings.TrimSpace(out)
}

// eventually polls for a condition; what it returns tells what was seen last.
func eventually(t *testing.T, what string, cond func() (seen string, ok bool)) {
	t.Helper()
	const limit = 2 * time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		seen, ok := cond()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s; last seen: %s", limit, what, seen)
		case <-tick.C:
		}
	}
}

// buildImage builds FROM scratch: the probe, the demo's application, and the
// given lines. The image is removed at the end.
func buildImage(t *testing.T, lines ...string) string {
	t.Helper()
	return buildImageWith(t, nil, lines...)
}

// buildImageWith is buildImage with more files in the build's context.
func buildImageWith(t *testing.T, files []string, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range append(files, filepath.Join(bin, "healthcheck"), filepath.Join(bin, "demo")) {
		if out, code := output(t, nil, "cp", "-r", path, dir); code != 0 {
			t.Fatal(out)
		}
	}
	text := strings.Join(append([]string{"FROM scratch", "LABEL " + label, "COPY healthcheck demo /"}, lines...), "\n") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	tag := fmt.Sprintf("healthcheck-e2e-%d-%s", os.Getpid(), strings.ToLower(t.Name()))
	tag = strings.ReplaceAll(tag, "/", "-")
	docker(t, "build", "-q", "-t", tag, dir)
	t.Cleanup(func() { exec.Command("docker", "image", "rm", "-f", tag).Run() })
	return tag
}

// start runs a container in the background; it is removed at the end.
func start(t *testing.T, args ...string) string {
	t.Helper()
	id := docker(t, append([]string{"run", "-d", "--label", label}, args...)...)
	t.Cleanup(func() { exec.Command("docker", "rm", "-f", id).Run() })
	return id
}
