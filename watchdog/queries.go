package watchdog

import (
	"context"
	"time"

	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// The methods of this file may be called from any goroutine, also before Run.

// Status lists the watched services; it is empty where the daemon has ended.
func (d *Daemon) Status(ctx context.Context) []recovery.ServiceStatus {
	var out []recovery.ServiceStatus
	if !d.inbox.run(ctx, func(time.Time) { out = d.machine.Status() }) {
		return []recovery.ServiceStatus{}
	}
	return out
}

// History lists the last decisions, the oldest first.
func (d *Daemon) History(ctx context.Context) store.History {
	out := store.History{} // never nil: it becomes JSON
	if !d.inbox.run(ctx, func(time.Time) { out = append(out, d.journal.history...) }) {
		return store.History{}
	}
	return out
}

// Reset forgets the attempts of the services that a person calls so, and inspects them
// anew. It returns how many there are.
func (d *Daemon) Reset(ctx context.Context, name string) int {
	n := 0
	if !d.inbox.run(ctx, func(now time.Time) {
		for _, s := range d.machine.Named(name) {
			n++
			defer d.inspect(s.ID)
		}
		d.apply(recovery.ResetAsked{Name: name}, now)
	}) {
		return 0
	}
	return n
}

// figuresWait bounds how long a scrape waits for the loop.
const figuresWait = 5 * time.Second

// Figures are what the metrics are made of.
func (d *Daemon) Figures() (services []recovery.ServiceStatus, stats Stats) {
	ctx, cancel := context.WithTimeout(context.Background(), figuresWait)
	defer cancel()
	if !d.inbox.run(ctx, func(time.Time) {
		services, stats = d.machine.Status(), d.journal.stats.clone()
		stats.Overloaded = d.machine.Overloaded()
	}) {
		return nil, Stats{}
	}
	return services, stats
}

// EngineUp says whether the engine can be reached.
func (d *Daemon) EngineUp() bool { return d.connection.downSince().IsZero() }
