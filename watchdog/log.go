package watchdog

import (
	"context"
	"log/slog"
	"time"

	"healthcheck/watchdog/recovery"
)

// log writes one line per decision, with all that explains it. The keys are
// documented: people search for them.
func (d *Daemon) log(a recovery.Action) {
	level := map[recovery.Severity]slog.Level{recovery.Warning: slog.LevelWarn, recovery.Critical: slog.LevelError}[a.Severity]
	attrs := []any{"event", a.Event}
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, key, value)
		}
	}
	if a.Severity == recovery.Critical {
		add("severity", string(a.Severity))
	}
	if a.Key != "" {
		add("phase", a.Phase.String())
	}
	add("service", a.Key)
	add("container", a.Name)
	add("id", recovery.ShortID(a.ID))
	if a.Attempt > 0 {
		attrs = append(attrs, "attempt", a.Attempt)
	}
	if a.Delay > 0 {
		attrs = append(attrs, "delay", a.Delay.Round(time.Millisecond))
	}
	add("cause", a.Cause)
	add("evidence", a.Evidence)
	add("output", a.Output)
	if a.Policy.DryRun {
		attrs = append(attrs, "dry_run", true)
	}
	d.Log.Log(context.Background(), level, a.Text, attrs...)
}
