package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"healthcheck/watchdog/recovery"
)

func TestStatusTable(t *testing.T) {
	body, err := json.Marshal([]recovery.ServiceStatus{{Service: "a", Container: "a", Health: "healthy", Phase: "watching", MaxAttempts: 3},
		{Service: "b", Container: "b", Health: "unhealthy", Phase: "waiting", Attempts: 1, MaxAttempts: 3, Due: time.Now().Add(time.Minute), Cause: "bad\x1b[2J"},
		{Service: "c", Container: "c", Health: "unhealthy", Phase: "held", Waits: "p/db/1"}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := statusTable(body, time.Now())
	if err != nil || !contains(text, "SERVICE", "1 of 3", "in 1m0s", "WAITS FOR", "p/db/1") || strings.Contains(text, "\x1b") {
		t.Errorf("%v\n%s", err, text)
	}
	red := coloured(text)
	if lines := strings.Split(red, "\n"); strings.Contains(lines[1], "\x1b") || !strings.HasPrefix(lines[2], "\x1b[31mb") || !strings.HasSuffix(lines[2], "\x1b[0m") {
		t.Errorf("%q", red)
	}
}
