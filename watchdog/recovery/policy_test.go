package recovery

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// Delays are the seed's, capped, and never overflow.
func TestDelay(t *testing.T) {
	p := DefaultPolicy()
	for n, want := range map[int]time.Duration{-1: 0, 0: 0, 1: 2 * time.Second, 2: 4 * time.Second, 3: 8 * time.Second, 8: 256 * time.Second, 9: 5 * time.Minute, 1000: 5 * time.Minute, math.MaxInt: 5 * time.Minute} {
		if got := p.Delay(n); got != want {
			t.Errorf("after restart %d: %s, want %s", n, got, want)
		}
	}
	p = Policy{Base: math.MaxInt64, Multiplier: 1e300, Max: math.MaxInt64}
	if got := p.Delay(5); got != math.MaxInt64 {
		t.Errorf("got %s", got)
	}
	p = Policy{Base: time.Second, Multiplier: 1, Max: time.Minute}
	if got := p.Delay(50); got != time.Second {
		t.Errorf("a multiplier of 1: %s", got)
	}
	p = DefaultPolicy()
	seen := map[time.Duration]bool{}
	for i := range 50 {
		d := p.jittered(10*time.Second, fmt.Sprint(i), 1)
		seen[d] = true
		if d < 10*time.Second || d > 11*time.Second {
			t.Errorf("jitter makes 10 s %s", d)
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d delays for 50 services", len(seen))
	}
}
