package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func decisions(from, to int) (all []Decision) {
	for i := from; i < to; i++ {
		all = append(all, Decision{Time: t0.Add(time.Duration(i) * time.Second), What: fmt.Sprint("decision ", i)})
	}
	return all
}

// A disk that hangs costs whoever saves a bounded time, once; when it answers,
// the newest state is written, and nothing of the history is missing.
func TestWriterOnADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := File{Path: filepath.Join(t.TempDir(), "state.json")}
		w := NewWriter(file, nil)
		answers := make(chan struct{})
		w.write = func(data []byte) error { <-answers; return file.Write(data) }
		begin := time.Now()
		for i := range 10 {
			if err := w.Save([]byte(fmt.Sprint(i)), decisions(i, i+1), 2*time.Second); !errors.Is(err, ErrSlow) {
				t.Fatalf("save %d: %v", i, err)
			}
		}
		if waited := time.Since(begin); waited != 2*time.Second {
			t.Errorf("it waited %s for ten", waited)
		}
		close(answers)
		synctest.Wait()
		if data, err := os.ReadFile(file.Path); string(data) != "9" {
			t.Errorf("the file holds %q, %v", data, err)
		}
		if h, err := file.LoadHistory(); err != nil || len(h) != 10 || h[9].What != "decision 9" {
			t.Errorf("%d decisions, %v", len(h), err)
		}
		if err := w.Save([]byte("10"), nil, 2*time.Second); err != nil {
			t.Errorf("the disk answers again: %v", err)
		}
	})
}

// The history is appended; it is rewritten when it has grown to twice its
// length, and after a write that failed.
func TestHistoryFile(t *testing.T) {
	dir := t.TempDir()
	file := File{Path: filepath.Join(dir, "state.json")}
	w := NewWriter(file, nil)
	save := func(more []Decision) {
		t.Helper()
		if err := w.Save([]byte("{}"), more, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 25 {
		save(decisions(i*100, i*100+100))
	}
	h, err := file.LoadHistory()
	if err != nil || len(h) != historyLength || h[len(h)-1].What != "decision 2499" {
		t.Fatalf("%d decisions, %v", len(h), err)
	}
	data, _ := os.ReadFile(file.historyPath())
	if n := strings.Count(string(data), "decision"); n > 2*historyLength {
		t.Errorf("%d lines", n)
	}
	// A line that a crash has torn costs that line alone.
	if err := os.WriteFile(file.historyPath(), data[:len(data)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	save(decisions(2500, 2501))
	if h, err = file.LoadHistory(); err != nil || h[len(h)-1].What != "decision 2500" || h[len(h)-2].What != "decision 2498" {
		t.Errorf("%v, %v", h[len(h)-2:], err)
	}
	// What could not be written is written with the next.
	os.Remove(file.historyPath())
	if err := os.Mkdir(file.historyPath(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := w.Save([]byte("{}"), decisions(2501, 2502), time.Minute); err == nil {
		t.Fatal("written into a directory")
	}
	os.Remove(file.historyPath())
	save(decisions(2502, 2503))
	if h, err = file.LoadHistory(); err != nil || h[len(h)-2].What != "decision 2501" || h[len(h)-1].What != "decision 2502" {
		t.Errorf("%d decisions, %v", len(h), err)
	}
}

// Files of others, links and special files are neither read nor written.
func TestHostileFiles(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"a symbolic link": func(path string) error {
			if err := os.WriteFile(path+".target", []byte(`{"version":2}`), 0o600); err != nil {
				return err
			}
			return os.Symlink(path+".target", path)
		},
		"writable by others": func(path string) error {
			if err := os.WriteFile(path, []byte(`{"version":2}`), 0o600); err != nil {
				return err
			}
			return os.Chmod(path, 0o666)
		},
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		file := File{Path: filepath.Join(t.TempDir(), "state.json")}
		for _, path := range []string{file.Path, file.historyPath()} {
			if err := plant(path); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := file.Load(t0); err == nil {
			t.Errorf("%s: the state is read", name)
		}
		if _, err := file.LoadHistory(); err == nil {
			t.Errorf("%s: the history is read", name)
		}
		if err := file.AppendHistory(decisions(0, 1)); err == nil {
			t.Errorf("%s: the history is written", name)
		}
	}
}

// One watchdog at a time.
func TestLock(t *testing.T) {
	file := File{Path: filepath.Join(t.TempDir(), "sub", "state.json")}
	release, err := file.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	release()
	if release, err = file.Lock(); err != nil {
		t.Errorf("after its release: %v", err)
	}
	release()
}
