package main

import (
	"bytes"
	"context"
	"testing"
	"time"

	"healthcheck/probe"
)

// The child of a check with a limit of its own ends by that.
func TestIsolatedCheckWithItsOwnLimit(t *testing.T) {
	var left time.Duration
	run := func(ctx context.Context) (probe.Finding, error) {
		end, _ := ctx.Deadline()
		left = time.Until(end)
		return probe.Finding{}, nil
	}
	var out bytes.Buffer
	if code := runIsolated(t.Context(), []probe.Check{{Name: "a", Limit: 2 * time.Hour, Run: run}}, time.Hour, "a", &out); code != 0 || left < time.Hour {
		t.Errorf("exit %d, %s left", code, left)
	}
}
