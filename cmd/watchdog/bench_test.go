package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// percentile is the p-th of sorted durations.
func percentile(d []time.Duration, p float64) time.Duration {
	slices.Sort(d)
	return d[int(p*float64(len(d)-1))]
}

// BenchmarkEventToRestart is the time from an event to the call that restarts,
// with 1,000 watched containers on a fake engine.
func BenchmarkEventToRestart(b *testing.B) {
	f := newFakeEngine(b, 1000)
	daemon(b, f, nil, "--listen", "none", "--max-restarts", "100000/1s", "--max-attempts", "100000")
	var took []time.Duration
	i := 0
	for b.Loop() {
		id := f.order[i%len(f.order)]
		i++
		begin := time.Now()
		f.makeUnhealthy(id)
		<-f.restarts
		took = append(took, time.Since(begin))
	}
	b.ReportMetric(float64(percentile(took, 0.5).Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(percentile(took, 0.99).Microseconds())/1000, "ms/p99")
}

// BenchmarkEvents is how many events are handled in a second, each with the
// inspection that it leads to, from 1,000 containers on a fake engine.
func BenchmarkEvents(b *testing.B) {
	f := newFakeEngine(b, 1000)
	daemon(b, f, nil, "--listen", "none")
	for b.Loop() {
		begin := f.count(&f.inspections)
		f.sendHealthy()
		for f.count(&f.inspections) < begin+len(f.order) {
			<-time.After(100 * time.Microsecond)
		}
	}
	b.ReportMetric(float64(len(f.order)*b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkIdle is what 10,000 watched containers cost: memory, and ten
// minutes in which nothing happens.
func BenchmarkIdle(b *testing.B) {
	f := newFakeEngine(b, 10000)
	cmd, _ := daemon(b, f, nil, "--listen", "none", "--reconcile", "1s")
	for b.Loop() {
		idleMinutes(b, f, cmd.Process.Pid, 10)
	}
	b.ReportMetric(residentMiB(b, cmd.Process.Pid)/10, "MiB/1000")
}

// idleMinutes lets as many reconciliations pass as there are minutes: between
// them an idle watchdog does nothing. Here they follow one another by seconds.
func idleMinutes(b *testing.B, f *fakeEngine, pid, minutes int) {
	b.Helper()
	begin, calls, lists := cpuTime(b, pid), f.count(&f.calls), f.count(&f.lists)
	for f.count(&f.lists) < lists+minutes {
		<-time.After(10 * time.Millisecond)
	}
	b.ReportMetric(float64((cpuTime(b, pid)-begin).Microseconds())/1000, "cpu-ms/10min")
	b.ReportMetric(float64(f.count(&f.calls)-calls), "requests/10min")
}

// BenchmarkTenIdleMinutes sets the watchdog beside a poller that asks as
// docker-autoheal does, every five seconds with curl and jq, on the same fake
// engine with 50 containers. Neither waits as long as it would: what is
// counted is what they ask and the CPU time that it takes them.
func BenchmarkTenIdleMinutes(b *testing.B) {
	f := newFakeEngine(b, 50)
	b.Run("watchdog", func(b *testing.B) {
		cmd, _ := daemon(b, f, nil, "--listen", "none", "--reconcile", "1s")
		for b.Loop() {
			idleMinutes(b, f, cmd.Process.Pid, 10)
		}
	})
	b.Run("polling", func(b *testing.B) {
		for _, tool := range []string{"curl", "jq"} {
			if _, err := exec.LookPath(tool); err != nil {
				b.Fatalf("%v: Debian has it", err)
			}
		}
		for b.Loop() {
			calls := f.count(&f.calls)
			cmd := exec.CommandContext(b.Context(), "sh", "testdata/poll.sh", strings.TrimPrefix(f.host, "unix://"), "120")
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() // its children's among it
			b.ReportMetric(float64(used.Microseconds())/1000, "cpu-ms/10min")
			b.ReportMetric(float64(f.count(&f.calls)-calls), "requests/10min")
		}
	})
}

// cpuTime is what a process has used, to the nanosecond (schedstat(5)), over
// all its threads.
func cpuTime(b *testing.B, pid int) (total time.Duration) {
	b.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		b.Fatal("no schedstat")
	}
	for _, name := range files {
		var ns int64
		if text, err := os.ReadFile(name); err == nil {
			fmt.Sscan(string(text), &ns)
		}
		total += time.Duration(ns)
	}
	return total
}

func residentMiB(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	var kb float64
	fmt.Sscan(string(m[1]), &kb)
	return kb / 1024
}

// BenchmarkGrowth is what the daemon costs as containers become more, with and
// without the figures of their probes: peak memory, the CPU time of one
// reconciliation, which is that of an idle minute, and the time from an event
// to the call that restarts.
func BenchmarkGrowth(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		for _, figures := range []bool{false, true} {
			b.Run(fmt.Sprintf("containers=%d/figures=%v", n, figures), func(b *testing.B) { growth(b, n, figures) })
		}
	}
}

func growth(b *testing.B, n int, figures bool) {
	const minutes = 2
	failures, reconcile := min(n, 20), 2*time.Second
	if figures {
		reconcile += time.Duration(n) * 3 * time.Millisecond // all are inspected, and that is to end before the next
	}
	f := newFullEngine(b, n)
	cmd, _ := daemon(b, f, nil, "--listen", "none", "--reconcile", reconcile.String(), fmt.Sprintf("--probe-figures=%v", figures), "--max-restarts", "100000/1s", "--max-attempts", "100000")
	pid := cmd.Process.Pid
	for b.Loop() {
		f.settled()
		begin, lists := cpuTime(b, pid), f.count(&f.lists)
		for f.count(&f.lists) < lists+minutes {
			<-time.After(20 * time.Millisecond)
		}
		f.settled()
		b.ReportMetric(float64((cpuTime(b, pid)-begin).Microseconds())/1000/float64(f.count(&f.lists)-lists), "cpu-ms/minute")
		b.ReportMetric(residentMiB(b, pid), "MiB/peak")
		var took []time.Duration
		for i := range failures {
			f.settled() // what the last recovery had asked for
			at := time.Now()
			f.makeUnhealthy(f.order[i*len(f.order)/failures])
			<-f.restarts
			took = append(took, time.Since(at))
		}
		b.ReportMetric(float64(percentile(took, 0.5).Microseconds())/1000, "ms/restart")
	}
}

// BenchmarkMassFailure is what it costs when all containers become unhealthy at
// once, under the default limit of restarts: the CPU time until each was looked
// at, and what a further event costs then.
func BenchmarkMassFailure(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("containers=%d", n), func(b *testing.B) {
			f := newFullEngine(b, n)
			cmd, log := daemon(b, f, nil, "--listen", "none")
			pid := cmd.Process.Pid
			f.settled()
			for b.Loop() {
				begin, inspected := cpuTime(b, pid), f.count(&f.inspections)
				for _, id := range f.order {
					f.makeUnhealthy(id)
				}
				for f.count(&f.inspections) < inspected+n {
					<-time.After(20 * time.Millisecond)
				}
				f.settled()
				b.ReportMetric((cpuTime(b, pid) - begin).Seconds(), "cpu-s/failure")
				begin, inspected = cpuTime(b, pid), f.count(&f.inspections)
				f.sendHealthy()
				for f.count(&f.inspections) < inspected+n {
					<-time.After(20 * time.Millisecond)
				}
				f.settled()
				b.ReportMetric((cpuTime(b, pid)-begin).Seconds()*1e6/float64(n), "cpu-us/event")
			}
			b.ReportMetric(residentMiB(b, pid), "MiB/peak")
			if !strings.Contains(log.String(), "storm: ") {
				b.Error("no storm")
			}
		})
	}
}

