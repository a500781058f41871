package watchdog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// syncBuffer is a log that two goroutines may touch.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// withDaemon runs a daemon in fake time, and during beside it.
func withDaemon(t *testing.T, engine *fakeEngine, during func(d *Daemon, log *syncBuffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := &syncBuffer{}
		engine.stream = make(chan docker.Message) // of the bubble's own
		set := settings()
		d := &Daemon{Engine: engine, Settings: set, Log: slog.New(slog.NewTextHandler(log, nil)), Reconcile: time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		synctest.Wait()
		during(d, log)
		cancel()
		<-ended
		synctest.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
}

func TestDaemonRestartsAtOnce(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	withDaemon(t, engine, func(_ *Daemon, log *syncBuffer) {
		begin := time.Now()
		engine.set("id1", "health_status", makeUnhealthy)
		synctest.Wait()
		if engine.restarted() != 1 || time.Since(begin) != 0 || !strings.Contains(log.String(), "recovered in 0s, by restart 1") {
			t.Errorf("%d restarts after %s:\n%s", engine.restarted(), time.Since(begin), log)
		}
	})
}

// A container that was unhealthy before the watchdog came sends no event: the list
// shows it.
func TestDaemonFindsWhatIsUnhealthyAlready(t *testing.T) {
	engine := newFakeEngine(container("unhealthy"))
	withDaemon(t, engine, func(*Daemon, *syncBuffer) {
		if engine.restarted() != 1 {
			t.Errorf("%d restarts", engine.restarted())
		}
	})
}

// An event that is lost costs a minute, no more.
func TestDaemonReconciles(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	withDaemon(t, engine, func(*Daemon, *syncBuffer) {
		engine.set("id1", "", makeUnhealthy)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if engine.restarted() != 1 {
			t.Errorf("%d restarts", engine.restarted())
		}
	})
}

// An idle daemon asks for one list a minute and nothing else.
func TestDaemonIsQuietWhenIdle(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	withDaemon(t, engine, func(*Daemon, *syncBuffer) {
		engine.mu.Lock()
		before := engine.lists
		engine.mu.Unlock()
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		engine.mu.Lock()
		defer engine.mu.Unlock()
		if n := engine.lists - before; n != 4 {
			t.Errorf("%d lists in four minutes", n)
		}
	})
}

// A restart that hangs is waited for as long as the engine may take, and not
// cancelled before; nobody else waits with it.
func TestDaemonRestartThatHangs(t *testing.T) {
	other := container("healthy")
	other.ID, other.Name = "id2", "other"
	engine := newFakeEngine(container("healthy"), other)
	engine.restart = func(ctx context.Context, c *recovery.Container) error {
		if c.ID == "id1" {
			<-ctx.Done()
			return ctx.Err()
		}
		c.State, c.Health, c.FailingStreak, c.StartedAt = "running", "healthy", 0, time.Now()
		return nil
	}
	withDaemon(t, engine, func(_ *Daemon, log *syncBuffer) {
		engine.set("id1", "health_status", makeUnhealthy)
		synctest.Wait()
		engine.set("id2", "health_status", makeUnhealthy)
		synctest.Wait()
		if !strings.Contains(log.String(), "recovered in 0s") {
			t.Errorf("the other one waits:\n%s", log)
		}
		time.Sleep(EngineStopTimeout + killWait + startWait - time.Second)
		synctest.Wait()
		if n := engine.restarted(); n != 2 || strings.Contains(log.String(), "the restart failed") {
			t.Errorf("%d restarts:\n%s", n, log)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !strings.Contains(log.String(), "the restart failed: context deadline exceeded") {
			t.Errorf("the log lacks the hung one:\n%s", log)
		}
	})
}

// SIGTERM in the middle of a restart finishes it.
func TestDaemonFinishesWhatIsInFlight(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	engine.restart = func(ctx context.Context, c *recovery.Container) error {
		select {
		case <-ctx.Done():
			t.Error("the call was cancelled")
		case <-time.After(20 * time.Second):
		}
		c.State, c.Health, c.FailingStreak, c.StartedAt = "running", "healthy", 0, time.Now()
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		engine.stream = make(chan docker.Message)
		file := filepath.Join(t.TempDir(), "state.json")
		d := &Daemon{Engine: engine, Settings: settings(), File: store.File{Path: file}, Log: slog.New(slog.DiscardHandler), Reconcile: time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		synctest.Wait()
		engine.set("id1", "health_status", makeUnhealthy)
		synctest.Wait()
		begin := time.Now()
		cancel()
		if <-ended; time.Since(begin) != 20*time.Second {
			t.Errorf("ended after %s", time.Since(begin))
		}
		kept, err := store.File{Path: file}.Load(time.Now())
		past, herr := store.File{Path: file}.LoadHistory()
		if err != nil || herr != nil || kept.Services["app"].Attempts != 1 || kept.Services["app"].Phase != recovery.Idle || len(past) != 3 {
			t.Errorf("%v, %v, %+v, %v", err, herr, kept.Services["app"], past)
		}
	})
}

// A lost engine is tried again without end; one alert comes after a minute, and
// its resolution once the engine is back.
func TestDaemonEngineLost(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	withDaemon(t, engine, func(d *Daemon, log *syncBuffer) {
		engine.mu.Lock()
		engine.down = true
		close(engine.stream)
		engine.stream = make(chan docker.Message)
		engine.mu.Unlock()
		time.Sleep(50 * time.Second)
		if strings.Contains(log.String(), "severity=critical") || d.Health(time.Now()) != nil {
			t.Errorf("alerted too early:\n%s", log)
		}
		time.Sleep(10 * time.Minute)
		if n := strings.Count(log.String(), "the engine has been lost for"); n != 1 {
			t.Errorf("alerted %d times", n)
		}
		if err := d.Health(time.Now()); err == nil || !strings.Contains(err.Error(), "cannot be reached since") {
			t.Errorf("health: %v", err)
		}
		engine.set("id1", "", makeUnhealthy) // meanwhile
		engine.mu.Lock()
		engine.down = false
		engine.mu.Unlock()
		time.Sleep(lastRetry + time.Second)
		synctest.Wait()
		if !strings.Contains(log.String(), "the engine is back") || engine.restarted() != 1 || d.Health(time.Now()) != nil {
			t.Errorf("%d restarts, %v:\n%s", engine.restarted(), d.Health(time.Now()), log)
		}
	})
}

// The delays between the restarts of one that never recovers are the policy's.
func TestDaemonBacksOff(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	var at []time.Duration
	var begin time.Time
	engine.restart = func(_ context.Context, c *recovery.Container) error {
		at = append(at, time.Since(begin))
		c.State, c.StartedAt = "running", time.Now()
		makeUnhealthy(c)
		return nil
	}
	withDaemon(t, engine, func(_ *Daemon, log *syncBuffer) {
		begin = time.Now()
		engine.set("id1", "health_status", makeUnhealthy)
		time.Sleep(time.Hour)
		synctest.Wait()
		if got, want := fmt.Sprint(at), "[0s 2s 6s]"; got != want || strings.Count(log.String(), "gave up after 3 restarts") != 1 {
			t.Errorf("restarts at %s, want %s:\n%s", got, want, log)
		}
	})
}

// A loop that is stuck is unhealthy, whatever the engine does.
func TestDaemonThatStalls(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	withDaemon(t, engine, func(d *Daemon, _ *syncBuffer) {
		if err := d.Health(time.Now()); err != nil {
			t.Error(err)
		}
		if err := d.Health(time.Now().Add(2 * time.Minute)); err == nil || !strings.Contains(err.Error(), "the loop has not turned for 2m0s") {
			t.Errorf("%v", err)
		}
	})
}

// The client waits longer than the engine may take.
func TestRestartTime(t *testing.T) {
	at := func(n int) *int { return &n }
	for _, c := range []struct {
		own, given *int
		want       time.Duration
	}{
		{nil, nil, 82 * time.Second}, {at(30), nil, 102 * time.Second}, {at(30), at(5), 77 * time.Second}, {at(-1), nil, time.Hour}, {nil, at(-1), time.Hour}, {at(100000), nil, time.Hour},
	} {
		if got := restartTime(recovery.Action{Container: recovery.Container{StopTimeout: c.own}, Policy: recovery.Policy{StopTimeout: c.given}}); got != c.want {
			t.Errorf("%v: %s", c, got)
		}
	}
}

// After a restart of the watchdog in the middle of an incident nobody is
// notified twice, and the end reaches those who were notified.
func TestDaemonRestartedInAnIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := newFakeEngine(container("healthy"))
		engine.stream = make(chan docker.Message)
		engine.restart = func(_ context.Context, c *recovery.Container) error {
			c.State, c.StartedAt = "running", time.Now()
			makeUnhealthy(c)
			return nil
		}
		file := store.File{Path: filepath.Join(t.TempDir(), "state.json")}
		var mu sync.Mutex
		var sent []string
		run := func(during func()) {
			state, err := file.Load(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			n := &alert.Notifier{Router: alert.Router{Sinks: []alert.Sink{{MinSeverity: recovery.Warning, URL: "a"}}, Every: time.Hour}, Log: slog.New(slog.DiscardHandler),
				Send: func(d alert.Delivery) error {
					mu.Lock()
					defer mu.Unlock()
					first, _, _ := strings.Cut(d.Text, "\n")
					sent = append(sent, first)
					return nil
				}}
			d := &Daemon{Engine: engine, Settings: settings(), File: file, Saved: state, Log: slog.New(slog.DiscardHandler), Reconcile: time.Minute, Alerts: n}
			n.Changed = d.AlertsChanged
			sending, stopSending := context.WithCancel(t.Context())
			n.Start(sending, state.Alerts, time.Now())
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); d.Run(ctx) }()
			synctest.Wait()
			during()
			cancel()
			<-ended
			stopSending()
			n.Wait()
			synctest.Wait()
		}
		run(func() {
			engine.set("id1", "health_status", makeUnhealthy)
			time.Sleep(20 * time.Second)
		})
		if got := strings.Join(sent, "|"); strings.Count(got, "gave up after 3") != 1 {
			t.Fatalf("sent: %s", got)
		}
		sent = nil
		run(func() { time.Sleep(2 * time.Minute) })
		if len(sent) > 0 {
			t.Errorf("sent again: %q", sent)
		}
		run(func() {
			engine.set("id1", "health_status", func(c *recovery.Container) { c.Health, c.FailingStreak = "healthy", 0 })
			time.Sleep(time.Second)
		})
		if got := strings.Join(sent, "|"); got != "resolved: recovered by itself" {
			t.Errorf("the end: %q", got)
		}
	})
}

