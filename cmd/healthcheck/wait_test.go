package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"healthcheck/probe/report"
)

// late answers 503 to the first requests.
func late(t *testing.T, failures int64) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) <= failures {
			w.WriteHeader(503)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, asked
}

func TestWaitTriesUntilHealthy(t *testing.T) {
	url, asked := late(t, 3)
	stdout, stderr, code := execute(t, nil, "wait", "--db", url)
	if code != 0 || asked.Load() != 4 || !strings.HasPrefix(stdout, "healthy: 1 check passed") {
		t.Errorf("exit %d after %d requests: %s%s", code, asked.Load(), stdout, stderr)
	}
	// One line for each state, not for each attempt.
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "s FAIL db  GET ") || !strings.Contains(lines[1], "s ok   db  GET ") {
		t.Errorf("got %q", lines)
	}
}

// The command has the process's own id, the signals as they were, standard
// input and output, and every argument.
func TestWaitBecomesTheCommand(t *testing.T) {
	url, _ := late(t, 0)
	const script = `grep -E '^(SigIgn|SigBlk|SigCgt)' /proc/self/status; echo "pid $$ $0 $1"; cat; exit 7`
	run := func(name string, args ...string) (*exec.Cmd, string) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		var out bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Env = strings.NewReader("input"), &out, []string{"PATH=/bin:/usr/bin", "HEALTHCHECK_QUIET=true"}
		cmd.Run()
		return cmd, strings.ReplaceAll(out.String(), fmt.Sprintf("pid %d ", cmd.Process.Pid), "pid same ")
	}
	direct, want := run("/bin/sh", "-c", script, "zero", "--api")
	cmd, got := run(binary, "wait", "--api", url, "--", "sh", "-c", script, "zero", "--api")
	if got != want || !strings.Contains(want, "pid same zero --api\ninput") || cmd.ProcessState.ExitCode() != 7 || direct.ProcessState.ExitCode() != 7 {
		t.Errorf("%v\n%s\nwant what it does alone:\n%s", cmd.ProcessState, got, want)
	}
}

func TestWaitGivesUp(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	url, _ := late(t, 0)
	stdout, stderr, code := execute(t, []string{"PATH=/bin:/usr/bin"}, "wait", "--wait-timeout", "300ms", "--db", "main=tcp://"+addr, "--api", url, "--db", "cache="+url+"/#status=204", "--", "echo", "started")
	want := "error: wait: not healthy within 300ms: main, cache\nhint: a longer --wait-timeout, or --optional for what may be missing\n"
	if code != 1 || !strings.HasSuffix(stderr, want) || !strings.HasPrefix(stdout, "unhealthy: 2 of 3 failed: main: ") || strings.Contains(stdout, "started") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	// One that hangs does not hold it up, either; JSON stays alone on its stream.
	stdout, stderr, code = execute(t, nil, "wait", "--wait-timeout", "200ms", "--output", "json", "--db", hangs(t))
	if code != 1 || !strings.HasPrefix(stdout, `{"status":"unhealthy"`) || !strings.Contains(stderr, "not healthy within 200ms: db") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

// It waits for the layers that have targets of their own, on its command line
// before those of variables.
func TestWaitLayers(t *testing.T) {
	url, _ := late(t, 0)
	for want, c := range map[string][][]string{
		"db":     {{"--db", url}, {"HEALTHCHECK_API=http://127.0.0.1:1/", "HEALTHCHECK_LAYERS=api"}},
		"vector": {nil, {"HEALTHCHECK_VECTOR=" + url}},
		"api":    {{"--layers", "api", "--base-url", url}, nil},
		"disk":   {{"--layers", "resource", "--disk-max", "off", "--cpu-max", "off", "--mem-max", "off"}, nil},
	} {
		stdout, stderr, code := execute(t, c[1], append([]string{"wait", "--wait-timeout", "20s"}, c[0]...)...)
		if code != 0 || !strings.Contains(stdout, "\nok   "+want+" ") || strings.Count(stdout, "\nok   ") != map[bool]int{false: 1, true: 4}[want == "disk"] {
			t.Errorf("%s: exit %d: %s%s", want, code, stdout, stderr)
		}
	}
}

func TestWaitUsage(t *testing.T) {
	for want, args := range map[string][]string{
		`error: unexpected argument "sleep"` + "\nhint: the command stands behind --: healthcheck wait --db tcp://db:5432 -- COMMAND\n": {"sleep", "1"},
		"error: unexpected argument: a tcp URL\nhint: name the layer that it belongs to: --api, --db or --vector\n":                     {"tcp://db:5432", "--", "sleep"},
		"error: wait: exec: \"no-such-program\": executable file not found in $PATH\nhint: name a program of this image behind --; a script needs its shell there\n": {
			"--db", "tcp://127.0.0.1:1", "--", "no-such-program"},
		"error: --wait-timeout \"0\": want a duration above 0 with its unit, such as 30s or 500ms\nhint: for example: --wait-timeout 2s\n": {"--wait-timeout", "0"},
	} {
		if stdout, stderr, code := execute(t, nil, append([]string{"wait"}, args...)...); code != 1 || stderr != want || stdout != "" {
			t.Errorf("%q: exit %d: %s%s", args, code, stdout, stderr)
		}
	}
	// The variable may be set for the probe, too; the interval means nothing.
	url, _ := late(t, 0)
	environ := []string{"HEALTHCHECK_WAIT_TIMEOUT=20s", "HEALTHCHECK_INTERVAL=2s", "HEALTHCHECK_TIMEOUT=1s", "HEALTHCHECK_API=" + url, "HEALTHCHECK_LAYERS=api"}
	for _, args := range [][]string{nil, {"wait", "--timeout", "9s"}} {
		if stdout, stderr, code := execute(t, environ, args...); code != 0 {
			t.Errorf("%q: exit %d: %s%s", args, code, stdout, stderr)
		}
	}
	stdout, _, code := execute(t, nil, "wait", "--help")
	if code != 0 || !strings.Contains(stdout, "  --wait-timeout DURATION  give up after so long (1m0s)\n") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

// Every signal that people end a program with ends the wait, with 1.
func TestWaitSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if signal.Ignored(sig) { // as nohup has it, and what it starts
			heard := make(chan os.Signal, 1)
			signal.Notify(heard, sig)
			defer signal.Stop(heard)
		}
		cmd := exec.CommandContext(t.Context(), binary, "wait", "--api", "http://"+ln.Addr().String(), "--", "true")
		cmd.Env = []string{"PATH=/bin"}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Process.Signal(syscall.SIGABRT) // changes nothing; it would end a Go program with 2
		cmd.Process.Signal(sig)
		cmd.Wait()
		conn.Close()
		ln.Close()
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(errs.String(), sig.String()+" signal received") {
			t.Errorf("%v: %v: %s", sig, cmd.ProcessState, errs.String())
		}
	}
}

// The pause doubles from 100 ms to 5 s.
func TestWaitPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		ctx, cancel := context.WithTimeout(t.Context(), 14*time.Second)
		defer cancel()
		repeat(ctx, func() report.Report {
			at = append(at, time.Since(begin))
			return report.Report{Verdict: report.Unhealthy}
		})
		const want = "[0s 100ms 300ms 700ms 1.5s 3.1s 6.3s 11.3s]"
		if got := fmt.Sprint(at); got != want {
			t.Errorf("attempts at %s, want %s", got, want)
		}
	})
}
