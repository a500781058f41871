package watchdog

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"healthcheck/probe/report"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// Stats count what was done since the program began.
type Stats struct {
	Restarts, Failures, GiveUps map[string]int
	// Recoveries are the times from the first failure to health, in seconds.
	Recoveries []float64
	// Overloaded says that the host is taken for overloaded now.
	Overloaded bool
	// Probes are what the last probes told, by service.
	Probes map[string][]report.Figure
}

func (s Stats) clone() Stats {
	return Stats{maps.Clone(s.Restarts), maps.Clone(s.Failures), maps.Clone(s.GiveUps), slices.Clone(s.Recoveries), s.Overloaded, nil}
}

// maxRecoveries bounds the times of recoveries that are kept.
const maxRecoveries = 1 << 20

// journal keeps the history of decisions and counts them.
type journal struct {
	history store.History
	unsaved []store.Decision
	stats   Stats
}

func newJournal(history store.History) journal {
	return journal{history: history, stats: Stats{Restarts: map[string]int{}, Failures: map[string]int{}, GiveUps: map[string]int{}}}
}

// take returns the decisions since the last call.
func (j *journal) take() []store.Decision {
	out := j.unsaved
	j.unsaved = nil
	return out
}

// forget drops the counts of a service that has ended.
func (j *journal) forget(service string) {
	for _, counts := range []map[string]int{j.stats.Restarts, j.stats.Failures, j.stats.GiveUps} {
		delete(counts, service)
	}
}

// record takes a decision.
func (j *journal) record(a recovery.Action, now time.Time) {
	switch {
	case a.Kind == recovery.DoRestart:
		j.stats.Restarts[a.Key]++
	case a.Event == recovery.EventGaveUp:
		j.stats.GiveUps[a.Key]++
	case a.Failed:
		j.stats.Failures[a.Key]++
	case a.Event == recovery.EventRecovered:
		if a.Took > 0 && len(j.stats.Recoveries) < maxRecoveries {
			j.stats.Recoveries = append(j.stats.Recoveries, a.Took.Seconds())
		}
	}
	decision := store.Decision{Time: now, Event: a.Event, Severity: cmp.Or(a.Severity, recovery.Info), Service: a.Key, Container: a.Name,
		What: a.Text, Cause: a.Cause, Attempt: a.Attempt, Took: a.Took.Seconds(), Evidence: a.Evidence,
		Phase: a.Phase, Alert: a.Kind == recovery.DoAlert, Closes: a.Closes}
	j.history.Add(decision)
	j.unsaved = append(j.unsaved, decision)
}
