// Healthcheck decides whether the container that it runs in is healthy: it
// checks resources, API, database and vector store under one deadline, says
// what is wrong, and exits 0 or 1.
//
// Data flows one way: flags and environment → config → checks → results →
// report → exit code.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"healthcheck/cmd/flags"
	"healthcheck/gpu"
	"healthcheck/probe"
	"healthcheck/probe/report"
	"healthcheck/probe/target"
)

// writeGrace is how long the report may take to be written after the
// deadline; with the checks' own grace it stays under the 100 ms that the
// process may take beyond it.
const writeGrace = 60 * time.Millisecond

// leastGrace is how long a report may take to be written in any case: on a busy
// machine the process may get to it late, and then it matters most.
const leastGrace = 20 * time.Millisecond

// reapGrace is how long children that were killed are waited for, at most.
const reapGrace = 60 * time.Millisecond

func main() {
	if len(os.Args) > 1 && os.Args[1] == waitCommand {
		os.Exit(run(waitContext(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	}
	ctx := untilSignal()
	// The others that would end it with a code of its own, a terminal or a
	// reader that has gone away among them, do not change the verdict: the
	// deadline ends it soon enough.
	signal.Ignore(keptSignals...)
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// endSignals are those by which people end a program.
var endSignals = [...]syscall.Signal{syscall.SIGINT, syscall.SIGTERM}

// untilNotified returns a context that ends with one of endSignals. They are not
// given back at the end, when the process ends anyway: each costs 50 µs and more
// to take and to give.
func untilNotified() context.Context {
	ctx, _ := signal.NotifyContext(context.Background(), endSignals[0], endSignals[1])
	return ctx
}

// keptSignals are those that change no verdict.
var keptSignals = []os.Signal{syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGABRT, syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGVTALRM,
	syscall.SIGXCPU, syscall.SIGIO, syscall.SIGPWR, syscall.SIGSYS, syscall.SIGTRAP}

// run is the program: it returns the exit code, 0 or 1, by the deadline.
// environ is the whole environment: an unknown HEALTHCHECK_ variable is an
// error, so looking single ones up would not do.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) (code int) {
	if wantsJSON(args, environ) {
		stderr = jsonErrors{stderr, stdout}
	}
	defer func() {
		if p := recover(); p != nil {
			fail(stderr, usagef("this is a fault in healthcheck", "panic: %v", p))
			code = 1
		}
	}()
	begin := time.Now()
	if job := os.Getenv(fileVariable); job != "" {
		return runFileJob(job, stdout)
	}
	if len(args) > 0 {
		switch args[0] {
		case "gpu":
			return runGPU(ctx, args[1:], stdout, stderr)
		case "install":
			return runInstall(args[1:], stdout, stderr)
		case waitCommand:
			return runWait(ctx, args[1:], environ, stdout, stderr)
		}
	}
	cfg, err := parseConfig(args, environ, func(path string, within time.Duration) (string, error) {
		return readSecret(ctx, path, begin.Add(within))
	})
	if err != nil {
		code = fail(stderr, err)
		killed.reap(time.Now().Add(reapGrace / 2)) // of a secret's file that hung
		return code
	}
	switch {
	case cfg.help:
		io.WriteString(stdout, helpText())
		return 0
	case cfg.version:
		io.WriteString(stdout, versionText())
		return 0
	}
	checks, err := newChecks(cfg)
	if err != nil {
		return fail(stderr, err)
	}

	ctx, cancel := context.WithDeadlineCause(ctx, begin.Add(cfg.timeout), probe.Timeout(cfg.timeout))
	defer cancel()
	if name := os.Getenv(isolateVariable); name != "" {
		return runIsolated(ctx, checks, cfg.checkTimeout, name, stdout)
	}
	results := probe.Run(ctx, checks, probe.Options{CheckTimeout: cfg.checkTimeout, FailFast: cfg.failFast})
	rep := report.New(results, time.Since(begin))
	rep.Warning = ignoredText(cfg.ignored)
	code = printReport(cfg, rep, stdout, begin.Add(cfg.timeout))
	killed.reap(earlier(time.Now().Add(reapGrace), begin.Add(cfg.timeout+writeGrace+reapGrace/2)))
	return code
}

// printReport prints a report soon after the deadline at the latest, and
// returns the exit code for it.
func printReport(cfg *config, rep report.Report, stdout io.Writer, deadline time.Time) (code int) {
	if rep.Verdict == report.Unhealthy {
		code = 1
	}
	if cfg.quiet && rep.Verdict == report.Healthy {
		return code
	}
	out := []byte(rep.Text())
	if cfg.json {
		out = rep.JSON()
	}
	writeBy(stdout, out, deadline.Add(writeGrace))
	return code
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// writeBy writes text, but does not wait beyond the deadline for a reader who
// does not read.
func writeBy(w io.Writer, text []byte, deadline time.Time) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Write(text) // where it cannot be written, the exit code still is the verdict
	}()
	select {
	case <-done:
	case <-time.After(max(leastGrace, time.Until(deadline))):
	}
}

// fail reports bad input and returns the exit code for it.
func fail(stderr io.Writer, err error) int {
	hint := ""
	if ue, ok := errors.AsType[*usageError](err); ok {
		hint = ue.Hint
	}
	text := []byte("error: " + probe.Clean(err.Error()) + "\n")
	if hint != "" {
		text = append(text, "hint: "+probe.Clean(hint)+"\n"...)
	}
	if j, ok := stderr.(jsonErrors); ok {
		stderr, text = j.stdout, report.Misuse(err.Error(), hint)
	}
	writeBy(stderr, text, time.Now().Add(writeGrace))
	return 1
}

// readSecret reads a file but does not wait for it beyond the deadline.
func readSecret(ctx context.Context, path string, deadline time.Time) (string, error) {
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, errors.New("no answer before the deadline"))
	defer cancel()
	if target.MayHang(path) {
		text, err := fileJob{Do: "read", Path: path}.inChild(ctx)
		return string(text), err
	}
	return flags.ReadFile(ctx, path)
}

// version is set by the linker for a release: -X main.version=v1.2.3.
var version = ""

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

func versionText() string {
	return fmt.Sprintf("healthcheck %s %s/%s %s, GPUs by %s\n", buildVersion(), runtime.GOOS, runtime.GOARCH, runtime.Version(), gpu.Backend)
}
