package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"healthcheck/watchdog/recovery"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// machine has one service that is being restarted, and one that is healthy.
func machine(settings recovery.Settings) *recovery.Machine {
	m := recovery.NewMachine(settings)
	m.Apply(recovery.Online{}, t0)
	m.Apply(recovery.Seen{Container: container("id1", "app", "unhealthy")}, t0)
	m.Apply(recovery.Seen{Container: container("id2", "healthy", "healthy")}, t0)
	return m
}

func container(id, name, health string) recovery.Container {
	c := recovery.Container{ID: id, Name: name, Labels: map[string]string{"watchdog.enable": "true"}, State: "running", Health: health,
		HasHealthcheck: true, StartedAt: t0.Add(-time.Hour), Retries: 1}
	if health == "unhealthy" {
		c.FailingStreak = 1
	}
	return c
}

func TestFile(t *testing.T) {
	settings := recovery.Settings{Policy: recovery.DefaultPolicy(), MaxConcurrent: 4, MaxRestarts: 20, Window: 5 * time.Minute}
	settings.Jitter = 0
	dir := t.TempDir()
	file := File{Path: filepath.Join(dir, "sub", "state.json")}
	m := machine(settings)
	data, err := Encode(State{Saved: t0, Services: m.PersistentServices(), Restarts: m.Restarts})
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Write(data); err != nil {
		t.Fatal(err)
	}
	saved, err := file.Load(t0)
	services, restarts := saved.Services, saved.Restarts
	if err != nil || len(services) != 1 || services["app"].Attempts != 1 || services["app"].Phase != recovery.Restarting || len(restarts) != 1 {
		t.Fatalf("%v, %+v, %v", err, services, restarts)
	}
	if st, err := os.Stat(file.Path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	// After a crash in the middle of the call: the container is found dead,
	// and nobody but the watchdog did it.
	m2 := recovery.NewMachine(settings)
	m2.Restore(services, restarts, t0)
	dead := container("id1", "app", "unhealthy")
	dead.State, dead.FinishedAt = "exited", t0.Add(time.Millisecond)
	if all := m2.InFlight(); len(all) != 1 || all[0].Key != "app" {
		t.Fatalf("in flight: %v", all)
	}
	m2.Apply(recovery.CallEnded{Key: "app", Err: errors.New("cut off"), Seen: &dead}, t0.Add(time.Second))
	if got := m2.Services["app"].Phase; got != recovery.Launching {
		t.Errorf("it is %s, want that it is started", got)
	}
	for name, text := range map[string]string{"torn": `{"version":2,"services":{"a":`, "newer": `{"version":3}`, "garbage": "\x00\x01", "null": `{"version":2,"services":{"a":null}}`} {
		if err := os.WriteFile(file.Path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		saved, err := file.Load(t0)
		if len(saved.Services) != 0 || (err == nil) != (name == "null") {
			t.Errorf("%s: %v, %v", name, saved, err)
		}
		aside := file.Path + ".20260102T030405"
		if kept, rerr := os.ReadFile(aside); name != "null" && (rerr != nil || string(kept) != text || !strings.Contains(err.Error(), aside)) {
			t.Errorf("%s is not set aside: %v, %v", name, err, rerr)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (File{Path: filepath.Join(dir, "fifo")}).Load(t0); err == nil {
		t.Error("a FIFO was read")
	}
	if err := (File{Path: filepath.Join(dir, "fifo", "x")}).Write(data); err == nil {
		t.Error("saved below a file")
	}
}
