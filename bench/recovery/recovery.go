// Package recovery measures what becomes of containers that break, on the
// machine's own Docker engine: faults that come at a known moment, and the
// ways there are to have them recovered, each with a system of its own.
package recovery

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// job is one trial to come.
type job struct {
	fault     fault
	contender contender
	name      string
}

// lanes is how many trials with one application run at a time; one with ten
// applications takes two of them.
const lanes = 4

// Run is the command.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("bench recovery", flag.ContinueOnError)
	fs.SetOutput(stderr)
	n := fs.Int("n", 3, "trials of each fault with each contender")
	which := fs.String("faults", "", "these only: "+strings.Join(names(faults, fault.title), ","))
	who := fs.String("contenders", "", "these only: "+strings.Join(names(contenders, contender.title), ","))
	out := fs.String("out", "bench/results", "where recovery.json and recovery.svg go; empty: nowhere")
	logs := fs.String("logs", "", "where the watchdog's logs are kept")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *n < 1 || fs.NArg() > 0 {
		return fmt.Errorf("there is something wrong with the arguments %q\nhint: go run ./bench recovery -n 3 -faults crash,hang", args)
	}
	chosen, err := choose(faults, fault.title, *which)
	if err != nil {
		return err
	}
	those, err := choose(contenders, contender.title, *who)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "healthcheck-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if *logs == "" {
		*logs = dir
	} else if err := os.MkdirAll(*logs, 0o755); err != nil {
		return err
	}
	begin := time.Now()
	e, err := newEngine(ctx, dir, *logs)
	if e != nil {
		defer e.close()
	}
	if err != nil {
		return err
	}
	trials, err := e.all(ctx, plan(chosen, those, *n), stderr)
	results := summarise(trials, names(faults, fault.title), names(contenders, contender.title))
	notes := []string{machine(ctx, *n, time.Since(begin))}
	table(stdout, results)
	if err != nil { // what was measured by then is shown, and kept nowhere
		return err
	}
	fmt.Fprintln(stdout, strings.Join(notes, "\n"))
	if *out == "" {
		return nil
	}
	return write(*out, notes, results, trials)
}

func (f fault) title() string     { return f.name }
func (c contender) title() string { return c.name }

func names[T any](all []T, title func(T) string) (out []string) {
	for _, v := range all {
		out = append(out, title(v))
	}
	return out
}

// choose picks those that a list names, in the order of the table.
func choose[T any](all []T, title func(T) string, list string) (out []T, err error) {
	if list == "" {
		return all, nil
	}
	known := names(all, title)
	wanted := strings.Split(list, ",")
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no %q\nhint: did you mean %q? There are %s", name, nearest(name, known), strings.Join(known, ", "))
		}
	}
	for _, v := range all {
		if slices.Contains(wanted, title(v)) {
			out = append(out, v)
		}
	}
	return out, nil
}

// plan mixes the trials, so that whatever disturbs the machine for a while
// disturbs no contender more than another.
func plan(faults []fault, contenders []contender, n int) (jobs []job) {
	for _, f := range faults {
		for _, c := range contenders {
			for i := range n {
				jobs = append(jobs, job{f, c, fmt.Sprintf("hcbench-%d-%s-%s-%d", os.Getpid(), f.name, c.name, i+1)})
			}
		}
	}
	rand.Shuffle(len(jobs), func(i, k int) { jobs[i], jobs[k] = jobs[k], jobs[i] })
	return jobs
}

// weight is how many lanes a trial takes.
func (j job) weight() int {
	if j.fault.apps > 1 {
		return 2
	}
	return 1
}

// all runs the trials, a few at a time. The first error ends the run.
func (e *engine) all(ctx context.Context, jobs []job, progress io.Writer) (trials []Trial, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free := make(chan struct{}, lanes)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, j := range jobs {
		for range j.weight() {
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() {
				for range j.weight() {
					<-free
				}
			}()
			t, err := e.try(ctx, j.name, j.fault, j.contender)
			if err != nil {
				cancel(fmt.Errorf("%s: %w", j.name, err))
				return
			}
			mu.Lock()
			defer mu.Unlock()
			trials = append(trials, t)
			fmt.Fprintf(progress, "\r%d of %d trials", len(trials), len(jobs))
		})
	}
	wg.Wait()
	fmt.Fprintln(progress)
	if ctx.Err() != nil {
		return trials, context.Cause(ctx)
	}
	return trials, nil
}

// machine says where the figures come from.
func machine(ctx context.Context, n int, took time.Duration) string {
	version, _ := docker(ctx, "version", "-f", "{{.Server.Version}}")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s; Docker engine %s, %d cores, kernel %s; %d trials each, mixed, %d at a time, in %s.",
		time.Now().UTC().Format(time.DateOnly), version, runtime.NumCPU(), strings.TrimSpace(string(kernel)), n, lanes, took.Round(time.Minute))
}
