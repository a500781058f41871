package watchdog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// many are containers that fail or not.
func many(n int, health string) (all []recovery.Container) {
	for i := range n {
		c := container(health)
		c.ID, c.Name = fmt.Sprintf("id%d", i), fmt.Sprintf("app%d", i)
		all = append(all, c)
	}
	return all
}

// When many containers fail at once, the state is saved for each restart, before
// it is asked for, and not for each of the others: those are saved together.
func TestSavesWhenManyFail(t *testing.T) {
	const n, most = 200, 7
	synctest.Test(t, func(t *testing.T) {
		engine := newFakeEngine(many(n, "healthy")...)
		engine.stream = make(chan docker.Message)
		file := store.File{Path: filepath.Join(t.TempDir(), "state.json")}
		set := settings()
		set.MaxRestarts = most
		d := &Daemon{Engine: engine, Settings: set, File: file, Log: slog.New(slog.DiscardHandler), Reconcile: time.Hour, SaveGap: time.Second}
		unsaved := errors.New("")
		engine.restart = func(_ context.Context, c *recovery.Container) error {
			state, err := file.Load(time.Now())
			if s := state.Services[c.Name]; err != nil || s == nil || s.Phase != recovery.Restarting || s.Attempts != 1 || len(state.Restarts) == 0 {
				unsaved = fmt.Errorf("%s is restarted, and saved as %+v, %v", c.Name, s, err)
			}
			return errors.New("the engine refuses")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		time.Sleep(10 * time.Second)
		made := func() (n int) {
			d.inbox.run(ctx, func(time.Time) { n = d.saves.made })
			return n
		}
		before := made()
		for i := range n {
			engine.set(fmt.Sprintf("id%d", i), "health_status", makeUnhealthy)
		}
		synctest.Wait()
		if got := made() - before; engine.restarted() != most || got > most+1 {
			t.Errorf("%d saves for %d restarts among %d that fail", got, engine.restarted(), n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := made() - before; got > most+3 {
			t.Errorf("%d saves within a second", got)
		}
		state, err := file.Load(time.Now())
		if err != nil || len(state.Services) != n || unsaved.Error() != "" {
			t.Errorf("%d of %d services are saved, %v, %v", len(state.Services), n, err, unsaved)
		}
		cancel()
		<-ended
	})
}

// What was decided and waits for the next save is saved and said at the end.
func TestSavesAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := newFakeEngine(many(3, "healthy")...)
		engine.stream = make(chan docker.Message)
		file := store.File{Path: filepath.Join(t.TempDir(), "state.json")}
		set := settings()
		set.MaxRestarts = 1
		log := &syncBuffer{}
		d := &Daemon{Engine: engine, Settings: set, File: file, Log: slog.New(slog.NewTextHandler(log, nil)), Reconcile: time.Hour, SaveGap: time.Hour}
		var sent []string
		d.Alerts = &alert.Notifier{Router: alert.Router{Sinks: []alert.Sink{{MinSeverity: recovery.Critical, URL: "a"}}, Every: time.Hour}, Log: d.Log,
			Send: func(m alert.Delivery) error { time.Sleep(time.Second); sent = append(sent, m.Text); return nil }}
		sending, stopSending := context.WithCancel(t.Context())
		d.Alerts.Start(sending, alert.State{}, time.Now())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		time.Sleep(time.Second)
		engine.restart = func(context.Context, *recovery.Container) error { return errors.New("the engine refuses") }
		for i := range 3 {
			engine.set(fmt.Sprintf("id%d", i), "health_status", makeUnhealthy)
		}
		synctest.Wait()
		if strings.Contains(log.String(), "storm: ") {
			t.Error("the storm is told of before it is saved")
		}
		cancel()
		<-ended
		stopSending()
		d.Alerts.Wait()
		if len(sent) != 1 || !strings.Contains(sent[0], "storm: ") {
			t.Errorf("sent %q", sent)
		}
		state, err := file.Load(time.Now())
		past, herr := file.LoadHistory()
		if err != nil || herr != nil || len(state.Services) != 3 || !slices.ContainsFunc(past, func(p store.Decision) bool { return p.Event == recovery.EventThrottled }) {
			t.Errorf("%d services, %v; history %+v, %v\n%s", len(state.Services), err, past, herr, log)
		}
	})
}

// While a look at all services is too dear to be taken again, what is seen waits
// for the next one, and not for longer.
func TestPace(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	withDaemon(t, engine, func(d *Daemon, log *syncBuffer) {
		d.inbox.run(context.Background(), func(now time.Time) { d.pace.from = now.Add(40 * time.Millisecond) })
		engine.set("id1", "health_status", makeUnhealthy)
		time.Sleep(39 * time.Millisecond)
		synctest.Wait()
		if engine.restarted() != 0 {
			t.Error("restarted too early")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if engine.restarted() != 1 {
			t.Errorf("%d restarts:\n%s", engine.restarted(), log)
		}
	})
}

// Where nothing may have to be restarted after another, nobody lists all
// containers to find that out.
func TestRecoveryWithoutFollowers(t *testing.T) {
	for label, lists := range map[string]int{"": 0, "db:service_healthy:false": 0, "db:service_healthy:true": 1} {
		other := container("healthy")
		other.ID, other.Name = "id2", "other"
		engine := newFakeEngine(container("healthy"))
		withDaemon(t, engine, func(_ *Daemon, log *syncBuffer) {
			engine.mu.Lock()
			other.Labels = map[string]string{"com.docker.compose.depends_on": label, "com.docker.compose.project": "p", "com.docker.compose.service": "s"}
			engine.containers["id2"] = other // behind the list
			before := engine.lists
			engine.mu.Unlock()
			engine.set("id2", "start", func(*recovery.Container) {})
			synctest.Wait()
			engine.set("id1", "health_status", makeUnhealthy)
			synctest.Wait()
			engine.mu.Lock()
			defer engine.mu.Unlock()
			if got := engine.lists - before; len(engine.restarts) != 1 || got != lists {
				t.Errorf("%q: %d lists for %d restarts, want %d:\n%s", label, got, len(engine.restarts), lists, log)
			}
		})
	}
}
