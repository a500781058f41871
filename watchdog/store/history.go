package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

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
	// Evidence is the id of what was known before a restart.
	Evidence string `json:"evidence,omitempty"`
	// Phase is the one that the service is in after the decision.
	Phase recovery.Phase `json:"phase,omitempty"`
	// Alert says that people were notified, and Closes that with this the
	// incident is over.
	Alert  bool `json:"alert,omitempty"`
	Closes bool `json:"closes,omitempty"`
}

// historyLength is how many decisions are kept; the file holds up to twice as
// many before its older half is dropped.
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

// LoadHistory returns the decisions of earlier runs. A line that was torn by a
// crash is left out.
func (f File) LoadHistory() (h History, err error) {
	if f.Path == "" {
		return nil, nil
	}
	data, err := readOwn(f.historyPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("history %s: %w", f.historyPath(), err)
	}
	for line := range bytes.Lines(data) {
		var d Decision
		if json.Unmarshal(line, &d) == nil && !d.Time.IsZero() {
			h.Add(d)
		}
	}
	return h, nil
}

// AppendHistory writes decisions behind those that are there.
func (f File) AppendHistory(more []Decision) error {
	if f.Path == "" || len(more) == 0 {
		return nil
	}
	f.wait()
	file, err := os.OpenFile(f.historyPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("%s: %w", f.historyPath(), reason(err))
	}
	defer file.Close()
	if err := checkOwn(file); err != nil {
		return fmt.Errorf("%s: %w", f.historyPath(), err)
	}
	// The first byte ends a line that a crash may have torn.
	if _, err := file.Write(append([]byte("\n"), encodeLines(more)...)); err != nil {
		return fmt.Errorf("%s: %w", f.historyPath(), reason(err))
	}
	return nil
}

// RewriteHistory replaces the file by these decisions.
func (f File) RewriteHistory(h History) error {
	if f.Path == "" {
		return nil
	}
	f.wait()
	if err := renameio.WriteFile(f.historyPath(), encodeLines(h), 0o600); err != nil {
		return fmt.Errorf("%s: %w", f.historyPath(), reason(err))
	}
	return nil
}

func encodeLines(all []Decision) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, d := range all {
		_ = enc.Encode(d) // of strings, numbers and times: it cannot fail
	}
	return b.Bytes()
}
