package watchdog

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	// sampleEvery is how often the host's CPU time is read.
	sampleEvery = 2 * time.Second
	// idleAfter is how long at least one part in idleShare of the CPU time must
	// have been to spare, over every two samples, for the host to count as idle.
	// A probe that runs out of time in a shorter burst of load passes at the next
	// try.
	idleAfter = 30 * time.Second
	idleShare = 5
)

// Host is the machine that the engine and this program run on, as the kernel
// describes it. It is not safe for concurrent use; a nil Host is never idle.
type Host struct {
	proc         string
	before, last cpuTime
	busy         time.Time // when it was last busy, or nothing was known yet
}

// cpuTime is the CPU time in all and that which was to spare, in the kernel's
// ticks.
type cpuTime struct{ total, idle uint64 }

// NewHost returns the host whose /proc is at proc.
func NewHost(proc string, now time.Time) *Host {
	h := &Host{proc: proc, busy: now}
	h.last, _ = h.ticks()
	h.before = h.last
	return h
}

// Sample reads the CPU time since the last sample but one.
func (h *Host) Sample(now time.Time) {
	t, ok := h.ticks()
	b := h.before
	if !ok || t.total < b.total || t.idle < b.idle || idleShare*(t.idle-b.idle) < t.total-b.total {
		h.busy = now
	}
	h.before, h.last = h.last, t
}

// Idle says whether the host is known to have been idle of late. Waiting for a
// disk is not idle.
func (h *Host) Idle(now time.Time) bool {
	return h != nil && now.Sub(h.busy) >= idleAfter
}

// ticks reads the CPU time so far (proc(5)).
func (h *Host) ticks() (t cpuTime, ok bool) {
	text, err := os.ReadFile(h.proc + "/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if err != nil || len(fields) < 9 || fields[0] != "cpu" {
		return t, false
	}
	for i, field := range fields[1:9] { // guest time is part of user time
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return t, false
		}
		if t.total += n; i == 3 {
			t.idle = n
		}
	}
	return t, true
}

// Load says how busy the host is: the load average and, where the kernel has
// it, the pressure: the share of the last ten seconds that something waited
// for. It is empty where neither can be read.
func (h *Host) Load() string {
	var parts []string
	if text, err := os.ReadFile(h.proc + "/loadavg"); err == nil {
		if load := strings.Fields(string(text)); len(load) >= 3 {
			parts = append(parts, fmt.Sprintf("load %s on %d cores", load[0], runtime.NumCPU()))
		}
	}
	for _, of := range []string{"cpu", "memory", "io"} {
		text, err := os.ReadFile(h.proc + "/pressure/" + of)
		if err != nil {
			continue
		}
		if _, rest, ok := strings.Cut(string(text), "some avg10="); ok {
			share, _, _ := strings.Cut(rest, " ")
			parts = append(parts, of+" pressure "+share+"%")
		}
	}
	return strings.Join(parts, ", ")
}
