package store

import (
	"slices"
	"time"

	"healthcheck/watchdog/recovery"
)

// Decision is one line of the history.
type Decision struct {
	Time      time.Time         `json:"time"`
	Event     recovery.Event    `json:"event,omitempty"`
	Severity  recovery.Severity `json:"severity"`
	Service   string            `json:"service,omitempty"`
	Container string            `json:"container,omitempty"`
	What      string            `json:"what"`
	Cause     string            `json:"cause,omitempty"`
	Attempt   int               `json:"attempt,omitempty"`
	// Took is the time from the first failure to health, in seconds.
	Took float64 `json:"took_seconds,omitempty"`
}

// historyLength is how many decisions are kept.
const historyLength = 1000

// History holds the last decisions, the oldest first.
type History []Decision

// Add appends a decision; the oldest goes where there are too many.
func (h *History) Add(d Decision) {
	*h = append(*h, d)
	if extra := len(*h) - historyLength; extra > 0 {
		*h = slices.Delete(*h, 0, extra)
	}
}
