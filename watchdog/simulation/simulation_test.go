package simulation

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"healthcheck/watchdog/recovery"
)

// e2e/simulate sets these.
var (
	longFlag  = flag.Bool("simulate.long", false, "play what the other flags ask for")
	shortFlag = flag.Bool("simulate.short", true, "look for the shortest history that fails")
	seedFlag  = flag.Uint64("simulate.seed", 0, "the first seed")
	hoursFlag = flag.Float64("simulate.hours", 0, "simulate so many hours, of one seed after the other; 0: that seed alone")
	wideFlag  = flag.Bool("simulate.wide", false, "hundreds of services more, and half a day")
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

// missing are the pairs of phase and input, and the rows of the decision table,
// that no history has reached, but for these.
func (s *totals) missing(but map[pair]bool) (all []string) {
	for _, p := range recovery.Phases {
		for _, in := range recovery.Inputs() {
			if recovery.Matters(p, in) && s.pairs[pair{p, in}] == 0 && !but[pair{p, in}] {
				all = append(all, p.String()+", "+in.String())
			}
		}
	}
	for _, r := range rows {
		if s.counts["row: "+r] == 0 {
			all = append(all, r)
		}
	}
	return all
}

func (s *totals) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	n := 0
	for p, times := range s.pairs {
		if times > 0 && recovery.Matters(p.phase, p.input) {
			n++
		}
	}
	fmt.Fprintf(&b, "%d histories, %.0f simulated hours, %.0f service-hours, %d restarts, %d pairs of phase and input\n", s.runs, s.hours, s.services, s.counts["restarts"], n)
	for _, k := range slices.Sorted(maps.Keys(s.counts)) {
		fmt.Fprintf(&b, "%9d  %s\n", s.counts[k], k)
	}
	return b.String()
}

// fixedSeeds are those of every run: few, since each costs a second, and seven
// with the race detector. Together they reach all but what is rare.
var fixedSeeds = []uint64{165, 28, 47, 103, 211, 45, 21, 36, 112, 13, 90}

// moreSeeds are played, one after the other, for a pair that those miss.
const moreSeeds = 60

// rare are the pairs that take some hundred histories.
var rare = map[pair]bool{
	{recovery.Idle, recovery.EndedByUs}: true, {recovery.Waiting, recovery.Unfollow}: true, {recovery.Verifying, recovery.Unjoined}: true,
	{recovery.Verifying, recovery.Orphaned}: true, {recovery.Rehearsed, recovery.Down}: true, {recovery.ShuttingDown, recovery.Reset}: true,
	// The engine says that it has stopped what runs on, or what somebody starts
	// within the moment of the answer.
	{recovery.ShutDown, recovery.Healthy}: true, {recovery.ShutDown, recovery.Starting}: true, {recovery.ShutDown, recovery.Failing}: true, {recovery.ShutDown, recovery.OptedOut}: true,
	{recovery.ShuttingDown, recovery.CallSucceeded}: true, {recovery.ShuttingDown, recovery.CallGone}: true,
}

// TestSimulation plays a fixed set of histories. Whoever adds a phase or an
// input may have to add an act that brings it about.
func TestSimulation(t *testing.T) {
	var sum totals
	one := func(t *testing.T, seed uint64) {
		out := play(t, newHistory(seed), nil)
		sum.add(out)
		if out.found != nil {
			t.Errorf("%s\ngo -C e2e run ./simulate -seed %d shows the shortest history that fails so", out.found, seed)
		}
	}
	t.Run("seeds", func(t *testing.T) {
		for _, seed := range fixedSeeds {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				one(t, seed)
			})
		}
	})
	for seed := uint64(100); seed < 100+moreSeeds && len(sum.missing(rare)) > 0 && !t.Failed(); seed++ {
		one(t, seed)
	}
	t.Log(sum.String())
	for _, m := range sum.missing(rare) {
		t.Errorf("no history reaches: %s", m)
	}
}

// TestLong plays the histories that e2e/simulate asks for.
func TestLong(t *testing.T) {
	if !*longFlag {
		return // go -C e2e run ./simulate asks for it
	}
	make1 := newHistory
	if *wideFlag {
		make1 = newWideHistory
	}
	if *traceFlag {
		out := play(t, make1(*seedFlag), os.Stdout)
		if out.found != nil {
			t.Error(out.found)
		}
		return
	}
	var sum totals
	var next atomic.Uint64
	next.Store(*seedFlag)
	var failed atomic.Pointer[history]
	begin := time.Now()
	t.Run("seeds", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for failed.Load() == nil {
					seed := next.Add(1) - 1
					h := make1(seed)
					if done := float64(seed-*seedFlag) * (h.chaos + h.rest).Hours(); done > 0 && done >= *hoursFlag {
						return
					}
					out := play(t, h, nil)
					sum.add(out)
					if out.found != nil && failed.CompareAndSwap(nil, &h) {
						fmt.Printf("seed %d breaks a rule: %s\n", seed, out.found)
						t.Fail()
					}
					if worker == 0 && time.Since(begin) > time.Minute {
						begin = time.Now()
						sum.mu.Lock()
						fmt.Printf("seed %d: %.0f hours, %.0f service-hours, %d restarts\n", seed, sum.hours, sum.services, sum.counts["restarts"])
						sum.mu.Unlock()
					}
				}
			})
		}
	})
	fmt.Print(sum.String())
	if missing := sum.missing(nil); len(missing) > 0 {
		fmt.Printf("not reached: %s\n", strings.Join(missing, "; "))
	}
	if h := failed.Load(); h != nil && *shortFlag {
		fmt.Printf("looking for the shortest history of seed %d that fails so\n", h.seed)
		short, found := shorten(t, *h, time.Minute)
		fmt.Printf("%d of %d acts:\n", len(short.acts), len(h.acts))
		for _, a := range short.acts {
			fmt.Println("  ", a)
		}
		fmt.Println(found)
	}
}

// shorten leaves out of a history what its fault does not need.
func shorten(t *testing.T, h history, limit time.Duration) (history, *violation) {
	deadline := time.Now().Add(limit)
	fails := func(acts []act) *violation {
		short := h
		short.acts = acts
		return play(t, short, nil).found
	}
	found := fails(h.acts)
	if found == nil {
		return h, &violation{rule: "chance", text: "it does not fail again"}
	}
	rule := found.rule
	if found.act >= 0 && found.act+1 < len(h.acts) { // what came behind it
		if v := fails(h.acts[:found.act+1]); v != nil && v.rule == rule {
			h.acts, found = h.acts[:found.act+1], v
		}
	}
	for part := (len(h.acts) + 1) / 2; part > 0 && time.Now().Before(deadline); {
		smaller := false
		for from := 0; from < len(h.acts) && time.Now().Before(deadline); {
			acts := slices.Concat(h.acts[:from], h.acts[min(from+part, len(h.acts)):])
			if v := fails(acts); v != nil && v.rule == rule {
				h.acts, found, smaller = acts, v, true
			} else {
				from += part
			}
		}
		if part == 1 && !smaller {
			break
		}
		part = max(1, int(math.Ceil(float64(part)/2)))
	}
	return h, found
}

// A seed makes the same history each time.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	h := newHistory(3)
	h.chaos, h.rest = 20*time.Minute, 5*time.Minute
	h.acts = slices.DeleteFunc(h.acts, func(a act) bool { return a.at >= h.chaos })
	first := play(t, h, nil)
	for range 2 {
		if again := play(t, h, nil); again.print != first.print || !maps.Equal(again.pairs, first.pairs) {
			t.Errorf("two runs of one seed differ: %x, %x", again.print, first.print)
		}
	}
}
