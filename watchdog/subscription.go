package watchdog

import (
	"context"
	"sync/atomic"
	"time"

	"healthcheck/watchdog/docker"
)

const (
	// quietAfter is when a stream without events is opened anew: a proxy may
	// have dropped it without closing it.
	quietAfter = 5 * time.Minute
	// The pauses between attempts to reach the engine.
	firstRetry, lastRetry = 100 * time.Millisecond, 15 * time.Second
)

// subscription keeps a stream of the engine's events open.
type subscription struct {
	messages chan docker.Message
	// up gets nil for every stream that was opened, and the cause for every
	// one that ended.
	up      chan error
	refresh chan struct{}
	// newest is the time of the newest event, by the engine's clock, in Unix
	// nanoseconds.
	newest atomic.Int64

	lastEvent time.Time // or when the stream was opened; the loop's
}

// newSubscription asks for the events since then, the first time.
func newSubscription(since time.Time) *subscription {
	s := &subscription{messages: make(chan docker.Message), up: make(chan error), refresh: make(chan struct{}, 1)}
	s.newest.Store(since.UnixNano())
	return s
}

// since is the time of the newest event that was taken.
func (s *subscription) since() time.Time { return time.Unix(0, s.newest.Load()) }

// refreshIfQuiet opens a stream anew that has had no events for long.
func (s *subscription) refreshIfQuiet(now time.Time) {
	if now.Sub(s.lastEvent) <= quietAfter {
		return
	}
	s.lastEvent = now
	select {
	case s.refresh <- struct{}{}:
	default:
	}
}

// run opens one stream after the other, until ctx ends.
func (s *subscription) run(ctx context.Context, engine Engine) {
	retry := firstRetry
	for ctx.Err() == nil {
		stream, cancel := context.WithCancel(ctx)
		inbox := make(chan docker.Message)
		ended := make(chan error, 1)
		opened := make(chan struct{}, 1)
		go func() {
			ended <- engine.Events(stream, s.since(), func() { opened <- struct{}{} }, inbox)
		}()
		var err error
		isOpen, refreshed := false, false
		var since time.Time // that it is open
		for open := true; open; {
			select {
			case <-opened:
				isOpen, since = true, time.Now()
				select {
				case s.up <- nil:
				case <-ctx.Done():
				}
			case m := <-inbox:
				select {
				case s.messages <- m:
					s.newest.Store(max(s.newest.Load(), m.At.UnixNano()))
				case <-ctx.Done():
				}
			case <-s.refresh:
				if isOpen { // else it is being opened anew, after a pause that it keeps
					refreshed = true
					cancel()
				}
			case err = <-ended:
				open = false
			}
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		if refreshed {
			continue // nothing is lost: the next stream begins where this one ended
		}
		select {
		case s.up <- err:
		case <-ctx.Done():
			return
		}
		if isOpen && time.Since(since) >= lastRetry { // one that breaks at once is as good as none
			retry = firstRetry
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
		retry = min(retry*2, lastRetry)
	}
}
