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
	"sync/atomic"
	"time"

	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// Engine is what the daemon needs of a container engine: docker.Client, or the
// one of the tests, which lives in fake time.
type Engine interface {
	Events(ctx context.Context, since time.Time, ready func(), out chan<- docker.Message) error
	List(ctx context.Context) ([]recovery.Container, error)
	Inspect(ctx context.Context, id string) (recovery.Container, error)
	Restart(ctx context.Context, id string, timeout *int) error
	Start(ctx context.Context, id string) error
}

// Daemon gives the machine what the engine says and does what the machine
// answers. One goroutine, the loop, owns the machine and all fields below; every
// call to the engine has a goroutine of its own, so that one container that
// hangs delays no other.
type Daemon struct {
	Engine   Engine
	Settings recovery.Settings
	State    store.File
	Log      *slog.Logger
	// Reconcile is how often the engine's list is compared with what is known:
	// pauses, stops and lost events change things silently.
	Reconcile time.Duration
	// StartDelay waits before anything is done at all.
	StartDelay time.Duration
	// Notify, if set, receives every alert; it must not block.
	Notify func(recovery.Action)

	machine     *recovery.Machine
	journal     journal
	inbox       inbox
	events      subscription
	connection  connection
	inspections inspections
	listing     bool // a list is in flight
	restarting  int  // restarts and starts in flight
	// orphans are the containers that an alert said must be recreated.
	orphans   map[string]bool
	saveError string // the last one, which is not logged again

	beat atomic.Int64 // when the loop last ran, in Unix nanoseconds
}

const (
	// callTimeout bounds lists and inspections.
	callTimeout = 10 * time.Second
	// stalledAfter is when a loop that has not run counts as dead.
	stalledAfter = time.Minute
	// pulseEvery is how often the loop runs at least: for /healthz, and to alert
	// about an engine that is lost.
	pulseEvery = 20 * time.Second
)

// Run watches until ctx ends. Then it waits for the restarts in flight, since
// one that is cut off may leave its container dead, and saves.
func (d *Daemon) Run(ctx context.Context) {
	d.restore(time.Now())
	d.orphans = map[string]bool{}
	d.inspections = newInspections()
	d.events = newSubscription()
	d.inbox.open()
	defer d.inbox.close()
	begin := time.Now()
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

// restore takes over what the last run saved.
func (d *Daemon) restore(now time.Time) {
	saved, err := d.State.Load(now)
	if err != nil {
		d.Log.Error("nothing is remembered", "event", recovery.EventStateNotLoaded, "error", err)
	}
	d.machine = recovery.NewMachine(d.Settings)
	d.machine.Restore(saved.Services, saved.Restarts)
	d.journal = newJournal(saved.History)
}

// loop runs until ctx ends.
func (d *Daemon) loop(ctx context.Context) {
	reconcile := time.NewTicker(d.Reconcile)
	defer reconcile.Stop()
	pulse := time.NewTicker(pulseEvery)
	defer pulse.Stop()
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
		case <-pulse.C:
			d.checkLost(time.Now())
		}
		now := time.Now()
		d.beat.Store(now.UnixNano())
		if next := d.machine.Next(now); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(next.Sub(now), time.Millisecond))
		}
	}
}

// finish waits for what is in flight and saves.
func (d *Daemon) finish() {
	if d.restarting > 0 {
		d.Log.Info("stopping: waiting for the restarts in flight", "event", recovery.EventStopping, "restarts", d.restarting)
	}
	d.machine.Apply(recovery.Offline{}, time.Now()) // no new ones
	for d.restarting > 0 {
		f := <-d.inbox.calls
		f(time.Now())
	}
	d.save(time.Now())
}

// Health says what is wrong with the program itself; nil for nothing.
func (d *Daemon) Health(now time.Time) error {
	if age := now.Sub(time.Unix(0, d.beat.Load())); age > stalledAfter {
		return fmt.Errorf("the loop has not turned for %s", age.Round(time.Second))
	}
	if since := d.connection.downSince(); !since.IsZero() && now.Sub(since) > lostAfter {
		return fmt.Errorf("the engine cannot be reached since %s", now.Sub(since).Round(time.Second))
	}
	return nil
}
