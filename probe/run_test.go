package probe

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func okCheck(context.Context) (Finding, error)      { return Finding{Message: "fine"}, nil }
func failCheck(context.Context) (Finding, error)    { return Finding{}, errors.New("broken") }
func hangingCheck(context.Context) (Finding, error) { select {} } // ends with nothing
func slowCheck(ctx context.Context) (Finding, error) {
	<-ctx.Done()
	return Finding{}, &StageError{Stage: StageResponse, Err: context.Cause(ctx)}
}

func statuses(results []Result) map[string]Status {
	m := map[string]Status{}
	for _, r := range results {
		m[r.Name] = r.Status
	}
	return m
}

func TestRunEndsByItsDeadlineWhateverHangs(t *testing.T) {
	// hangingCheck never ends, which a synctest bubble would call a deadlock:
	// real time, and no assertion on how much of it.
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, Timeout(50*time.Millisecond))
	defer cancel()
	results := Run(ctx, []Check{{Name: "deaf", Run: hangingCheck}, {Name: "ok", Run: okCheck}}, Options{CheckTimeout: time.Hour})
	if r := results[0]; r.Status != Fail || r.Message != "no answer within 50ms" {
		t.Errorf("got %+v", r)
	}
	if results[1].Status != OK {
		t.Errorf("got %+v", results[1])
	}
}

func TestRunBoundsEachCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		begin := time.Now()
		results := Run(ctx, []Check{{Name: "a", Run: slowCheck}, {Name: "b", Run: slowCheck}}, Options{CheckTimeout: 5 * time.Second})
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("two checks at once took %s", took)
		}
		if r := results[0]; r.Message != "no answer within 5s" || r.Stage != StageResponse || r.Duration != 5*time.Second {
			t.Errorf("got %+v", r)
		}
	})
}

// A check's own limit may be shorter or longer than that of the others; the
// overall deadline bounds both.
func TestRunBoundsACheckByItsOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 8*time.Second, Timeout(8*time.Second))
		defer cancel()
		results := Run(ctx, []Check{{Name: "a", Run: slowCheck, Limit: time.Second}, {Name: "b", Run: slowCheck}, {Name: "c", Run: slowCheck, Limit: 7 * time.Second},
			{Name: "d", Run: slowCheck, Limit: 9 * time.Second}}, Options{CheckTimeout: 5 * time.Second})
		for i, want := range []time.Duration{time.Second, 5 * time.Second, 7 * time.Second, 8 * time.Second} {
			if r := results[i]; r.Message != NoAnswer+want.String() || r.Duration != want {
				t.Errorf("got %+v, want %s", r, want)
			}
		}
	})
}

func TestRunTurnsAPanicIntoAFailure(t *testing.T) {
	results := Run(t.Context(), []Check{{Name: "p", Run: func(context.Context) (Finding, error) { panic("boom") }}}, Options{CheckTimeout: time.Minute})
	if r := results[0]; r.Status != Fail || r.Stage != StagePanic || r.Message != "panic: boom" {
		t.Errorf("got %+v", r)
	}
}

func TestOptionalOnlyWarns(t *testing.T) {
	results := Run(t.Context(), []Check{{Name: "o", Optional: true, Run: failCheck}}, Options{CheckTimeout: time.Minute})
	if r := results[0]; r.Status != Warn || r.Message != "broken" {
		t.Errorf("got %+v", r)
	}
}

func TestFailFastStopsAfterTheLayer(t *testing.T) {
	ran := false
	checks := []Check{
		{Name: "a1", Layer: "a", Optional: true, Run: failCheck},
		{Name: "a2", Layer: "a", Run: okCheck},
		{Name: "b1", Layer: "b", Run: failCheck},
		{Name: "b2", Layer: "b", Run: okCheck},
		{Name: "c", Layer: "c", Run: func(ctx context.Context) (Finding, error) { ran = true; return okCheck(ctx) }},
	}
	results := Run(t.Context(), checks, Options{CheckTimeout: time.Minute, FailFast: true})
	want := map[string]Status{"a1": Warn, "a2": OK, "b1": Fail, "b2": OK, "c": Skip}
	got := statuses(results)
	for name, s := range want {
		if got[name] != s {
			t.Errorf("%s is %s, want %s", name, got[name], s)
		}
	}
	if ran {
		t.Error("layer c ran after layer b had failed")
	}
}

func TestSignalIsNamedAsTheCause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("terminated"))
	if r := Run(ctx, []Check{{Name: "d", Run: hangingCheck}}, Options{CheckTimeout: time.Hour})[0]; r.Message != "terminated" || r.Status != Fail {
		t.Errorf("got %+v", r)
	}
}
