package watchdog

import (
	"context"
	"slices"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/report"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
	"healthcheck/watchdog/timeline"
)

// Overview is all that is known at one time, for people.
type Overview struct {
	At       time.Time
	Services []recovery.ServiceStatus
	// Lines are how the services have been, and Checks what their last probes
	// told, by service.
	Lines  map[string]timeline.Line
	Checks map[string][]Check
	// History is the last decisions, the oldest first, and Incidents what is
	// open, by alert.Subject.
	History   store.History
	Incidents map[string]*alert.Incident
	// EngineLost is since when the engine cannot be reached; zero: it can.
	EngineLost time.Time
	Overloaded bool
	DryRun     bool
	// ProbeFigures says whether figures of checks are read at all.
	ProbeFigures bool
}

// Check is what the last probe told of one check, and its figure in the last
// hour: its value or, where it has none, how long it took in seconds.
type Check struct {
	report.Figure
	Trend timeline.Trend
}

// checks are the last figures of a service, and the trends of them.
type checks struct {
	figures []report.Figure
	trends  map[string]*trend
	stopped bool // the container does not run
}

type trend struct {
	timeline.Trend
	timed bool // it is of durations
}

// note takes what a probe told. Checks that it does not tell of are dropped.
func (c *checks) note(figures []report.Figure, now time.Time) {
	trends := make(map[string]*trend, len(figures))
	for _, f := range figures {
		v, timed := f.Duration.Seconds(), f.Value == nil
		if !timed {
			v = *f.Value
		}
		t := c.trends[f.Check]
		if t == nil || t.timed != timed {
			t = &trend{timed: timed}
		}
		t.Note(v, now)
		trends[f.Check] = t
	}
	c.figures, c.trends, c.stopped = figures, trends, false
}

// current are the last figures of a container that runs.
func (c *checks) current() []report.Figure {
	if c.stopped {
		return nil
	}
	return c.figures
}

// copied is a copy for another goroutine, by name. The checks of a container
// that does not run are not run: their trends are worth seeing all the same.
func (c *checks) copied() []Check {
	out := make([]Check, 0, len(c.figures))
	for _, f := range c.figures {
		if c.stopped {
			f.Status = probe.Skip
		}
		out = append(out, Check{f, c.trends[f.Check].Trend})
	}
	slices.SortFunc(out, func(a, b Check) int { return strings.Compare(a.Check, b.Check) })
	return out
}

// noteTimeline keeps how a service is now.
func (d *Daemon) noteTimeline(key string, now time.Time) {
	phase, health, ok := d.machine.Standing(key)
	if !ok && d.timelines[key] == nil {
		return // it is not watched, and was not
	}
	state := timeline.Unknown
	if ok {
		state = timeline.Of(phase, health)
	}
	if d.timelines[key] == nil {
		d.timelines[key] = &timeline.Line{}
	}
	if d.timelines[key].Note(state, now) {
		d.changed()
	}
}

// noteTimelines keeps what a message and what was decided by it have changed.
func (d *Daemon) noteTimelines(msg recovery.Message, actions []recovery.Action, now time.Time) {
	switch msg := msg.(type) {
	case recovery.Seen:
		d.noteTimeline(msg.Container.Service(), now)
	case recovery.Listed:
		for key := range d.machine.Services {
			d.noteTimeline(key, now)
		}
		d.forgetTimelines(msg.All)
	case recovery.Offline:
		for _, line := range d.timelines {
			if line.Note(timeline.Unknown, now) {
				d.changed()
			}
		}
		return
	}
	if len(actions) > 0 {
		d.changed()
	}
	for _, a := range actions {
		if a.Key != "" && d.machine.Services[a.Key] != nil {
			d.noteTimeline(a.Key, now)
		}
	}
}

// forgetTimelines drops those of services that are gone: neither known, nor
// listed and about to be inspected.
func (d *Daemon) forgetTimelines(all []recovery.Container) {
	gone := map[string]bool{}
	for key := range d.timelines {
		if d.machine.Services[key] == nil {
			gone[key] = true
		}
	}
	if len(gone) == 0 {
		return
	}
	for _, c := range all {
		if d.Settings.Watched(c) {
			delete(gone, c.Service())
		}
	}
	for key := range gone {
		delete(d.timelines, key)
	}
}

// changed says that there is something new to be seen.
func (d *Daemon) changed() {
	if d.Changed != nil {
		d.Changed()
	}
}

// Overview is all that is known now; false where the daemon has ended or does
// not answer in time. It may be called from any goroutine, also before Run.
func (d *Daemon) Overview(ctx context.Context) (o Overview, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, figuresWait)
	defer cancel()
	answer := make(chan Overview, 1) // one that comes too late is nobody's
	if !d.inbox.run(ctx, func(now time.Time) { answer <- d.overview(now) }) {
		return Overview{}, false
	}
	o = <-answer
	o.EngineLost = d.connection.downSince()
	if d.Alerts != nil {
		o.Incidents = d.Alerts.State().Incidents
	}
	return o, true
}

// overview is the loop's part of it.
func (d *Daemon) overview(now time.Time) Overview {
	o := Overview{At: now, Services: d.machine.Status(now), Lines: make(map[string]timeline.Line, len(d.timelines)), Checks: make(map[string][]Check, len(d.checks)),
		History: slices.Clone(d.journal.history), Overloaded: d.machine.Overloaded(), DryRun: d.Settings.DryRun, ProbeFigures: d.ProbeFigures}
	for key, line := range d.timelines {
		o.Lines[key] = slices.Clone(*line)
	}
	for key, c := range d.checks {
		o.Checks[key] = c.copied()
	}
	return o
}
