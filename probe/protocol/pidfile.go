package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"golang.org/x/sys/unix"
)

// Pidfile makes the check for pidfile:///run/app.pid: the process whose id is
// in the file is alive and no zombie, and is the one that the file was written
// for: not this program itself, and none that was started since.
func Pidfile(t target.Target, _ Options) (probe.Func, error) {
	if t.URL.Host != "" || t.URL.Path == "" || t.URL.Path == "/" {
		return nil, errors.New("the path must be absolute: pidfile:///run/app.pid")
	}
	if _, err := t.Params(); err != nil {
		return nil, err
	}
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	return func(context.Context) (probe.Finding, error) {
		text, err := target.ReadBounded(t.URL.Path, 4096)
		if err != nil {
			return probe.Finding{}, t.Errorf(probe.StageRead, "%s", err)
		}
		pid, err := parsePid(string(text))
		if err != nil {
			return probe.Finding{}, t.Errorf(probe.StageRead, "no process id in it: %s", t.Secrets.Quote(string(text)))
		}
		if pid == os.Getpid() {
			return probe.Finding{}, t.Errorf(probe.StageStatus, "process %d is this probe: the one that wrote the file is gone", pid)
		}
		st, err := os.Stat(t.URL.Path)
		if err != nil {
			return probe.Finding{}, t.Errorf(probe.StageRead, "%s", probe.Bare(err))
		}
		name, err := alive(pid, st.ModTime())
		if err != nil {
			return probe.Finding{}, t.Errorf(probe.StageStatus, "process %d %s", pid, err)
		}
		return probe.Finding{Message: fmt.Sprintf("%s: process %d%s is running", t, pid, name)}, nil
	}, nil
}

// parsePid reads the first line of a pid file; some programs (PostgreSQL)
// write more lines behind it.
func parsePid(text string) (int, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 0 || pid > 1<<22 { // the kernel's PID_MAX_LIMIT
		return 0, errors.New("not a process id")
	}
	return pid, nil
}

// startSlack is how much later than its file a process may seem to have been
// started: the clock may have been set in between, and a tick is 10 ms.
const startSlack = 10 * time.Second

// alive returns the program's name in parentheses, where it may be known.
// Whoever wrote the file did so at written.
func alive(pid int, written time.Time) (string, error) {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return "", errors.New("does not run")
	}
	stat, err := target.ReadKernel(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", nil // hidden from this user, but there: the kernel said so
	}
	name, state, ticks := parseStat(stat)
	if state == 'Z' || state == 'X' {
		return "", fmt.Errorf("%s is a zombie", name)
	}
	if age, ok := processAge(ticks); ok {
		if late := time.Since(written) - age; late > startSlack {
			return "", fmt.Errorf("%s was started %s after the file was written: it is another one with the same id", name, probe.Round(late))
		}
	}
	return " " + name, nil
}

// processAge is how long ago a process was started, from its start in clock
// ticks since boot (proc_pid_stat(5)); both clocks are of the same namespace.
func processAge(ticks uint64) (time.Duration, bool) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil || ticks == 0 {
		return 0, false
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on amd64 and arm64
	return time.Duration(now.Nano()) - time.Duration(ticks)*tick, true
}

// parseStat reads the name, with its parentheses, the state and the start in
// clock ticks from /proc/PID/stat. The name may hold anything, parentheses too.
func parseStat(stat []byte) (name string, state byte, start uint64) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open || end+2 >= len(stat) {
		return "", 0, 0
	}
	const fromState = 22 - 3 // the start is field 22, the state field 3
	if fields := bytes.Fields(stat[end+1:]); len(fields) > fromState {
		start, _ = strconv.ParseUint(string(fields[fromState]), 10, 64)
	}
	return probe.Clean(string(stat[open : end+1])), stat[end+2], start
}
