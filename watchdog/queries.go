package watchdog

import (
	"context"
	"time"

	"healthcheck/probe/report"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// The methods of this file may be called from any goroutine, also before Run.

// Status lists the watched services; it is empty where the daemon has ended.
func (d *Daemon) Status(ctx context.Context) []recovery.ServiceStatus {
	var out []recovery.ServiceStatus
	if !d.inbox.run(ctx, func(now time.Time) { out = d.machine.Status(now) }) {
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

// Kept returns the evidence of an id, or an error such as
// store.ErrNoEvidence.
func (d *Daemon) Kept(id string) (store.Evidence, error) { return d.File.LoadEvidence(id) }

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

// Snooze keeps the services that a person calls so, or all where the name is
// empty, from being restarted until then. It returns how many there are.
func (d *Daemon) Snooze(ctx context.Context, name string, until time.Time, reason string) int {
	return d.pause(ctx, name, recovery.SnoozeAsked{Name: name, Until: until, Reason: reason})
}

// Resume ends the snoozes of the services that a person calls so, or of all
// where the name is empty. It returns how many services there are.
func (d *Daemon) Resume(ctx context.Context, name string) int {
	return d.pause(ctx, name, recovery.ResumeAsked{Name: name})
}

func (d *Daemon) pause(ctx context.Context, name string, msg recovery.Message) int {
	n := 0
	if !d.inbox.run(ctx, func(now time.Time) {
		if n = len(d.machine.Services); name != "" {
			n = len(d.machine.Named(name))
		}
		d.apply(msg, now)
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
	if !d.inbox.run(ctx, func(now time.Time) {
		services, stats = d.machine.Status(now), d.journal.stats.clone()
		stats.Overloaded, stats.Probes = d.machine.Overloaded(), map[string][]report.Figure{}
		for service, c := range d.checks {
			if figures := c.current(); len(figures) > 0 {
				stats.Probes[service] = figures
			}
		}
	}) {
		return nil, Stats{}
	}
	return services, stats
}

// EngineUp says whether the engine can be reached.
func (d *Daemon) EngineUp() bool { return d.connection.downSince().IsZero() }
