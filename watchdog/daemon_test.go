package watchdog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
		time.Sleep(engineStopTimeout + killWait + startWait - time.Second)
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
		d := &Daemon{Engine: engine, Settings: settings(), State: store.File{Path: file}, Log: slog.New(slog.DiscardHandler), Reconcile: time.Minute}
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
		if err != nil || kept.Services["app"].Attempts != 1 || kept.Services["app"].Phase != recovery.Idle || len(kept.History) != 3 {
			t.Errorf("%v, %+v, %v", err, kept.Services["app"], kept.History)
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

// The delays between the restarts of one that never recovers are the policy'engine.
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
