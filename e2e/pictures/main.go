// Pictures draws what the two programs print, as the documentation shows it:
// it starts containers on this machine's Docker engine, lets parts of them
// fail, and writes the real output of healthcheck and of watchdog status, and
// the watchdog's page as Chromium shows it, to docs/pictures.
//
//	go -C e2e run ./pictures
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	bin := flag.String("bin", "", "directory with healthcheck, watchdog and demo; without it they are built")
	out := flag.String("out", "../docs/pictures", "directory for the pictures")
	flag.Parse()
	err := draw(ctx, *bin, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// draw writes the pictures to out.
func draw(ctx context.Context, bin, out string) (err error) {
	dir, err := os.MkdirTemp("", "pictures-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if bin == "" {
		bin = dir
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin+"/", "./cmd/healthcheck", "./cmd/watchdog", "./cmd/demo")
		build.Dir, build.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building: %w: %s", err, text)
		}
	}
	s := system{bin: bin, dir: dir}
	defer func() { err = errors.Join(err, s.remove()) }()
	if err := s.start(ctx); err != nil {
		return err
	}
	probe, err := s.probe(ctx)
	if err != nil {
		return err
	}
	status, err := s.status(ctx)
	if err != nil {
		return err
	}
	page, err := s.page(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(out, "healthcheck.svg"), []byte(terminal("$ docker exec pdf-chat-api /healthcheck\n"+probe)), 0o644),
		os.WriteFile(filepath.Join(out, "watchdog-status.svg"), []byte(terminal("$ watchdog status\n"+status)), 0o644),
		os.WriteFile(filepath.Join(out, "watchdog-page.png"), page, 0o644))
}

// dockerfile is of an application with its probe. Which of its parts is probed says
// the environment, so that one image serves all containers.
const dockerfile = `FROM scratch
COPY healthcheck demo /
HEALTHCHECK --interval=1s --timeout=10s --retries=1 CMD ["/healthcheck"]
ENTRYPOINT ["/demo", "serve"]
`

// project is the compose project that the containers' labels name.
const project = "pdf-chat"

// services are what runs: one that is healthy, one that no restart helps,
// since nothing listens where its probe connects to, and one that the watchdog
// waits for after the first restart.
var services = []struct {
	name  string
	args  []string // of docker run
	serve string
	phase string // that the watchdog's status shows in the end
}{
	{"api", []string{"--memory", "1g", "--cpus", "0.5", "-e", "HEALTHCHECK_LAYERS=resource,api"}, ":5000", "watching"},
	{"ollama", []string{"--label", "watchdog.backoff-base=10m", "-e", "HEALTHCHECK_LAYERS=api", "-e", "HEALTHCHECK_API=ollama://localhost:11434"}, ":5000", "waiting"},
	{"qdrant", []string{"-e", "HEALTHCHECK_LAYERS=vector", "-e", "HEALTHCHECK_VECTOR=qdrant://localhost:6333"}, ":5000", "given up"},
}

// patience is how long the whole may take on a busy machine.
const patience = 4 * time.Minute

// system is the containers and the watchdog that watches them.
type system struct {
	bin, dir   string
	containers []string
	tag        string
	watchdog   *exec.Cmd
}

// label lets the tests of e2e remove what a killed run has left.
func label() string { return fmt.Sprintf("healthcheck.e2e=%d", os.Getpid()) }

