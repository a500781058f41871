package simulation

import (
	"container/heap"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"healthcheck/watchdog/recovery"
)

// world is one history: an engine, the people who use it, the receivers of
// alerts, a disk, and one life of the watchdog after the other. One goroutine,
// the driver, lets one thing happen at a time, and waits until the watchdog has
// done all that it does about it.
type world struct {
	history history
	dir     string
	begin   time.Time
	engine  *engine
	people  *people
	audit   *auditor
	life    *life
	lives   int
	disk    disk
	agenda  agenda
	order   int
	asked   map[string]int // calls, by kind and container
	trace   io.Writer      // what happened, which two runs of a seed have in common
	log     io.Writer      // the watchdog's log; nil: nobody looks
	found   *violation
	counts  map[string]int
	pairs   map[pair]int

	mu       sync.Mutex
	requests []*request
	arrived  chan struct{}
}

// pair is one of the table of transitions.
type pair struct {
	phase recovery.Phase
	input recovery.Input
}

// violation is a rule that was broken.
type violation struct {
	rule, text string
	at         time.Duration
	act        int // the last that was carried out
}

func (v violation) String() string { return fmt.Sprintf("%s: after %s: %s", v.rule, v.at, v.text) }

// plan is something that happens at a time.
type plan struct {
	at    time.Time
	order int
	do    func()
}

type agenda []plan

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at.Before(a[j].at) || a[i].at.Equal(a[j].at) && a[i].order < a[j].order
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(plan)) }
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = plan{}
	*a = old[:len(old)-1]
	return last
}

func (w *world) at(t time.Time, do func()) {
	w.order++
	heap.Push(&w.agenda, plan{t, w.order, do})
}

func (w *world) after(d time.Duration, do func()) { w.at(time.Now().Add(d), do) }

// count counts what the driver sees. The watchdog's log counts, too, in
// goroutines that a timer wakes, and nothing else orders.
func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// fail notes a broken rule; the first one ends the history.
func (w *world) fail(rule, format string, args ...any) {
	if w.found == nil {
		w.found = &violation{rule, fmt.Sprintf(format, args...), time.Since(w.begin), w.people.last}
	}
}

func (w *world) say(format string, args ...any) {
	fmt.Fprintf(w.trace, "%14s  %s\n", time.Since(w.begin).Round(time.Microsecond), fmt.Sprintf(format, args...))
}

// hash is a number that the seed and these words decide: chance that does not
// depend on what else happens, so that a shorter history stays the same story.
func (w *world) hash(words ...any) uint64 {
	h := fnv.New64a()
	var seed [8]byte
	binary.LittleEndian.PutUint64(seed[:], w.history.seed)
	h.Write(seed[:])
	fmt.Fprint(h, words...)
	x := h.Sum64()
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	return x ^ x>>29
}

// longestLatency is that of the slowest call.
const longestLatency = 50 * time.Millisecond

// latency is how long a call takes to get there, or its answer to come back.
func (w *world) latency(r *request) time.Duration {
	key := r.kind + r.id
	w.asked[key]++
	n := w.hash(key, w.asked[key])
	d := 300*time.Microsecond + time.Duration(n%uint64(2*time.Millisecond))
	if n%41 == 0 {
		d *= 20
	}
	return d
}

// arrive takes a request of the watchdog.
func (w *world) arrive(r *request) {
	w.mu.Lock()
	w.requests = append(w.requests, r)
	w.mu.Unlock()
	select {
	case w.arrived <- struct{}{}:
	default:
	}
}

// take lets the requests that have arrived begin, in an order that does not
// depend on the scheduler.
func (w *world) take() {
	w.mu.Lock()
	all := w.requests
	w.requests = nil
	w.mu.Unlock()
	slices.SortStableFunc(all, func(a, b *request) int {
		return strings.Compare(a.kind+a.id+a.send.URL+a.send.Title+a.send.Text, b.kind+b.id+b.send.URL+b.send.Title+b.send.Text)
	})
	for _, r := range all {
		if r.left() {
			continue
		}
		w.say("%s %.12s %s", r.kind, r.id, r.since)
		w.audit.asked(r)
		if w.people.killNext == r.kind+" asked" {
			w.people.killNow()
			continue
		}
		if r.kind == "send" {
			w.people.receive(r)
		} else {
			w.engine.serve(r)
		}
	}
}

// history is what a seed makes, or a part of that.
type history struct {
	seed  uint64
	specs []spec
	acts  []act
	chaos time.Duration // how long acts come
	rest  time.Duration // how long none come behind them
}

// outcome is what came of a history.
type outcome struct {
	found    *violation
	hours    float64 // simulated
	services int
	counts   map[string]int
	pairs    map[pair]int
	print    uint64 // of all that happened
}

// play runs a history.
func play(t *testing.T, h history, trace io.Writer) (out outcome) {
	dir, err := os.MkdirTemp(memory(), "simulation")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	print := fnv.New64a()
	synctest.Test(t, func(t *testing.T) {
		w := &world{history: h, dir: dir, begin: time.Now(), arrived: make(chan struct{}, 1), asked: map[string]int{}, counts: map[string]int{}, pairs: map[pair]int{}}
		w.trace, w.log = print, trace
		if trace != nil {
			w.trace = io.MultiWriter(print, trace)
		}
		w.engine = newEngine(w)
		w.people = &people{w: w, last: -1}
		w.audit = newAuditor(w)
		w.people.arrange()
		w.start()
		w.drive()
		if w.life != nil {
			w.kill()
		}
		time.Sleep(time.Hour) // the lives end that were killed
		synctest.Wait()
		out = outcome{w.found, time.Since(w.begin).Hours() - 1, len(h.specs), w.counts, w.pairs, print.Sum64()}
	})
	return out
}

// memory is a directory in memory, where there is one: the state is synced at
// each decision.
func memory() string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// drive lets everything happen in its order until the end.
func (w *world) drive() {
	end := w.begin.Add(w.history.chaos + w.history.rest)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for w.found == nil {
		synctest.Wait()
		w.take()
		if w.found != nil {
			return
		}
		now := time.Now()
		if !now.Before(end) {
			w.audit.atEnd(context.Background())
			return
		}
		next := end
		if len(w.agenda) > 0 && w.agenda[0].at.Before(end) {
			next = w.agenda[0].at
		}
		if next.After(now) {
			timer.Reset(next.Sub(now))
			select {
			case <-timer.C:
			case <-w.arrived:
			}
			continue
		}
		if len(w.agenda) > 0 {
			heap.Pop(&w.agenda).(plan).do()
		}
	}
}
