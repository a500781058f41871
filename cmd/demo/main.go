// Demo shows healthcheck at work: it builds the real program, serves a small
// application on loopback, and probes that while parts of it fail.
//
// With "serve ADDRESS" it is that application alone; SIGUSR1 then makes the
// database's endpoint fail, and those of Qdrant and Ollama, SIGUSR2 heals them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var err error
	switch {
	case len(args) == 0:
		err = demo(ctx, environ, stdout, stderr)
	case len(args) == 2 && args[0] == "serve":
		err = serve(ctx, args[1])
	default:
		err = errors.New("usage: demo [serve ADDRESS]")
	}
	if err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 1
	}
	return 0
}

// scene is one run of the probe: what is broken, what to say, how to call it.
type scene struct {
	title    string
	path     string
	fault    fault
	args     []string
	wantCode int
}

var scenes = []scene{
	{"Everything is well.", "", none, nil, 0},
	{"The database fails.", "/db/health", failing, nil, 1},
	{"The vector store hangs: the deadline holds.", "/vector/health", hanging, []string{"--timeout", "1s"}, 1},
	{"The same, but only a warning: the program goes on without it.", "/vector/health", hanging, []string{"--timeout", "1s", "--optional", "vector"}, 0},
	{"The failing database for a program to read.", "/db/health", failing, []string{"--output", "json"}, 1},
}

func demo(ctx context.Context, environ []string, stdout, stderr io.Writer) error {
	dir, err := os.MkdirTemp("", "healthcheck-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "healthcheck")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "healthcheck/cmd/healthcheck")
	build.Env = append(environ, "CGO_ENABLED=0")
	build.Stdout, build.Stderr = stderr, stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building healthcheck: %w", err)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	a := newApp()
	srv := &http.Server{Handler: a, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	defer srv.Close()

	base := "http://" + ln.Addr().String()
	for _, s := range scenes {
		a.set(s.path, s.fault)
		// The machine may be busy with anything: its CPU is not judged here.
		args := append([]string{"--base-url", base, "--cpu-max", "off", "--state-dir", dir}, s.args...)
		if err := play(ctx, s, bin, args, clean(environ), stdout); err != nil {
			return err
		}
		a.set(s.path, none)
	}
	return nil
}

// play runs the probe once and shows what it prints and how it exits.
func play(ctx context.Context, s scene, bin string, args, environ []string, stdout io.Writer) error {
	fmt.Fprintf(stdout, "# %s\n$ healthcheck %s\n", s.title, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = environ, stdout, stdout
	begin := time.Now()
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return err
	}
	code := cmd.ProcessState.ExitCode()
	fmt.Fprintf(stdout, "exit %d after %dms\n\n", code, time.Since(begin).Milliseconds())
	if code != s.wantCode {
		return fmt.Errorf("%s: exit %d, want %d", s.title, code, s.wantCode)
	}
	return nil
}

// clean drops the settings that this shell may have for the real probe.
func clean(environ []string) []string {
	var out []string
	for _, kv := range environ {
		if !strings.HasPrefix(kv, "HEALTHCHECK_") {
			out = append(out, kv)
		}
	}
	return out
}

// serve is the application alone, until ctx ends.
func serve(ctx context.Context, addr string) error {
	a := newApp()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	srv := &http.Server{Addr: addr, Handler: a, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.ListenAndServe() }()
	for {
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return srv.Close()
		case s := <-signals:
			f := none
			if s == syscall.SIGUSR1 {
				f = failing
			}
			for _, path := range backends {
				a.set(path, f)
			}
		}
	}
}
