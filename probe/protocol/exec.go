package protocol

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"golang.org/x/sys/unix"
)

// maxExecOutput is how much of a command's output is kept, in bytes; it may
// write more.
const maxExecOutput = 4 << 10

// execPatience is how long the output is waited for once the command has ended,
// since a process that it left behind may hold it open, and how long a killed
// group is waited for.
const execPatience = 60 * time.Millisecond

// Exec makes the check for exec:///path?arg=a&arg=b&codes=0,1: a command that
// the container has already, run without a shell, ends with one of these exit
// codes (0 alone without codes=). At the deadline it is killed with its
// children.
func Exec(t target.Target, _ Options) (probe.Func, error) {
	if t.URL.Host != "" || t.URL.Path == "" || t.URL.Path == "/" {
		return nil, errors.New("the path must be absolute: exec:///usr/bin/check?arg=-v")
	}
	q, err := t.Params("arg", "codes")
	if err != nil {
		return nil, err
	}
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	e := &execCheck{target: t, args: q["arg"], codes: []int{0}}
	if q.Has("codes") {
		e.codes = nil
		for part := range strings.SplitSeq(q.Get("codes"), ",") {
			code, err := strconv.Atoi(part)
			if err != nil || code < 0 || code > 255 {
				return nil, fmt.Errorf("codes=%q: want exit codes from 0 to 255, such as 0,1", probe.Cut(q.Get("codes"), 40))
			}
			e.codes = append(e.codes, code)
		}
	}
	for _, arg := range e.args {
		if name, value, ok := strings.Cut(arg, "="); ok && target.SoundsSecret(name) {
			t.Secrets.Add(value)
		}
	}
	return e.run, nil
}

type execCheck struct {
	target target.Target
	args   []string
	codes  []int
}

func (e *execCheck) run(ctx context.Context) (probe.Finding, error) {
	// What it leaves behind when it is killed becomes this process's, which
	// waits for it; the container's first process may expect no children.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	early, cancel := early(ctx)
	defer cancel()
	var out firstPart
	cmd := exec.CommandContext(early, e.target.URL.Path, e.args...)
	cmd.Stdout, cmd.Stderr = &out, &out // one pipe, and one goroutine that copies
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = execPatience
	if err := cmd.Start(); err != nil {
		fault := e.target.Errorf(probe.StageRead, "%s", probe.Bare(err))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOEXEC) {
			fault = probe.WithClass(fault, probe.Config)
		}
		return probe.Finding{}, fault
	}
	err := cmd.Wait()
	if early.Err() != nil {
		reapGroup(cmd.Process.Pid)
		<-ctx.Done()
		return probe.Finding{}, e.fail(out, "%s", context.Cause(ctx))
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited && !errors.Is(err, exec.ErrWaitDelay) {
		return probe.Finding{}, e.target.Errorf(probe.StageRead, "%s", err)
	}
	if code := cmd.ProcessState.ExitCode(); !slices.Contains(e.codes, code) {
		return probe.Finding{}, e.fail(out, "%s, want %s", cmd.ProcessState, codesText(e.codes))
	}
	return probe.Finding{Message: fmt.Sprintf("%s: %s%s", e.target, cmd.ProcessState, e.echo(out))}, nil
}

// fail is the error of a command that ran: only it knows what would help.
func (e *execCheck) fail(out firstPart, format string, args ...any) error {
	return probe.WithClass(e.target.Errorf(probe.StageStatus, "%s%s", fmt.Sprintf(format, args...), e.echo(out)), probe.Unknown)
}

func (e *execCheck) echo(out firstPart) string {
	if len(strings.TrimSpace(string(out))) == 0 {
		return ""
	}
	return ": " + e.target.Secrets.QuoteCut(string(out))
}

func codesText(codes []int) string {
	var texts []string
	for _, c := range codes {
		texts = append(texts, strconv.Itoa(c))
	}
	return "exit status " + strings.Join(texts, " or ")
}

// reapGroup waits a moment for what is left of a process group that was killed.
func reapGroup(group int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := syscall.Wait4(-group, nil, 0, nil); err != nil && err != syscall.EINTR {
				return
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(execPatience):
	}
}

// firstPart keeps the first bytes that are written to it.
type firstPart []byte

func (p *firstPart) Write(b []byte) (int, error) {
	room := maxExecOutput - len(*p)
	*p = append(*p, b[:min(room, len(b))]...)
	return len(b), nil
}
