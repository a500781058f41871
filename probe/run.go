package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Options bound a run.
type Options struct {
	// CheckTimeout is the limit of a check without one of its own; the context's
	// deadline is the whole run's.
	CheckTimeout time.Duration
	// FailFast runs the layers one after the other, in the order of the
	// checks, and skips those that come after the first one that failed.
	FailFast bool
}

// reportGrace is how long after the overall deadline a check may still hand
// in its own cause, which says more than 'no answer' does. It is part of
// the 100 ms that the process may take after its deadline.
const reportGrace = 25 * time.Millisecond

// NoAnswer begins what a check says that ran out of time. The watchdog tells by
// it a busy host from one container that is broken.
const NoAnswer = "no answer within "

// Timeout is the cause of a context that Run or its caller bounds.
type Timeout time.Duration

func (t Timeout) Error() string {
	return NoAnswer + time.Duration(t).String()
}

// Run runs the checks and returns one result for each, in the same order,
// whatever hangs: it returns at most reportGrace after ctx ends. A check that
// panics has failed. All run at once, unless o.FailFast.
func Run(ctx context.Context, checks []Check, o Options) []Result {
	if !o.FailFast {
		return runAll(ctx, checks, o.CheckTimeout)
	}
	var results []Result
	failedLayer := ""
	for start := 0; start < len(checks); {
		end := start + 1
		for end < len(checks) && checks[end].Layer == checks[start].Layer {
			end++
		}
		layer := checks[start:end]
		start = end
		if failedLayer != "" {
			for _, c := range layer {
				results = append(results, Result{Name: c.Name, Layer: c.Layer, Informational: c.Informational,
					Status: Skip, Message: "not run: layer " + failedLayer + " failed first"})
			}
			continue
		}
		for _, r := range runAll(ctx, layer, o.CheckTimeout) {
			if r.Status == Fail {
				failedLayer = r.Layer
			}
			results = append(results, r)
		}
	}
	return results
}

// runAll runs checks at once, each within its limit, and does not outlive the
// longest: one that is stuck in the kernel is left behind.
func runAll(ctx context.Context, checks []Check, limit time.Duration) []Result {
	longest := time.Duration(0)
	limits := make([]context.Context, len(checks))
	for i, c := range checks {
		own := cmp.Or(c.Limit, limit)
		longest = max(longest, own)
		var cancel context.CancelFunc
		limits[i], cancel = context.WithTimeoutCause(ctx, own, Timeout(own))
		defer cancel()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, longest, Timeout(longest))
	defer cancel()
	type indexed struct {
		i int
		r Result
	}
	done := make(chan indexed, len(checks)) // buffered: a late check must not leak
	begin := time.Now()
	for i, c := range checks {
		go func() { done <- indexed{i, runOne(limits[i], c)} }()
	}

	results := make([]Result, len(checks))
	var grace <-chan time.Time
	ended := ctx.Done()
	for missing := len(checks); missing > 0; {
		select {
		case d := <-done:
			results[d.i] = d.r
			missing--
			continue
		case <-ended:
			ended = nil
			grace = time.After(reportGrace)
			continue
		case <-grace:
		}
		break
	}
	for i, c := range checks {
		if results[i].Status == "" {
			results[i] = conclude(c, Finding{}, context.Cause(limits[i]), time.Since(begin))
		}
	}
	return results
}

func runOne(ctx context.Context, c Check) (r Result) {
	begin := time.Now()
	defer func() {
		if p := recover(); p != nil {
			r = conclude(c, Finding{}, &StageError{Stage: StagePanic, Err: fmt.Errorf("panic: %v", p)}, time.Since(begin))
		}
	}()
	f, err := c.Run(ctx)
	return conclude(c, f, err, time.Since(begin))
}

func conclude(c Check, f Finding, err error, took time.Duration) Result {
	r := Result{Name: c.Name, Layer: c.Layer, Target: c.Target, Informational: c.Informational, Status: f.Status,
		Message: f.Message, Value: f.Value, Limit: f.Limit, Duration: took}
	if r.Status == "" {
		r.Status = OK
	}
	if err != nil {
		r.Status, r.Stage, r.Message = Fail, StageOf(err), err.Error()
		if r.Stage == "" && errors.Is(err, context.DeadlineExceeded) {
			r.Stage = StageResponse
		}
		r.Cause = causeOf(c, err)
		if c.Optional {
			r.Status = Warn
		}
	}
	return r
}
