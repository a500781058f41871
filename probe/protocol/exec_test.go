package protocol

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"healthcheck/probe"
)

// script writes an executable file and returns its path.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "check")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
	return path
}

func TestExec(t *testing.T) {
	echo := script(t, `echo "$# $1 $2"; echo errs >&2; exit ${3:-0}`)
	for _, c := range []struct{ query, want, fail string }{
		{"?arg=a+b&arg=%24HOME", `: exit status 0: "2 a b $HOME\nerrs"`, ""},
		{"?arg=&arg=--password%3Dhunter2&arg=3", "", `: exit status 3, want exit status 0: "3  --password=***\nerrs"`},
		{"?arg=a&arg=b&arg=1&codes=0,1", `: exit status 1: `, ""},
		{"?codes=7,8", "", `: exit status 0, want exit status 7 or 8: `},
	} {
		f, err := probeOnce(t, Exec, "exec://"+echo+c.query, time.Minute)
		if c.fail != "" {
			wantFailure(t, err, probe.StageStatus, "exec://"+echo+c.fail)
		} else if err != nil || !strings.HasPrefix(f.Message, "exec://"+echo+c.want) {
			t.Errorf("%s: %q, %v", c.query, f.Message, err)
		}
	}
	_, err := probeOnce(t, Exec, "exec:///no/such/file", time.Minute)
	wantFailure(t, err, probe.StageRead, "exec:///no/such/file: no such file or directory")
	if class := classOfError(err); class != probe.Config {
		t.Errorf("class %s", class)
	}
	_, err = probeOnce(t, Exec, "exec://"+script(t, "kill -9 $$"), time.Minute)
	wantFailure(t, err, probe.StageStatus, "signal: killed, want exit status 0")
	if class := classOfError(err); class != probe.Unknown {
		t.Errorf("class %s", class)
	}
}

// Output without end is read past, and a process left behind that holds the
// output open is not waited for.
func TestExecOutput(t *testing.T) {
	f, err := probeOnce(t, Exec, "exec://"+script(t, "head -c 10000000 /dev/zero | tr '\\0' 'x'; exit 0"), time.Minute)
	if err != nil || len(f.Message) > 400 || !strings.Contains(f.Message, "xxxx") {
		t.Errorf("%d bytes, %v", len(f.Message), err)
	}
	begin := time.Now()
	pids := filepath.Join(t.TempDir(), "pid")
	f, err = probeOnce(t, Exec, "exec://"+script(t, "sleep 600 & echo $! >"+pids+"; echo done"), 5*time.Minute)
	if err != nil || !strings.HasSuffix(f.Message, `"done"`) || time.Since(begin) > 2*time.Minute {
		t.Errorf("%q, %v after %s", f.Message, err, time.Since(begin))
	}
	syscall.Kill(readPid(t, pids), syscall.SIGKILL)
}

func readPid(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	return pid
}

// At the deadline the command is gone, and so are its children.
func TestExecIsKilledWithItsChildren(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pid")
	_, err := probeOnce(t, Exec, "exec://"+script(t, "trap '' TERM; sh -c 'sleep 600; true' & echo $! >"+pids+"; echo waiting; wait"), time.Second)
	wantFailure(t, err, probe.StageStatus, `no answer within 1s: "waiting"`)
	pid := readPid(t, pids)
	for end := time.Now().Add(time.Minute); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d is still there", pid)
		}
	}
}

// classOfError is the class that the error itself names.
func classOfError(err error) probe.Class {
	se, _ := errors.AsType[*probe.StageError](err)
	return se.Class
}
