package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"healthcheck/watchdog/recovery"
)

// runStatus is watchdog status.
func runStatus(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	q, code, ok := parseQuestion("status", 0, args, stdout, stderr)
	if !ok {
		return code
	}
	return q.print(ctx, statusTable)
}

// statusTable lays the daemon's answer out for people.
func statusTable(body []byte, now time.Time) (string, error) {
	var all []recovery.ServiceStatus
	if err := json.Unmarshal(body, &all); err != nil {
		return "", err
	}
	rows := [][]string{{"SERVICE", "CONTAINER", "HEALTH", "PHASE", "ATTEMPTS", "NEXT", "WAITS FOR", "CAUSE"}}
	for _, s := range all {
		next := ""
		if !s.Due.IsZero() {
			next = "in " + max(0, s.Due.Sub(now)).Round(time.Second).String()
		}
		rows = append(rows, []string{s.Service, s.Container, s.Health, s.Phase, fmt.Sprintf("%d of %d", s.Attempts, s.MaxAttempts), next, s.Waits, s.Cause})
	}
	return layOut(rows), nil
}