// BenchmarkEventsInAMinute is 100,000 events of 10,000 containers, as fast as
// they are taken, with one failure in a hundred: how long they take, and what
// CPU time. A failure that is not restarted, or twice, fails it.
func BenchmarkEventsInAMinute(b *testing.B) {
	f := newFullEngine(b, 10_000)
	cmd, _ := daemon(b, f, nil, append([]string{"--listen", "none"}, manyRestarts...)...)
	f.settled()
	for b.Loop() {
		begin, at := cpuTime(b, cmd.Process.Pid), time.Now()
		flood(b, f, 100_000, 100)
		b.ReportMetric(time.Since(at).Seconds(), "s/100k")
		b.ReportMetric((cpuTime(b, cmd.Process.Pid) - begin).Seconds(), "cpu-s/100k")
		b.ReportMetric(residentMiB(b, cmd.Process.Pid), "MiB/peak")
	}
}

// manyRestarts is no limit on how many containers are restarted.
var manyRestarts = []string{"--max-restarts", "100000/1s", "--max-concurrent", "16"}

// flood sends so many events, round and round all containers, with one failure
// in every so many, and waits until each of those is restarted, once.
func flood(t testing.TB, f *fakeEngine, events, every int) {
	t.Helper()
	failed := map[string]bool{}
	for i := range events {
		if i%every == 0 {
			id := f.order[i/every*7%len(f.order)]
			failed[id] = true
			f.makeUnhealthy(id)
		} else {
			f.send(healthEvent(f.order[i*7919%len(f.order)], "healthy")) // the inspection tells those apart that have failed
		}
	}
	if len(failed) != events/every {
		t.Fatalf("%d of %d containers fail", len(failed), events/every)
	}
	done := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.counts) >= len(failed)
	}
	for deadline := time.Now().Add(5 * time.Minute); !done(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			break
		}
	}
	f.settled()
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range failed {
		if f.counts[id] != 1 {
			t.Errorf("%.12s has failed, and is restarted %d times", id, f.counts[id])
		}
	}
	if len(f.counts) != len(failed) {
		t.Errorf("%d containers have failed, %d are restarted", len(failed), len(f.counts))
	}
}

// No failure is lost among events that come faster than containers can be
// inspected, and none is answered twice.
func TestNoFailureIsLostAmongManyEvents(t *testing.T) {
	f := newFullEngine(t, 300)
	daemon(t, f, nil, append([]string{"--listen", "none"}, manyRestarts...)...)
	f.settled()
	flood(t, f, 5000, 25)
}
