package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"healthcheck/watchdog/recovery"
)

// runStatus is watchdog status.
func runStatus(ctx context.Context, g given, stdout, stderr io.Writer) int {
	q, err := parseQuestion("status", 0, g, stdout, stderr)
	if err != nil {
		return failOrHelp(err, "status", stdout, stderr)
	}
	return q.print(ctx, statusTable)
}

// statusTable lays the daemon's answer out for people.
func statusTable(body []byte, now time.Time) (string, error) {
	var all []recovery.ServiceStatus
	if err := json.Unmarshal(body, &all); err != nil {
		return "", err
	}
	// A column that says what a held service waits for, where there is one.
	waits := slices.ContainsFunc(all, func(s recovery.ServiceStatus) bool { return s.Waits != "" })
	row := func(next, waitsFor, cause string, cells ...string) []string {
		cells = append(cells, next)
		if waits {
			cells = append(cells, waitsFor)
		}
		return append(cells, cause)
	}
	rows := [][]string{row("NEXT", "WAITS FOR", "CAUSE", "SERVICE", "CONTAINER", "HEALTH", "PHASE", "ATTEMPTS")}
	for _, s := range all {
		next := ""
		if !s.Due.IsZero() {
			next = fmt.Sprintf("in %s (%s)", max(0, s.Due.Sub(now)).Round(time.Second), s.Due.Local().Format("15:04:05"))
		}
		if !s.PausedUntil.IsZero() {
			next = fmt.Sprintf("not before %s (%s)", s.PausedUntil.Local().Format("Mon 15:04:05"), s.Paused)
		}
		rows = append(rows, row(next, s.Waits, s.Cause, s.Service, s.Container, s.Health, s.Phase, fmt.Sprintf("%d of %d", s.Attempts, s.MaxAttempts)))
	}
	return layOut(rows), nil
}
