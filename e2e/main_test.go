// Package e2e runs the built programs against the real thing: the Docker
// engine of this machine and file systems that hang.
package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bin holds the programs, static as users get them.
var bin string

// output runs a command and returns what it prints and its exit code.
func output(t *testing.T, environ []string, name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
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
// It waits as long as something changes: a slow machine is no fault.
func eventually(t *testing.T, what string, cond func() (seen string, ok bool)) {
	t.Helper()
	const stuck, limit = 2 * time.Minute, 10 * time.Minute
	begin := time.Now()
	last, changed := "", begin
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		seen, ok := cond()
		if ok {
			return
		}
		if seen != last {
			last, changed = seen, time.Now()
		}
		if time.Since(changed) > stuck || time.Since(begin) > limit {
			t.Fatalf("waited %s, the last %s without a change: %s; last seen: %s", time.Since(begin).Round(time.Second), time.Since(changed).Round(time.Second), what, seen)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("the test has ended: %s; last seen: %s", what, seen)
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
	tag := runName(strings.ToLower(t.Name()))
	tag = strings.ReplaceAll(tag, "/", "-")
	docker(t, "build", "-q", "-t", tag, dir)
	// Its layers may be those that another test's build is about to use.
	t.Cleanup(func() { exec.Command("docker", "image", "rm", "-f", "--no-prune", tag).Run() })
	return tag
}

// start runs a container in the background; it is removed at the end.
func start(t *testing.T, args ...string) string {
	t.Helper()
	id := docker(t, append([]string{"run", "-d", "--label", label}, args...)...)
	t.Cleanup(func() { exec.Command("docker", "rm", "-f", id).Run() })
	return id
}

// shortDir is a directory for sockets, whose paths have at most 107 bytes: a
// test's own temporary directory may be named after a long title.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(runDir, "s-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
