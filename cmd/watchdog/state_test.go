package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"healthcheck/watchdog/store"
)

// killable runs a daemon that the test ends itself.
func killable(t *testing.T, f *fakeEngine, state string, args ...string) (*exec.Cmd, *lockedBuffer) {
	t.Helper()
	log := &lockedBuffer{}
	cmd := exec.Command(binary, append([]string{"run", "--host", f.host, "--state-file", state, "--control", "none", "--listen", "none"}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = []string{}, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, log
}

// Killed a hundred times at random moments, among restarts without end: the
// file is never torn, and no restart that was subscribed for is forgotten.
func TestKilledAHundredTimes(t *testing.T) {
	// Side by side: after each kill a watchdog waits a second for what the engine
	// tells of its last call.
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { killTenTimes(t) })
	}
	all.Wait()
}

func killTenTimes(t *testing.T) {
	f := newFakeEngine(t, 12)
	f.mu.Lock()
	f.staysUnhealthy = true
	for _, b := range f.containers {
		b.Health, b.Streak = "unhealthy", 1
	}
	f.mu.Unlock()
	state := filepath.Join(t.TempDir(), "state.json")
	for i := range 10 {
		cmd, log := killable(t, f, state, "--max-attempts", "1000000", "--max-restarts", "1000000/1s", "--backoff-base", "1ms", "--backoff-max", "2ms")
		eventually(t, "it works", func() bool { return strings.Contains(log.String(), "restarted (") })
		<-time.After(time.Duration(rand.Int64N(int64(40 * time.Millisecond))))
		cmd.Process.Kill()
		cmd.Wait()
		saved, err := store.File{Path: state}.Load(time.Now())
		if err != nil {
			t.Errorf("kill %d: %v", i, err)
			return
		}
		f.mu.Lock()
		for id, n := range f.counts {
			if s := saved.Services[f.containers[id].Name]; s == nil || s.Attempts < n {
				t.Errorf("kill %d: %s was restarted %d times, saved is %+v", i, f.containers[id].Name, n, s)
			}
		}
		f.mu.Unlock()
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(state), "*")); len(left) > 11 {
		t.Errorf("%d files are left", len(left))
	}
}

// A file of another version, or one that is no JSON, is set aside and reported.
func TestStateFileThatCannotBeRead(t *testing.T) {
	for text, part := range map[string]string{`{"version":99}`: "version 99, want 2", "{{{": "invalid character"} {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/state.json", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f := newFakeEngine(t, 1)
		cmd, log := killable(t, f, dir+"/state.json")
		f.awaitSubscriber(t)
		f.makeUnhealthy(f.order[0])
		<-f.restarts
		eventually(t, "it recovers", func() bool { return strings.Contains(log.String(), "recovered in ") })
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		aside, _ := filepath.Glob(dir + "/state.json.2*")
		if !contains(log.String(), "nothing is remembered", part, "it is set aside as") || len(aside) != 1 {
			t.Errorf("%q:\n%s", aside, log)
		}
		var saved store.State
		if data, err := os.ReadFile(dir + "/state.json"); err != nil || json.Unmarshal(data, &saved) != nil || saved.Version != 2 {
			t.Errorf("the new file: %s, %v", data, err)
		}
	}
}
