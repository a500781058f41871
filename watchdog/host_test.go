package watchdog

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestHostLoad(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	if got := NewHost(dir, now).Load(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	if err := os.Mkdir(filepath.Join(dir, "pressure"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"loadavg":         "66.12 40.00 12.00 3/400 1234\n",
		"pressure/cpu":    "some avg10=81.50 avg60=40.00 avg300=9.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"pressure/memory": "no such format\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := NewHost(dir, now).Load(), fmt.Sprintf("load 66.12 on %d cores, cpu pressure 81.50%%", runtime.NumCPU()); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := NewHost("/proc", now).Load(); !strings.HasPrefix(got, "load ") {
		t.Errorf("this host: %q", got)
	}
	if c, ok := NewHost("/proc", now).ticks(); !ok || c.idle == 0 || c.total <= c.idle {
		t.Errorf("this host: %d of %d ticks to spare, %v", c.idle, c.total, ok)
	}
}

func TestHostIdle(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	stat := func(user, idle, iowait int) {
		t.Helper()
		text := fmt.Sprintf("cpu  %d 0 0 %d %d 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n", user, idle, iowait)
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stat(1000, 1000, 0)
	h := NewHost(dir, now)
	if h.Idle(now) || (*Host)(nil).Idle(now) {
		t.Error("idle, and nothing is known")
	}
	pass := func(user, idle, iowait int) { // half a minute and a sample at its end
		t.Helper()
		now = now.Add(idleAfter)
		stat(user, idle, iowait)
		h.Sample(now)
	}
	pass(1075, 1025, 0)
	if !h.Idle(now) {
		t.Error("25 % to spare for half a minute, and not idle")
	}
	pass(1175, 1025, 0) // a burst, of all of it
	if h.Idle(now) {
		t.Error("12 % to spare over two samples")
	}
	pass(1275, 1026, 0)
	pass(1300, 1126, 0)
	if !h.Idle(now) {
		t.Error("50 % to spare over two samples, half a minute after the burst")
	}
	pass(1300, 1200, 0)
	pass(1300, 1210, 500)
	if h.Idle(now) {
		t.Error("it waits for a disk")
	}
	os.Remove(filepath.Join(dir, "stat"))
	h.Sample(now.Add(time.Hour))
	if h.Idle(now.Add(time.Hour)) {
		t.Error("idle, and nothing can be read")
	}
}
