package watchdog

import (
	"context"
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

	lastEvent time.Time // or when the stream was opened; the loop's
}

func newSubscription() subscription {
	return subscription{messages: make(chan docker.Message), up: make(chan error), refresh: make(chan struct{}, 1)}
}

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
	since := time.Now().Add(-time.Second)
	retry := firstRetry
	for ctx.Err() == nil {
		stream, cancel := context.WithCancel(ctx)
		inbox := make(chan docker.Message)
		ended := make(chan error, 1)
		opened := make(chan struct{}, 1)
		go func() {
			ended <- engine.Events(stream, since, func() { opened <- struct{}{} }, inbox)
		}()
		var err error
		for open := true; open; {
			select {
			case <-opened:
				s.up <- nil
				retry = firstRetry
			case m := <-inbox:
				if m.At.After(since) {
					since = m.At
				}
				select {
				case s.messages <- m:
				case <-ctx.Done():
				}
			case <-s.refresh:
				cancel()
			case err = <-ended:
				open = false
			}
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		select {
		case s.up <- err:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
		retry = min(retry*2, lastRetry)
	}
}
