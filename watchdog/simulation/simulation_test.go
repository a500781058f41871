package simulation

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"healthcheck/watchdog/recovery"
)

var (
	seedFlag  = flag.Uint64("simulate.seed", 0, "the first seed")
	hoursFlag = flag.Float64("simulate.hours", 0, "simulate so many hours, of one seed after the other")
	traceFlag = flag.Bool("simulate.trace", false, "print what happens")
)

// totals are the figures of many histories.
type totals struct {
	mu       sync.Mutex
	runs     int
	hours    float64
	services float64 // service-hours
	counts   map[string]int
	pairs    map[pair]int
}

func (s *totals) add(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts, s.pairs = map[string]int{}, map[pair]int{}
	}
	s.runs++
	s.hours += o.hours
	s.services += o.hours * float64(o.services)
	for k, n := range o.counts {
		s.counts[k] += n
	}
	for k, n := range o.pairs {
		s.pairs[k] += n
	}
}

func (s *totals) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d histories, %.0f simulated hours, %.0f service-hours, %d restarts\n", s.runs, s.hours, s.services, s.counts["restarts"])
	for _, k := range slices.Sorted(maps.Keys(s.counts)) {
		fmt.Fprintf(&b, "%9d  %s\n", s.counts[k], k)
	}
	return b.String()
}

// TestSimulation is a fixed set of seeds.
func TestSimulation(t *testing.T) {
	var sum totals
	if *traceFlag {
		out := play(t, newHistory(*seedFlag), os.Stdout)
		sum.add(out)
		t.Log(sum.String(), out.found)
		return
	}
	for seed := range uint64(60) {
		out := play(t, newHistory(*seedFlag+seed), nil)
		sum.add(out)
		if out.found != nil {
			t.Errorf("seed %d: %s", *seedFlag+seed, out.found)
		}
	}
	t.Log(sum.String())
	for _, p := range recovery.Phases {
		for _, in := range recovery.Inputs() {
			if recovery.Matters(p, in) {
				t.Logf("%7d %s, %s", sum.pairs[pair{p, in}], p, in)
			}
		}
	}
}
