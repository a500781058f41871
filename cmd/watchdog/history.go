package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"healthcheck/watchdog/store"
)

// runHistory is watchdog history.
func runHistory(ctx context.Context, g given, stdout, stderr io.Writer) int {
	q, err := parseQuestion("history", 0, g, stdout, stderr)
	if err != nil {
		return failOrHelp(err, "history", stdout, stderr)
	}
	return q.print(ctx, historyTable)
}

// historyTable lays the daemon's answer out for people.
func historyTable(body []byte, _ time.Time) (string, error) {
	var all store.History
	if err := json.Unmarshal(body, &all); err != nil {
		return "", err
	}
	rows := [][]string{{"TIME", "SEVERITY", "SERVICE", "ATTEMPT", "TOOK", "WHAT", "CAUSE"}}
	for _, d := range all {
		took := ""
		if d.Took > 0 {
			took = time.Duration(d.Took * float64(time.Second)).Round(time.Millisecond).String()
		}
		rows = append(rows, []string{d.Time.Local().Format(time.DateTime + " MST"), string(d.Severity), d.Service, fmt.Sprint(d.Attempt), took, d.What, d.Cause})
	}
	return layOut(rows), nil
}
