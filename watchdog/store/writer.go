package store

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Writer writes the state in a goroutine of its own, so that a disk that hangs
// delays whoever saves by a bounded time. Of states that wait the newest is
// written; of the history nothing is left out.
type Writer struct {
	File File

	write   func([]byte) error // the file's own; the tests have a disk that hangs
	mu      sync.Mutex
	next    *job
	waiting []Decision // of the history
	lines   int        // in the history's file, more or less
	kept    History    // what a rewritten file holds
	busy    bool
	slow    bool // the write under way was given up waiting for
}

// job is one write of the state.
type job struct {
	data []byte
	done chan struct{} // closed when it, or a newer one, is written
	err  error
}

// ErrSlow is a disk that does not answer in time. What was to be written is
// written when it does.
var ErrSlow = errors.New("the disk does not answer")

// NewWriter returns a writer that knows what the history's file holds.
func NewWriter(f File, kept History) *Writer {
	return &Writer{File: f, write: f.Write, kept: slices.Clone(kept), lines: len(kept)}
}

// Save writes a state and what the history has more, and waits for it no
// longer than the given time.
func (w *Writer) Save(data []byte, more []Decision, wait time.Duration) error {
	if w.File.Path == "" {
		return nil
	}
	w.mu.Lock()
	j := w.next
	if j == nil {
		j = &job{done: make(chan struct{})}
		w.next = j
	}
	j.data = data // what waits is older
	w.waiting = append(w.waiting, more...)
	if extra := len(w.waiting) - historyLength; extra > 0 { // a disk that hangs for long
		w.waiting = slices.Delete(w.waiting, 0, extra)
	}
	if !w.busy {
		w.busy = true
		go w.run()
	}
	if w.slow {
		wait = 0 // whoever waited before has waited for all
	}
	w.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-j.done:
		return j.err
	case <-timer.C:
		w.mu.Lock()
		w.slow = w.busy
		w.mu.Unlock()
		return ErrSlow
	}
}

// run writes until nothing is left to write.
func (w *Writer) run() {
	for {
		w.mu.Lock()
		j, more := w.next, w.waiting
		w.next, w.waiting = nil, nil
		if j == nil {
			w.busy = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		j.err = errors.Join(w.write(j.data), w.append(more))
		w.mu.Lock()
		w.slow = false
		w.mu.Unlock()
		close(j.done)
	}
}

// append writes decisions behind the others, or the file anew where it has
// grown too long. Only run calls it.
func (w *Writer) append(more []Decision) error {
	for _, d := range more {
		w.kept.Add(d)
	}
	var err error
	if w.lines += len(more); w.lines > 2*historyLength {
		if err = w.File.RewriteHistory(w.kept); err == nil {
			w.lines = len(w.kept)
		}
		return err
	}
	if err = w.File.AppendHistory(more); err != nil {
		w.lines = 2*historyLength + 1 // what is missing in the file is written with the next
	}
	return err
}
