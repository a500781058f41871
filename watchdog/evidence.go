package watchdog

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// evidenceTime is how long a restart waits for evidence, at most.
const evidenceTime = 2 * time.Second

// EvidenceTaker asks the engine for what it knows of a container, until ctx
// ends; docker.Client's method.
type EvidenceTaker func(ctx context.Context, id string) docker.Evidence

// takeEvidence keeps what is known of a container that is about to be
// restarted. It returns in time whether or not that has succeeded, with the
// last lines of the log.
func (d *Daemon) takeEvidence(a recovery.Action, now time.Time) (lines string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), evidenceTime)
	defer cancel()
	taken := make(chan docker.Evidence, 1)
	go func() { taken <- d.Evidence(ctx, a.ID) }()
	select {
	case raw := <-taken:
		e := newEvidence(a, raw, now)
		return lastLines(e.Logs, d.EvidenceLines), d.File.WriteEvidence(e)
	case <-ctx.Done():
		return "", context.DeadlineExceeded
	}
}

// newEvidence makes evidence of what the engine told: printable, without
// secrets of known shapes.
func newEvidence(a recovery.Action, raw docker.Evidence, now time.Time) store.Evidence {
	e := store.Evidence{ID: a.Evidence, Time: now, Service: a.Key, Container: a.Name, ContainerID: a.ID, Cause: redact(a.Cause),
		Logs: redact(printable(string(raw.Logs))), Stats: raw.Stats}
	for _, row := range raw.Top {
		clean := make([]string, len(row))
		for i, cell := range row {
			clean[i] = redact(oneLine(cell))
		}
		e.Top = append(e.Top, clean)
	}
	var inspected struct {
		State struct {
			Health struct{ Log []store.ProbeResult }
		}
	}
	if json.Unmarshal(raw.Inspection, &inspected) == nil {
		for _, p := range inspected.State.Health.Log {
			p.Output = redact(printable(p.Output))
			e.Probes = append(e.Probes, p)
		}
	}
	var all any
	if json.Unmarshal(raw.Inspection, &all) == nil {
		e.Inspection, _ = json.Marshal(redactAll(all)) // of what was JSON
	}
	return e
}

// printable replaces what a terminal would obey.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

func oneLine(text string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(printable(text))
}

// lastLines are the last n lines of a text.
func lastLines(text string, n int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}
