package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Pidfile makes the check for pidfile:///run/app.pid: the process whose id is
// in the file is alive and no zombie.
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
		name, err := alive(pid)
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

// alive returns the program's name in parentheses, where it may be known.
func alive(pid int) (string, error) {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return "", errors.New("does not run")
	}
	stat, err := target.ReadKernel(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", nil // hidden from this user, but there: the kernel said so
	}
	name, state := parseStat(stat)
	if state == 'Z' || state == 'X' {
		return "", fmt.Errorf("%s is a zombie", name)
	}
	return " " + name, nil
}

// parseStat reads the name, with its parentheses, and the state from
// /proc/PID/stat. The name may hold anything, parentheses too.
func parseStat(stat []byte) (name string, state byte) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open || end+2 >= len(stat) {
		return "", 0
	}
	return probe.Clean(string(stat[open : end+1])), stat[end+2]
}
