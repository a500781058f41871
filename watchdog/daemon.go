// Package watchdog is the daemon: it subscribes to the engine's events, lists
// and inspects containers, lets recovery decide, and carries out and saves what
// was decided. It owns the clock and the goroutines, and decides nothing about
// a container itself.
//
// An event only says that something has happened to a container. What its
// state is now is always inspected, so that late, doubled, reordered and lost
// events do no harm, and a list is compared with what is known after every
// connection and every minute.
package watchdog

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
	"healthcheck/watchdog/timeline"
)

// Engine is what the daemon needs of a container engine: docker.Client, or the
// one of the tests, which lives in fake time.
type Engine interface {
	Events(ctx context.Context, since time.Time, ready func(), out chan<- docker.Message) error
	List(ctx context.Context) ([]recovery.Container, error)
	Inspect(ctx context.Context, id string) (recovery.Container, error)
	Restart(ctx context.Context, id string, timeout *int) error
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string, timeout *int) error
}

// Daemon gives the machine what the engine says and does what the machine
// answers. One goroutine, the loop, owns the machine and all fields below; every
// call to the engine has a goroutine of its own, so that one container that
// hangs delays no other.
type Daemon struct {
	Engine   Engine
	Settings recovery.Settings
	// File is where the state is saved, and Saved and Past what an earlier run
	// left there.
	File  store.File
	Saved store.State
	Past  store.History
	Log   *slog.Logger
	// Reconcile is how often the engine's list is compared with what is known:
	// pauses, stops and lost events change things silently.
	Reconcile time.Duration
	// StartDelay waits before anything is done at all.
	StartDelay time.Duration
	// Host, if set, is the engine's own: it tells a host that is too busy from
	// containers that hang.
	Host *Host
	// Trace, if set, is called with every pair of the table of transitions that
	// is passed.
	Trace func(recovery.Phase, recovery.Input)
	// Evidence, if set, is asked before each restart or stop, and EvidenceLines lines of
	// the log go into the alerts about it.
	Evidence      EvidenceTaker
	EvidenceLines int
	// ProbeFigures keeps what the containers' reports tell of each check: they are
	// inspected at each reconciliation.
	ProbeFigures bool
	// SaveGap is the least time between two saves, those for a restart aside.
	SaveGap time.Duration
	// Alerts, if set, notifies people. It has been started, calls AlertsChanged,
	// and outlives Run.
	Alerts *alert.Notifier
	// Changed, if set, is called when Overview has something new. It must not
	// block.
	Changed func()

	machine     *recovery.Machine
	journal     journal
	writer      *store.Writer
	inbox       inbox
	events      *subscription
	connection  connection
	inspections inspections
	looking     map[string]bool // what the list asked to inspect before anything is decided
	cutOff      []*recovery.Service
	listing     bool // a list is in flight
	restarting  int  // restarts, starts and stops in flight
	followers   bool // a container was seen that may have to be restarted after another
	saves       saves
	pace        pace
	audience    audience
	checks      map[string]*checks        // what the last probes told, by service
	timelines   map[string]*timeline.Line // how services have been, by service
	lines       map[string]string         // the ends of logs for alerts, by service
	saveError   string                    // the last one, which is not logged again
	reloadOnce  sync.Once
	reloads     chan recovery.Settings
	alertsOnce  sync.Once
	alerts      chan struct{} // that the alerts' state is worth saving

	beat   atomic.Int64 // when the loop last ran, in Unix nanoseconds
	ending atomic.Bool  // the loop has ended, and what is in flight is waited for
}

const (
	// callTimeout bounds lists and inspections.
	callTimeout = 10 * time.Second
	// stalledAfter is when a loop that has not run counts as dead.
	stalledAfter = time.Minute
	// pulseEvery is how often the loop runs at least: for /healthz, and to alert
	// about an engine that is lost.
	pulseEvery = 20 * time.Second
	// auditEach is how many healthy containers each reconciliation inspects, to
	// see that the engine still probes them.
	auditEach = 4
)