// An engine that does not list is asked again with growing pauses, by one
// timer, and logged once.
func TestDaemonListFails(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	engine.listErr = errors.New("500: a fault of the test")
	withDaemon(t, engine, func(_ *Daemon, log *syncBuffer) {
		time.Sleep(8 * time.Hour)
		synctest.Wait()
		engine.mu.Lock()
		lists := engine.lists
		engine.listErr = nil
		engine.mu.Unlock()
		if n := strings.Count(log.String(), "cannot be listed"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		if most := int(8*time.Hour/lastRetry) + 8*60 + 10; lists > most {
			t.Errorf("%d lists in eight hours, want at most %d", lists, most)
		}
		engine.set("id1", "", makeUnhealthy)
		time.Sleep(lastRetry)
		synctest.Wait()
		if engine.restarted() != 1 {
			t.Errorf("%d restarts", engine.restarted())
		}
	})
}

// Containers that nobody watches and that say something all the time do not
// keep the daemon from deciding.
func TestDaemonBesideBusyContainers(t *testing.T) {
	other := container("healthy")
	other.ID, other.Name, other.Labels = "id2", "other", nil
	engine := newFakeEngine(container("unhealthy"), other)
	engine.slowly = func(id string) bool { return id == "id2" }
	synctest.Test(t, func(t *testing.T) {
		engine.stream = make(chan docker.Message)
		d := &Daemon{Engine: engine, Settings: settings(), Log: slog.New(slog.DiscardHandler), Reconcile: time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		ended, busy := make(chan struct{}), make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		go func() {
			defer close(busy)
			for ctx.Err() == nil {
				select {
				case engine.stream <- docker.Message{Action: "health_status", ID: "id2", At: time.Now()}:
				case <-ctx.Done():
				}
				time.Sleep(time.Millisecond)
			}
		}()
		time.Sleep(5 * time.Second)
		if engine.restarted() != 1 {
			t.Errorf("%d restarts", engine.restarted())
		}
		cancel()
		<-busy
		<-ended
		time.Sleep(callTimeout)
		synctest.Wait()
	})
}

// Somebody stops a container between the end of the watchdog, in the middle of
// a restart, and its next start: the engine repeats the events of that time a
// little later than it answers, and the container stays down.
func TestDaemonStartsNothingThatWasStoppedMeanwhile(t *testing.T) {
	down := container("unhealthy")
	down.State, down.ExitCode = "exited", 137
	engine := newFakeEngine(down)
	synctest.Test(t, func(t *testing.T) {
		engine.stream = make(chan docker.Message)
		began := time.Now().Add(-20 * time.Second)
		down.FinishedAt = began.Add(10 * time.Second)
		engine.containers["id1"] = down
		d := &Daemon{Engine: engine, Settings: settings(), Log: slog.New(slog.DiscardHandler), Reconcile: time.Minute}
		d.Saved.Services = map[string]*recovery.Service{"app": {Key: "app", ID: "id1", Name: "app", Phase: recovery.Restarting, Attempts: 1, LastRestart: began, Life: recovery.Life{Started: down.StartedAt}}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		time.Sleep(replayTime / 2)
		for _, m := range []docker.Message{{Action: "kill", Signal: "15", ID: "id1"}, {Action: "die", ExitCode: 137, ID: "id1"}, {Action: "stop", ID: "id1"}} {
			m.At = down.FinishedAt
			engine.stream <- m
		}
		time.Sleep(5 * time.Minute)
		if n := engine.restarted(); n > 0 {
			t.Errorf("%d restarts", n)
		}
		cancel()
		<-ended
	})
}

// What is watched, and what a typing error leaves out, is in the log.
func TestDaemonAnnounces(t *testing.T) {
	typo := container("healthy")
	typo.ID, typo.Name, typo.Labels = "id2", "typo", map[string]string{"watchdog.enable": "ture", "watchdog.enabled": "true"}
	environ := container("healthy")
	environ.ID, environ.Name, environ.Labels, environ.NotLabels = "id3", "environ", nil, []string{"WATCHDOG_ENABLE"}
	engine := newFakeEngine(container("healthy"), typo, environ)
	synctest.Test(t, func(t *testing.T) {
		log := &syncBuffer{}
		engine.stream = make(chan docker.Message)
		set := settings()
		set.Services = []string{"pdf-chat-ap"}
		d := &Daemon{Engine: engine, Settings: set, Log: slog.New(slog.NewTextHandler(log, nil)), Reconcile: time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		cancel()
		<-ended
		for _, part := range []string{`msg="watched containers: 1" event=watching watched="app (label watchdog.enable)"`, `event=matches_nothing name=pdf-chat-ap`,
			`label watchdog.enable: \"ture\" is neither true nor false`, `label watchdog.enabled: there is no such setting`,
			`msg="WATCHDOG_ENABLE is an environment variable, and has no effect: it has to be a label" event=label_ignored container=environ id=id3`} {
			if n := strings.Count(log.String(), part); n != 1 {
				t.Errorf("%d × %s in\n%s", n, part, log)
			}
		}
	})
}

// An engine is not asked for all containers at once, however many need a look.
func TestDaemonInspectsAFewAtOnce(t *testing.T) {
	var all []recovery.Container
	for i := range 10 * maxInspections {
		c := container("starting")
		c.ID, c.Name = fmt.Sprint("id", i), fmt.Sprint("app", i)
		all = append(all, c)
	}
	engine := newFakeEngine(all...)
	engine.slowly = func(string) bool { return true }
	withDaemon(t, engine, func(d *Daemon, _ *syncBuffer) {
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if engine.most != maxInspections {
			t.Errorf("%d inspections at once, want %d", engine.most, maxInspections)
		}
		if n := len(d.Status(context.Background())); n != len(all) {
			t.Errorf("%d services are known", n)
		}
	})
}

// What an earlier run told people of the host and the engine is closed once it
// is over.
func TestDaemonClosesWhatAnEarlierRunTold(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	synctest.Test(t, func(t *testing.T) {
		log := &syncBuffer{}
		engine.stream = make(chan docker.Message)
		opened := func() *alert.Incident { return &alert.Incident{Opened: time.Now().Add(-time.Hour)} }
		d := &Daemon{Engine: engine, Settings: settings(), Log: slog.New(slog.NewTextHandler(log, nil)), Reconcile: time.Minute}
		d.Saved.Alerts.Incidents = map[string]*alert.Incident{"engine": opened(), "throttle": opened(), "overload": opened()}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		cancel()
		<-ended
		for _, event := range []recovery.Event{recovery.EventEngineBack, recovery.EventThrottleOver, recovery.EventOverloadOver} {
			if n := strings.Count(log.String(), "event="+string(event)+"\n"); n != 1 {
				t.Errorf("%d × %s in\n%s", n, event, log)
			}
		}
	})
}

// What is to be stopped is stopped by one call, saved before it is asked for,
// and stays down, in the status as well.
func TestDaemonStops(t *testing.T) {
	c := container("healthy")
	c.Labels["watchdog.action"] = "stop"
	engine := newFakeEngine(c)
	withDaemon(t, engine, func(d *Daemon, log *syncBuffer) {
		engine.set("id1", "health_status", makeUnhealthy)
		synctest.Wait()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		engine.mu.Lock()
		defer engine.mu.Unlock()
		status := d.Status(context.Background())
		if len(engine.stops) != 1 || len(engine.restarts) != 0 || len(status) != 1 || status[0].Phase != "stopped" || !strings.Contains(log.String(), "event=shut_down") {
			t.Errorf("%d stops, %d restarts, %+v:\n%s", len(engine.stops), len(engine.restarts), status, log)
		}
	})
}

// The time that examples give the watchdog to end is enough for a restart that
// hangs and fails half-way, and for the start behind it.
func TestShutdownTime(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	calls := 0
	engine.restart = func(ctx context.Context, _ *recovery.Container) error {
		<-ctx.Done()
		calls++
		engine.mu.Lock()
		defer engine.mu.Unlock()
		c := engine.containers["id1"]
		c.State, c.FinishedAt = "exited", time.Now()
		engine.containers["id1"] = c
		return ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		engine.stream = make(chan docker.Message)
		d := &Daemon{Engine: engine, Settings: settings(), Log: slog.New(slog.DiscardHandler), Reconcile: time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		synctest.Wait()
		engine.set("id1", "health_status", makeUnhealthy)
		synctest.Wait()
		begin := time.Now()
		cancel()
		time.Sleep(2 * stalledAfter)
		if err := d.Stalled(time.Now()); err != nil {
			t.Errorf("while it waits for the restart: %v", err)
		}
		<-ended
		synctest.Wait()
		if took, most := time.Since(begin), ShutdownTime(EngineStopTimeout); calls != 2 || took > most || took < most*4/5 {
			t.Errorf("%d calls, ended after %s, at most %s", calls, took, most)
		}
	})
}