// start builds the image and starts the containers and the watchdog.
func (s *system) start(ctx context.Context) error {
	files := filepath.Join(s.dir, "image")
	if err := errors.Join(os.Mkdir(files, 0o755), os.WriteFile(filepath.Join(files, "Dockerfile"), []byte(dockerfile), 0o644)); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "cp", filepath.Join(s.bin, "healthcheck"), filepath.Join(s.bin, "demo"), files).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	tag := fmt.Sprintf("healthcheck-pictures-%d", os.Getpid())
	if _, err := docker(ctx, "build", "-q", "--label", label(), "-t", tag, files); err != nil {
		return err
	}
	s.tag = tag
	var names []string
	for _, c := range services {
		name := project + "-" + c.name
		args := append([]string{"run", "-d", "--name", name, "--network", "none", "--label", label(),
			"--label", "com.docker.compose.project=" + project, "--label", "com.docker.compose.service=" + c.name, "--label", "com.docker.compose.container-number=1"}, c.args...)
		if _, err := docker(ctx, append(args, tag, c.serve)...); err != nil {
			return err
		}
		s.containers = append(s.containers, name)
		names = append(names, name)
	}
	state := filepath.Join(s.dir, "state.json")
	if err := past(state, time.Now()); err != nil {
		return err
	}
	// By the containers' names: a service of the same name may run beside them.
	s.watchdog = exec.CommandContext(ctx, filepath.Join(s.bin, "watchdog"), "run", "--services", strings.Join(names, ","), "--backoff-base", "100ms", "--stop-timeout", "1",
		"--state-file", state, "--control", s.socket(), "--listen", "127.0.0.1:0", "--host-name", "node7", "--probe-figures", "--reconcile", "2s")
	s.watchdog.Cancel = func() error { return s.watchdog.Process.Signal(syscall.SIGTERM) }
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.watchdog.Stderr = log
	return s.watchdog.Start()
}

func (s *system) socket() string { return filepath.Join(s.dir, "control.sock") }

// remove ends all that start began.
func (s *system) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	if s.watchdog != nil && s.watchdog.Process != nil {
		s.watchdog.Process.Signal(syscall.SIGTERM)
		s.watchdog.Wait()
	}
	for _, name := range s.containers {
		_, err := docker(ctx, "rm", "-f", "-v", name)
		errs = append(errs, err)
	}
	if s.tag != "" {
		_, err := docker(ctx, "image", "rm", "-f", s.tag)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// probe returns what healthcheck prints in the application's container while
// the database fails, when it has a sample of an earlier run.
func (s *system) probe(ctx context.Context) (string, error) {
	name := project + "-api"
	if _, err := docker(ctx, "kill", "--signal", "USR1", name); err != nil {
		return "", err
	}
	var text string
	err := poll(ctx, func() (string, bool) {
		out, _ := exec.CommandContext(ctx, "docker", "exec", "-e", "HEALTHCHECK_LAYERS=resource,api,db,vector", name, "/healthcheck").CombinedOutput()
		text = string(out)
		return text, strings.HasPrefix(text, "unhealthy: 1 of 6 failed") && strings.Contains(text, "since last probe")
	})
	return text, err
}

// status returns what watchdog status prints when every service has come to
// its phase.
func (s *system) status(ctx context.Context) (string, error) {
	ask := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, filepath.Join(s.bin, "watchdog"), append([]string{"status", "--control", s.socket()}, args...)...).CombinedOutput()
		return string(out), err
	}
	err := poll(ctx, func() (string, bool) {
		out, err := ask("--output", "json")
		var all []struct{ Container, Phase, Health string }
		if err != nil || json.Unmarshal([]byte(out), &all) != nil {
			return out, false
		}
		found := map[string]string{}
		for _, c := range all {
			if c.Health != "starting" {
				found[c.Container] = c.Phase
			}
		}
		for _, c := range services {
			if found[project+"-"+c.name] != c.phase {
				return out, false
			}
		}
		return out, true
	})
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		return "", fmt.Errorf("%w; the watchdog's log:\n%s", err, log)
	}
	return ask()
}

// poll calls cond until it is true; what it returns is what it saw.
func poll(ctx context.Context, cond func() (string, bool)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		seen, ok := cond()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last seen: %s", ctx.Err(), seen)
		case <-tick.C:
		}
	}
}

// docker runs the engine's client and returns what it prints.
func docker(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
