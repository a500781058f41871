package watchdog

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/report"
	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
	"healthcheck/watchdog/timeline"
)

// states lists those of a timeline that are not over for longer than a day.
func states(t *testing.T, d *Daemon, service string) (all []string) {
	t.Helper()
	o, ok := d.Overview(context.Background())
	if !ok {
		t.Fatal("no answer")
	}
	line := o.Lines[service]
	for _, s := range line.Segments(o.At.Add(-timeline.Span), o.At) {
		all = append(all, s.State.String()+" "+s.To.Sub(s.From).String())
	}
	return all
}

// later lets time pass, and the daemon do what is due.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// A timeline shows what the daemon has seen, knows nothing of the time in which
// the engine was out of reach, and ends with its service.
func TestDaemonTimelines(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	engine.restart = func(context.Context, *recovery.Container) error { return errors.New("refused") }
	withDaemon(t, engine, func(d *Daemon, _ *syncBuffer) {
		want := func(what string, want ...string) {
			t.Helper()
			if got := states(t, d, "app"); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		later(time.Hour - 30*time.Second)
		want("an hour", "unknown 23h0m30s", "healthy 59m30s")
		// No decision and no event tells of this one.
		engine.set("id1", "", func(c *recovery.Container) { c.Health, c.StartedAt = "starting", time.Now() })
		later(time.Minute)
		want("it is starting, as the list shows", "unknown 22h59m30s", "healthy 1h0m0s", "starting 30s")
		engine.set("id1", "health_status", makeUnhealthy)
		later(3 * time.Second) // it fails at once, after 2 s and after 4 s
		want("its restarts fail", "unknown 22h59m27s", "healthy 1h0m0s", "starting 30s", "unhealthy 3s")
		later(time.Minute)
		want("given up", "unknown 22h58m27s", "healthy 1h0m0s", "starting 30s", "unhealthy 6s", "given up 57s")
		engine.breakStream(true)
		later(10 * time.Second)
		engine.mu.Lock()
		engine.down = false
		engine.mu.Unlock()
		later(10 * time.Minute)
		if got := states(t, d, "app"); len(got) != 7 || got[4] != "given up 57s" || !strings.HasPrefix(got[5], "unknown ") || !strings.HasPrefix(got[6], "given up ") {
			t.Errorf("the engine was lost: %q", got)
		}
		later(25 * time.Hour)
		want("a day", "given up 24h0m0s")
		engine.mu.Lock()
		delete(engine.containers, "id1")
		engine.mu.Unlock()
		later(15 * time.Minute)
		if o, _ := d.Overview(context.Background()); len(o.Lines)+len(o.Checks)+len(o.Services) != 0 {
			t.Errorf("kept: %v %v", o.Lines, o.Checks)
		}
	})
}

// That the engine is lost, that nothing is known of the services any more, and
// that it is back is said at once and once, also where nothing is watched.
func TestDaemonSaysThatTheEngineIsLost(t *testing.T) {
	for name, all := range map[string][]recovery.Container{"nothing is watched": nil, "one is": {container("healthy")}} {
		t.Run(name, func(t *testing.T) {
			engine := newFakeEngine(all...)
			withDaemon(t, engine, func(d *Daemon, _ *syncBuffer) {
				var changes atomic.Int64
				d.inbox.run(context.Background(), func(time.Time) { d.Changed = func() { changes.Add(1) } })
				said := func(what string, lost bool, want int64) {
					t.Helper()
					o, _ := d.Overview(context.Background())
					if lost == o.EngineLost.IsZero() {
						t.Errorf("%s: lost since %s", what, o.EngineLost)
					}
					if got := changes.Swap(0); got < want || want == 0 && got > 0 {
						t.Errorf("%s: %d changes, want %d", what, got, want)
					}
				}
				later(time.Second)
				said("it is there", false, 0)
				engine.breakStream(true)
				later(0)
				said("it is lost", true, 1+int64(len(all)))
				later(30 * time.Second)
				said("it is tried again", true, 0)
				engine.mu.Lock()
				engine.down = false
				engine.mu.Unlock()
				later(15 * time.Second)
				said("it is back", false, 1)
			})
		})
	}
}

// What an earlier run decided is in the timeline, and nothing that only it
// could know of the time between.
func TestDaemonTimelineOfAnEarlierRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := container("unhealthy")
		failing.ID, failing.Name = "id2", "failing"
		engine := newFakeEngine(container("healthy"), failing)
		engine.stream = make(chan docker.Message)
		now := time.Now()
		d := &Daemon{Engine: engine, Settings: settings(), Log: slog.New(slog.DiscardHandler), Reconcile: time.Minute, Saved: store.State{Saved: now.Add(-time.Hour)},
			Past: store.History{
				{Time: now.Add(-3 * time.Hour), Service: "app", Phase: recovery.Restarting, Event: recovery.EventRestarting},
				{Time: now.Add(-2 * time.Hour), Service: "app", Event: recovery.EventRecovered},
				{Time: now.Add(-2 * time.Hour), Service: "gone", Event: recovery.EventRecovered},
				{Time: now.Add(-2 * time.Hour), Service: "failing", Event: recovery.EventRecovered},
			}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		later(time.Minute)
		want := []string{"unknown 20h59m0s", "restarting 1h0m0s", "healthy 1h0m0s", "unknown 1h0m0s", "healthy 1m0s"}
		if got := states(t, d, "app"); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		want = []string{"unknown 21h59m0s", "healthy 1h0m0s", "unknown 1h0m0s", "healthy 1m0s"}
		if got := states(t, d, "failing"); !slices.Equal(got, want) {
			t.Errorf("one that is not healthy as the watchdog starts: %q, want %q", got, want)
		}
		if o, _ := d.Overview(context.Background()); o.Lines["gone"] != nil {
			t.Errorf("a service that is gone: %v", o.Lines)
		}
		cancel()
		<-ended
		if _, ok := d.Overview(context.Background()); ok {
			t.Error("a daemon that has ended answers")
		}
	})
}

