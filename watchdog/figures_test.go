package watchdog

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"healthcheck/probe/report"
)

// Figures of probes are read at each reconciliation, and forgotten with what
// they are about.
func TestDaemonProbeFigures(t *testing.T) {
	told := func(check string) []report.Figure { return []report.Figure{{Check: check}} }
	c, stranger := container("healthy"), container("healthy")
	c.Figures = told("cpu")
	stranger.ID, stranger.Name, stranger.Labels, stranger.Figures = "id2", "other", nil, told("disk")
	engine := newFakeEngine(c, stranger)
	withDaemon(t, engine, func(d *Daemon, _ *syncBuffer) {
		want := func(after string, figure string) {
			t.Helper()
			time.Sleep(d.Reconcile + time.Second)
			synctest.Wait()
			_, stats := d.Figures()
			if got := stats.Probes["app"]; (figure == "") != (len(got) == 0) || len(got) > 0 && got[0].Check != figure || len(stats.Probes) > 1 {
				t.Errorf("%s: %+v, want %q", after, stats.Probes, figure)
			}
		}
		change := func(figure, state string) {
			c.Figures, c.State = told(figure), state
			engine.mu.Lock()
			defer engine.mu.Unlock()
			engine.containers["id1"] = c
		}
		want("without --probe-figures", "")
		d.inbox.run(context.Background(), func(time.Time) { d.ProbeFigures = true })
		want("a reconciliation", "cpu")
		change("memory", "running") // and no event
		want("another", "memory")
		change("memory", "exited")
		want("it has ended", "")
		change("cpu", "running")
		want("it runs again", "cpu")
		engine.mu.Lock()
		delete(engine.containers, "id1")
		engine.mu.Unlock()
		want("it is gone", "")
		if len(d.checks) != 0 {
			t.Errorf("kept: %v", d.checks)
		}
	})
}
