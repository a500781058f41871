package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"healthcheck/probe"
	"healthcheck/probe/report"
)

const waitCommand = "wait"

const waitHelp = `Usage: healthcheck wait [flags] [-- COMMAND ARG…]

Tries the checks until all are healthy or degraded, then becomes COMMAND, or
exits 0. Exits 1 when --wait-timeout is over, and says what was missing.

%s
Every flag of healthcheck --help works here but --interval, which means
nothing. Where targets or layers are named, it waits for their layers alone.
Lines about what has changed go to the standard error.
`

// The pause between two attempts doubles from the first to the last of these.
const firstPause, lastPause = 100 * time.Millisecond, 5 * time.Second

const defaultWaitTimeout = time.Minute

// newWaitFlags declares the flags of "healthcheck wait": those of a probe, and
// its own.
func newWaitFlags() (*pflag.FlagSet, *raw) {
	fs, r := newFlags()
	r.wait, r.waitTimeout = true, durationValue(defaultWaitTimeout)
	fs.Var(&r.waitTimeout, "wait-timeout", "give up after so long")
	return fs, r
}

// nameLayers limits the run to the layers that have targets of their own. It
// is called for the arguments, and again for the variables: an image that has
// the targets of its probe in variables can wait for others.
func (r *raw) nameLayers(fs *pflag.FlagSet) {
	layers := fs.Lookup("layers")
	if layers.Changed {
		return
	}
	for _, layer := range []string{layerAPI, layerDB, layerVector} {
		if len(*r.targets[layer]) > 0 {
			r.layers = append(r.layers, layer)
			layers.Changed = true
		}
	}
}

// waitContext ends with the signals that end a program. The command that this
// process becomes is to have every signal as this process was given it:
// none is ignored here, and execve(2) puts those that are caught back.
func waitContext() context.Context {
	ends := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) { // as a shell leaves them to what it starts with &
			ends = append(ends, s)
		}
	}
	ctx, _ := signal.NotifyContext(context.Background(), ends...)
	for _, s := range keptSignals {
		if !signal.Ignored(s) && !slices.Contains(ends, s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	return ctx
}

// runWait is "healthcheck wait".
func runWait(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	begin := time.Now()
	fs, r := newWaitFlags()
	cfg, err := r.parse(fs, args, environ, func(path string, within time.Duration) (string, error) {
		return readSecret(ctx, path, begin.Add(within))
	})
	if err != nil {
		return fail(stderr, err)
	}
	switch {
	case cfg.help:
		fmt.Fprintf(stdout, waitHelp, flagLine(fs.Lookup("wait-timeout")))
		return 0
	case cfg.version:
		io.WriteString(stdout, versionText())
		return 0
	}
	program := ""
	if len(cfg.command) > 0 {
		if program, err = exec.LookPath(cfg.command[0]); err != nil {
			return fail(stderr, usagef("name a program of this image behind --; a script needs its shell there", "wait: %s", err))
		}
	}
	checks, err := newChecks(cfg)
	if err != nil {
		return fail(stderr, err)
	}
	if name := os.Getenv(isolateVariable); name != "" {
		return runIsolated(ctx, checks, cfg.checkTimeout, name, stdout)
	}
	ctx, cancel := context.WithDeadlineCause(ctx, begin.Add(cfg.waitTimeout), probe.Timeout(cfg.waitTimeout))
	defer cancel()
	p := progress{begin: begin, seen: map[string]string{}}
	rep := repeat(ctx, func() report.Report {
		rep := attempt(ctx, cfg)
		if lines := p.lines(rep); lines != "" && !cfg.quiet {
			writeBy(stderr, []byte(lines), time.Now().Add(writeGrace))
		}
		return rep
	})
	killed.reap(time.Now().Add(reapGrace))
	if rep.Verdict != report.Unhealthy && program != "" {
		return become(program, cfg.command, environ, stderr)
	}
	if rep.Verdict == report.Unhealthy {
		problem := "not healthy within " + cfg.waitTimeout.String()
		if cause := context.Cause(ctx); cause != nil && ctx.Err() != context.DeadlineExceeded {
			problem = cause.Error()
		}
		if j, ok := stderr.(jsonErrors); ok {
			stderr = j.Writer // the report is the one object
		}
		fail(stderr, usagef("a longer --wait-timeout, or --optional for what may be missing", "wait: %s: %s", problem, strings.Join(p.missing, ", ")))
	}
	return printReport(cfg, rep, stdout, time.Now())
}

// attempt runs the checks once.
func attempt(ctx context.Context, cfg *config) report.Report {
	// Built anew each time: a sampler judges the time since its last sample.
	checks, err := newChecks(cfg)
	if err != nil {
		panic(err) // they have been built before
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.timeout, probe.Timeout(cfg.timeout))
	defer cancel()
	results := probe.Run(ctx, checks, probe.Options{CheckTimeout: cfg.checkTimeout, FailFast: cfg.failFast})
	return report.New(results, time.Since(begin))
}

// leastAttempt is how much time an attempt is begun with, at least: one that the
// end cuts off says nothing of the targets.
const leastAttempt = 20 * time.Millisecond

// repeat tries until the report is not of a failure or ctx ends, and returns
// the last one.
func repeat(ctx context.Context, try func() report.Report) report.Report {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		rep := try()
		if rep.Verdict != report.Unhealthy {
			return rep
		}
		select {
		case <-ctx.Done():
			return rep
		case <-time.After(pause):
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < leastAttempt {
			<-ctx.Done()
			return rep
		}
	}
}

// become replaces this process by a program; it returns only where that fails.
func become(program string, args, environ []string, stderr io.Writer) int {
	// It would adopt the program's orphans otherwise; see runChild.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	err := syscall.Exec(program, args, environ)
	return fail(stderr, usagef("it must be a program for this machine, or a script whose interpreter is there", "wait: %s: %s", program, err))
}

// progress remembers what was said of each check.
type progress struct {
	begin time.Time
	seen  map[string]string // by check: its status and stage
	// missing are the checks that failed in the last report.
	missing []string
}

// lines returns one line for each check that is in another state than before.
func (p *progress) lines(rep report.Report) string {
	var b strings.Builder
	p.missing = nil
	for _, r := range rep.Results {
		if r.Status == probe.Fail {
			p.missing = append(p.missing, r.Name)
		}
		state := string(r.Status) + " " + string(r.Stage)
		if p.seen[r.Name] != state {
			status := string(r.Status)
			if r.Status == probe.Fail || r.Status == probe.Warn {
				status = strings.ToUpper(status)
			}
			fmt.Fprintf(&b, "%6.1fs %-4s %s  %s\n", time.Since(p.begin).Seconds(), status, r.Name, r.Message)
		}
		p.seen[r.Name] = state
	}
	return b.String()
}
