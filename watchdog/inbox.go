package watchdog

import (
	"context"
	"sync"
	"time"
)

// inbox brings functions from other goroutines to the loop, which runs them
// one at a time. Its zero value is closed until open is called.
type inbox struct {
	calls chan func(now time.Time)
	ended chan struct{} // closed when the loop takes no more calls

	once   sync.Once
	opened chan struct{}
}

func (b *inbox) open() {
	b.calls, b.ended = make(chan func(time.Time), 64), make(chan struct{})
	close(b.whenOpen())
}

func (b *inbox) close() { close(b.ended) }

// whenOpen is closed once the loop takes calls.
func (b *inbox) whenOpen() chan struct{} {
	b.once.Do(func() { b.opened = make(chan struct{}) })
	return b.opened
}

// post leaves f for the loop.
func (b *inbox) post(f func(now time.Time)) {
	select {
	case b.calls <- f:
	case <-b.ended:
	}
}

// run has the loop run f and waits for it; false where the loop has ended.
func (b *inbox) run(ctx context.Context, f func(now time.Time)) bool {
	select {
	case <-b.whenOpen():
	case <-ctx.Done():
		return false
	}
	done := make(chan struct{})
	go b.post(func(now time.Time) { f(now); close(done) })
	select {
	case <-done:
		return true
	case <-ctx.Done():
	case <-b.ended:
	}
	return false
}
