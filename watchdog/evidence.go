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
// last lines of the log: neither the engine nor the disk delays a restart for
// longer.
func (d *Daemon) takeEvidence(a recovery.Action, now time.Time) (lines string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), evidenceTime)
	defer cancel()
	type taken struct {
		lines string
		err   error
	}
	done := make(chan taken, 1)
	go func() {
		e := newEvidence(a, d.Evidence(ctx, a.ID), now)
		done <- taken{lastLines(e.Logs, d.EvidenceLines), d.File.WriteEvidence(e)}
	}()
	select {
	case t := <-done:
		return t.lines, t.err
	case <-ctx.Done():
		return "", context.DeadlineExceeded
	}
}

// gather takes evidence for a restart that waits for it, and lets it come.
func (d *Daemon) gather(a recovery.Action) {
	go func() {
		lines, err := d.takeEvidence(a, time.Now())
		d.inbox.post(func(now time.Time) {
			got := recovery.Gathered{Key: a.Key, ID: a.ID, Evidence: a.Evidence}
			if err != nil {
				got.Evidence = ""
				d.Log.Warn("no evidence is kept of a restart", "event", recovery.EventNoEvidence, "service", a.Key, "error", err)
			}
			if lines != "" {
				d.lines[a.Key] = lines
			}
			d.apply(got, now)
		})
	}()
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
