package watchdog

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"healthcheck/watchdog/recovery"
)

// lostAfter is how long the engine must be lost for an alert.
const lostAfter = time.Minute

// connection is what is known of the engine itself.
type connection struct {
	lost    time.Time // since when it cannot be reached; zero: it can
	alerted bool      // an alert said that it is lost
	stream  bool      // its events come
	// listed says that a list was compared since the engine was lost, and that
	// only the inspections of what it named are missing.
	listed bool
	// retry is the pause before the next list after one that failed, failure
	// what was last logged of it, and due the timer that counts it.
	retry   time.Duration
	failure string
	due     *time.Timer

	down atomic.Int64 // lost, in Unix nanoseconds, for other goroutines; 0: not lost
}

// lose notes that the engine cannot be reached.
func (c *connection) lose(now time.Time) {
	if c.lost.IsZero() {
		c.lost = now
	}
}

// overdue says once that the engine has been lost for long.
func (c *connection) overdue(now time.Time) bool {
	if c.lost.IsZero() {
		return false
	}
	c.down.Store(c.lost.UnixNano())
	if c.alerted || now.Sub(c.lost) < lostAfter {
		return false
	}
	c.alerted = true
	return true
}

// found notes that the engine answers; true where an alert said otherwise.
func (c *connection) found() (alerted bool) {
	alerted, c.alerted = c.alerted, false
	c.lost = time.Time{}
	c.down.Store(0)
	return alerted
}

// downSince is when the engine was lost; zero where it was not. It may be
// called from any goroutine.
func (c *connection) downSince() time.Time {
	if ns := c.down.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// connected takes the begin (nil) or the end of a stream.
func (d *Daemon) connected(ctx context.Context, err error, now time.Time) {
	streamed := d.connection.stream
	if d.connection.stream = err == nil; err == nil {
		d.events.lastEvent = now
		// Subscribed first, listed then: nothing falls in between.
		d.list(ctx)
		return
	}
	// Until a list arrives nothing is known, and nothing is decided.
	d.connection.listed = false
	clear(d.looking)
	d.apply(recovery.Offline{}, now)
	d.connection.lose(now) // a list may have noticed it before
	if streamed {
		d.Log.Info("the event stream has ended", "event", recovery.EventStreamEnded, "error", err)
	} else if !d.connection.alerted {
		d.Log.Warn("the engine cannot be reached", "event", recovery.EventEngineUnreachable, "error", err)
	}
	d.checkLost(now)
}

// checkLost alerts once that the engine is lost. Pages show it at once.
func (d *Daemon) checkLost(now time.Time) {
	shown := d.connection.downSince()
	if d.connection.overdue(now) {
		d.decided(now, recovery.Action{Kind: recovery.DoAlert, Event: recovery.EventEngineLost, Severity: recovery.Critical,
			Text: fmt.Sprintf("the engine has been lost for %s", now.Sub(d.connection.lost).Round(time.Second))})
	}
	if !d.connection.downSince().Equal(shown) {
		d.changed()
	}
}
