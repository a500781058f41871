package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// atLeast is how long a trial goes on: a needless restart comes with the
	// probes after the fault.
	atLeast = 8 * time.Second
	// quiet is for how long all must be well before a trial ends early.
	quiet = 4 * time.Second
)

// try runs one trial: a healthy system, the contender, the fault, and what
// comes of it.
func (e *engine) try(ctx context.Context, name string, f fault, c contender) (t Trial, err error) {
	t = Trial{Fault: f.name, Contender: c.name}
	s, err := e.up(ctx, name, f, c)
	defer s.down()
	if err != nil {
		return t, err
	}
	stop, err := c.start(ctx, s)
	if err != nil {
		return t, err
	}
	stopped := false
	defer func() {
		if !stopped {
			stop()
		}
	}()
	if err := until(ctx, time.Minute, "all is well before the fault", func() bool { return s.served(time.Second) && s.healthy(ctx) }); err != nil {
		return t, err
	}
	if err := s.probed(ctx, f.in(s)); err != nil {
		return t, err
	}
	if err := f.inject(ctx, s); err != nil {
		return t, fmt.Errorf("breaking it: %w", err)
	}
	if s.began.IsZero() {
		return t, errors.New("nobody said when it broke")
	}
	if err := s.watch(ctx, f); err != nil {
		return t, err
	}
	t.Watched = round(time.Since(s.began).Seconds())
	t.judge(s.seen(), s.began)
	if t.Restarts, err = s.starts(); err != nil {
		return t, err
	}
	t.Needless = needless(t.Restarts, f.helps)
	stopped = true
	stop() // which delivers the last alerts
	t.Alerts = e.webhooks.count(name)
	return t, nil
}

// watch waits until all has been well for a while, or the trial's limit, and
// has a person mend in the middle what a person must.
func (s *system) watch(ctx context.Context, f fault) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	mended := f.mend == nil
	var well time.Time
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		since := time.Since(s.began)
		switch {
		case since > f.limit:
			return nil
		case !mended && since >= f.mendAfter:
			// What is down cannot be mended by an exec: a person tries again.
			mended = f.mend(ctx, s) == nil
			continue
		case !mended || !s.served(0) || !s.healthy(ctx):
			well = time.Time{}
		case well.IsZero():
			well = time.Now()
		case since > atLeast && time.Since(well) > quiet:
			return nil
		}
	}
}