// A trend goes on over a restart, and ends with its check and its service.
// What is new is said.
func TestDaemonTrends(t *testing.T) {
	c := container("healthy")
	figure := func(name string, v float64) report.Figure { return report.Figure{Check: name, Value: &v} }
	timed := report.Figure{Check: "api", Duration: 5 * time.Millisecond}
	c.Figures = []report.Figure{figure("cpu", 10), timed}
	engine := newFakeEngine(c)
	withDaemon(t, engine, func(d *Daemon, _ *syncBuffer) {
		var changes atomic.Int64
		d.inbox.run(context.Background(), func(time.Time) { d.ProbeFigures, d.Changed = true, func() { changes.Add(1) } })
		trend := func(check string) (values []float64) {
			o, _ := d.Overview(context.Background())
			for _, c := range o.Checks["app"] {
				if c.Check == check {
					for _, p := range c.Trend.Points(o.At) {
						values = append(values, p.Value)
					}
				}
			}
			return values
		}
		want := func(what, check string, want ...float64) {
			t.Helper()
			if got := trend(check); !slices.EqualFunc(got, want, func(a, b float64) bool { return max(a-b, b-a) < 1e-6 }) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		set := func(state string, figures ...report.Figure) {
			engine.set("id1", "", func(c *recovery.Container) { c.State, c.Figures = state, figures })
			later(time.Minute)
		}
		later(time.Minute + time.Second)
		set("running", figure("cpu", 20), timed)
		want("two", "cpu", 10, 20)
		want("without a value, how long it took", "api", 0.005, 0.005)
		if changes.Swap(0) == 0 {
			t.Error("nothing was said of that")
		}
		later(time.Second)
		set("paused", figure("cpu", 20))
		want("it does not run", "cpu", 10, 20)
		if o, _ := d.Overview(context.Background()); len(o.Checks["app"]) != 2 || o.Checks["app"][1].Status != probe.Skip {
			t.Errorf("checks of a container that does not run: %+v", o.Checks)
		}
		set("running", figure("cpu", 30), figure("api", 7))
		want("it runs again", "cpu", 10, 20, 30)
		want("another kind of figure begins anew", "api", 7)
		set("running", figure("cpu", 40))
		set("running", figure("cpu", 40), figure("api", 8))
		want("a check that was missing", "api", 8)
		engine.mu.Lock()
		delete(engine.containers, "id1")
		engine.mu.Unlock()
		later(time.Minute)
		if len(d.checks) != 0 {
			t.Errorf("kept: %v", d.checks)
		}
	})
}