// Run watches until ctx ends. Then it waits for the restarts in flight, since
// one that is cut off may leave its container dead, lets the alerts out, and
// saves.
func (d *Daemon) Run(ctx context.Context) {
	begin := time.Now()
	d.restore(begin)
	d.inspections, d.looking, d.lines, d.checks = newInspections(), map[string]bool{}, map[string]string{}, map[string]*checks{}
	d.saves.timer = time.NewTimer(time.Hour)
	defer d.saves.timer.Stop()
	d.inbox.open()
	defer d.inbox.close()
	d.connection.lose(begin)
	d.beat.Store(begin.Add(d.StartDelay).UnixNano())
	if d.StartDelay > 0 {
		select {
		case <-time.After(d.StartDelay):
		case <-ctx.Done():
			return
		}
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go d.events.run(inner, d.Engine)
	d.loop(inner)
	d.finish()
}

// restore takes over what an earlier run saved. The events since then are asked
// of the engine: what died meanwhile is recovered, what somebody stopped is not.
func (d *Daemon) restore(now time.Time) {
	since := now.Add(-time.Second)
	if s := d.Saved.Since; !s.IsZero() && s.Before(since) {
		since = s
	}
	d.events = newSubscription(since)
	d.machine = recovery.NewMachine(d.Settings)
	d.machine.Trace, d.machine.Gathers = d.Trace, d.Evidence != nil
	d.machine.Restore(d.Saved.Services, d.Saved.Restarts, now)
	d.machine.RestoreSnoozes(d.Saved.Snoozes, now)
	d.machine.RestoreAlarms(d.Saved.Alerts.Has(recovery.EventThrottled), d.Saved.Alerts.Has(recovery.EventOverloaded), now)
	d.connection.alerted = d.Saved.Alerts.Has(recovery.EventEngineLost)
	d.cutOff = d.machine.InFlight()
	d.journal = newJournal(d.Past)
	d.timelines = timeline.FromHistory(d.Past, d.Saved.Saved)
	d.writer = store.NewWriter(d.File, d.Past)
	for _, s := range d.machine.Status(now) {
		if s.Phase == recovery.GivenUp.String() || s.Phase == recovery.Held.String() {
			d.Log.Warn("as the last run left it", "event", recovery.EventRemembered, "service", s.Service, "phase", s.Phase, "attempt", s.Attempts, "cause", s.Cause)
		}
	}
}

// AlertsChanged asks for the alerts' state to be saved soon. It does not block,
// and may be called from any goroutine.
func (d *Daemon) AlertsChanged() {
	select {
	case d.alertsChanged() <- struct{}{}:
	default:
	}
}

func (d *Daemon) alertsChanged() chan struct{} {
	d.alertsOnce.Do(func() { d.alerts = make(chan struct{}, 1) })
	return d.alerts
}

// Reload replaces what is watched and how. It may be called from any goroutine,
// and waits for the loop to take it, or for ctx to end.
func (d *Daemon) Reload(ctx context.Context, s recovery.Settings) {
	select {
	case d.reloaded() <- s:
	case <-ctx.Done():
	}
}

func (d *Daemon) reloaded() chan recovery.Settings {
	d.reloadOnce.Do(func() { d.reloads = make(chan recovery.Settings) })
	return d.reloads
}

// reload looks at every container again by the new settings.
func (d *Daemon) reload(ctx context.Context, s recovery.Settings) {
	d.Settings = s
	d.machine.Use(s)
	for _, service := range d.machine.Services {
		d.inspect(service.ID)
	}
	d.list(ctx)
}

// loop runs until ctx ends.
func (d *Daemon) loop(ctx context.Context) {
	reconcile := time.NewTicker(d.Reconcile)
	defer reconcile.Stop()
	pulse := time.NewTicker(pulseEvery)
	defer pulse.Stop()
	var sample <-chan time.Time
	if d.Host != nil {
		ticker := time.NewTicker(sampleEvery)
		defer ticker.Stop()
		sample = ticker.C
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case m := <-d.events.messages:
			d.event(m, time.Now())
		case err := <-d.events.up:
			d.connected(ctx, err, time.Now())
		case f := <-d.inbox.calls:
			f(time.Now())
		case <-reconcile.C:
			d.list(ctx)
			d.events.refreshIfQuiet(time.Now())
		case <-timer.C:
			d.apply(recovery.Tick{}, time.Now())
		case now := <-sample:
			d.Host.Sample(now)
			continue
		case s := <-d.reloaded():
			d.reload(ctx, s)
		case <-d.alertsChanged():
			d.decided(time.Now())
		case <-d.saves.timer.C:
			d.settle(time.Now())
		case <-pulse.C:
			d.checkLost(time.Now())
		}
		now := time.Now()
		d.beat.Store(now.UnixNano())
		if next := d.pace.next; d.pace.due {
			timer.Reset(max(d.pace.from.Sub(now), time.Millisecond))
		} else if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(next.Sub(now), time.Millisecond))
		}
	}
}

// finish waits for what is in flight and saves.
func (d *Daemon) finish() {
	d.ending.Store(true)
	if d.restarting > 0 {
		d.Log.Info("stopping: waiting for the restarts in flight", "event", recovery.EventStopping, "restarts", d.restarting)
	}
	if d.connection.due != nil {
		d.connection.due.Stop()
	}
	d.machine.Apply(recovery.Offline{}, time.Now()) // no new ones
	for d.restarting > 0 {
		f := <-d.inbox.calls
		f(time.Now())
	}
	if d.Alerts != nil {
		d.settle(time.Now())
		d.Alerts.Drain(context.Background())
	}
	d.saves.dirty = true
	d.settle(time.Now())
}

// Stalled says that the loop does not turn any more; nil while it does, and
// while Run waits for restarts in flight at its end.
func (d *Daemon) Stalled(now time.Time) error {
	if age := now.Sub(time.Unix(0, d.beat.Load())); age > stalledAfter && !d.ending.Load() {
		return fmt.Errorf("the loop has not turned for %s", age.Round(time.Second))
	}
	return nil
}

// Health says what is wrong with the program itself; nil for nothing.
func (d *Daemon) Health(now time.Time) error {
	if err := d.Stalled(now); err != nil {
		return err
	}
	if since := d.connection.downSince(); !since.IsZero() && now.Sub(since) > lostAfter {
		return fmt.Errorf("the engine cannot be reached since %s", now.Sub(since).Round(time.Second))
	}
	return nil
}
