package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"healthcheck/cmd/flags"
	"healthcheck/probe"
	"healthcheck/probe/kept"
	"healthcheck/probe/target"
)

// A thread that is stuck in the kernel keeps its whole process from ending,
// not even SIGKILL helps. A check that may get stuck so (see target.MayHang)
// therefore runs in a child: this very program with the same arguments and
// environment, with a variable that names the check to run alone. If the child
// hangs, it is killed, and left to the kernel if that does not end it.

// isolateVariable names the child's check, fileVariable holds a fileJob. Their
// names do not begin with HEALTHCHECK_, so they are no settings.
const (
	isolateVariable = "_HEALTHCHECK_ISOLATED"
	fileVariable    = "_HEALTHCHECK_FILE"
)

// guarded returns a check that looks at paths: in a child process where one of
// them may hang. This is the one way for every path that a check touches.
func guarded(name, looksAt string, run probe.Func, paths ...string) probe.Func {
	if target.MayHang(paths...) {
		return isolated(name, looksAt, run)
	}
	return run
}

// finding is what the child writes to its standard output, as JSON.
type finding struct {
	probe.Finding
	Stage probe.Stage
	Class probe.Class
	Error string
}

// isolated returns a check that runs in a child process; in the child itself
// it is run as it is. target is what messages call the thing looked at.
func isolated(name, target string, run probe.Func) probe.Func {
	if os.Getenv(isolateVariable) != "" {
		return run
	}
	return func(ctx context.Context) (probe.Finding, error) {
		out, err := runChild(ctx, isolateVariable, name)
		if ctx.Err() != nil {
			// The child would have told of a silent server by now: it is stuck in
			// the kernel, which no restart of this container mends.
			return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: fmt.Errorf("%s: %w", target, context.Cause(ctx)), Class: probe.Host}
		}
		var f finding
		if err == nil {
			err = json.Unmarshal(out, &f)
		}
		if err != nil {
			return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: fmt.Errorf("%s: the check's own process failed: %w", target, err), Class: probe.Config}
		}
		if f.Error != "" {
			return f.Finding, &probe.StageError{Stage: f.Stage, Class: f.Class, Err: errors.New(f.Error)}
		}
		return f.Finding, nil
	}
}

// maxChildOutput bounds what a child may write, in bytes: a file of a
// variable as JSON's base64.
const maxChildOutput = 2 * flags.MaxFile

func runChild(ctx context.Context, variable, value string) ([]byte, error) {
	// What the child has started becomes this process's when the child ends.
	// Otherwise it would fall to the container's first process, which is an
	// application that expects no children and never waits for them.
	// Where a sandbox forbids that, the check is worth more than the order.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Env = append(os.Environ(), variable+"="+value)
	child.Stdout = w
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err = child.Start()
	w.Close()
	if err != nil {
		return nil, err
	}
	type output struct {
		text []byte
		err  error
	}
	done := make(chan output, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(r, maxChildOutput))
		if werr := child.Wait(); err == nil {
			err = werr
		}
		done <- output{text, err}
	}()
	select {
	case o := <-done:
		return o.text, o.err
	case <-ctx.Done():
		syscall.Kill(-child.Process.Pid, syscall.SIGKILL)
		killed.add(child.Process.Pid)
		return nil, context.Cause(ctx)
	}
}

// killedGroups are the process groups that were killed and not yet waited for. A process that ends before its dead children leaves them to the
// container's first process, as zombies.
type killedGroups struct {
	mu     sync.Mutex
	groups []<-chan struct{} // closed when nothing of the group is left
}

var killed killedGroups

// add waits for a whole process group in the background.
func (g *killedGroups) add(group int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := syscall.Wait4(-group, nil, 0, nil); err != nil && err != syscall.EINTR {
				return
			}
		}
	}()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups = append(g.groups, done)
}

// reap waits for them until then: a process that is stuck in the kernel does
// not end.
func (g *killedGroups) reap(until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	late := time.After(time.Until(until))
	for _, done := range g.groups {
		select {
		case <-done:
		case <-late:
			return
		}
	}
}

// runIsolated is the child's part: the one check that it was asked for, which
// ends a little earlier than its parent's patience: its own words say more.
func runIsolated(ctx context.Context, checks []probe.Check, limit time.Duration, name string, stdout io.Writer) int {
	for _, c := range checks {
		if c.Name != name {
			continue
		}
		limit := cmp.Or(c.Limit, limit)
		ctx, cancel := context.WithTimeoutCause(ctx, limit*9/10, probe.Timeout(limit))
		defer cancel()
		var f finding
		var err error
		if f.Finding, err = c.Run(ctx); err != nil {
			f.Error = strings.ToValidUTF8(err.Error(), "?")
			if se, ok := errors.AsType[*probe.StageError](err); ok {
				f.Stage, f.Class = se.Stage, se.Class
			}
		}
		if json.NewEncoder(stdout).Encode(f) != nil {
			return 1
		}
		return 0
	}
	return 1
}

// fileJob is what the child is to do with one file that may hang, as JSON.
type fileJob struct {
	Do   string // read a file; load or save one that is kept between runs
	Path string
	Text []byte `json:",omitempty"` // to save
}

// fileContent is what that child writes, as JSON.
type fileContent struct {
	Text  []byte
	Error string
}

// inChild does the job in a child process.
func (j fileJob) inChild(ctx context.Context) ([]byte, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	out, err := runChild(ctx, fileVariable, string(text))
	if err != nil {
		return nil, err
	}
	var c fileContent
	if err := json.Unmarshal(out, &c); err != nil {
		return nil, err
	}
	if c.Error != "" {
		return nil, errors.New(c.Error)
	}
	return c.Text, nil
}

// runFileJob is the child's part of it.
func runFileJob(text string, stdout io.Writer) int {
	var j fileJob
	err := json.Unmarshal([]byte(text), &j)
	var c fileContent
	switch {
	case err != nil:
	case j.Do == "read":
		var content string
		content, err = flags.ReadFile(context.Background(), j.Path)
		c.Text = []byte(content)
	case j.Do == "load":
		c.Text, err = kept.Load(j.Path)
	case j.Do == "save":
		err = kept.Save(j.Path, j.Text)
	}
	if err != nil {
		c = fileContent{Error: strings.ToValidUTF8(err.Error(), "?")}
	}
	if json.NewEncoder(stdout).Encode(c) != nil {
		return 1
	}
	return 0
}
