package timeline

import (
	"time"

	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// Span is how far back a line goes.
const Span = 24 * time.Hour

// State is how a service is, as the page shows it.
type State uint8

// The states, the worst last.
const (
	Unknown State = iota // nobody has watched it, or the engine was out of reach
	Healthy
	Starting
	Stopped // ended, paused or not yet started, and nobody is to restart it
	Restarting
	Held
	Unhealthy
	GivenUp // or stopped by its policy: nothing comes by itself
)

// names are the states' names by their numbers.
var names = [...]string{"unknown", "healthy", "starting", "stopped", "restarting", "held", "unhealthy", "given up"}

// String is the state as people read it.
func (s State) String() string { return names[s] }

// Of is the state of a service by its phase and its health, as recovery's
// status has them.
func Of(phase recovery.Phase, health string) State {
	switch phase {
	case recovery.GivenUp, recovery.ShutDown: // a person has to do something
		return GivenUp
	case recovery.Held:
		return Held
	case recovery.Restarting, recovery.Launching, recovery.Verifying:
		return Restarting
	case recovery.Waiting, recovery.Rehearsed, recovery.ShuttingDown:
		return Unhealthy
	case recovery.Idle:
	}
	switch health {
	case "healthy", "running":
		return Healthy
	case "starting", "created":
		return Starting
	case "unhealthy", "restarting", "dead":
		return Unhealthy
	case "exited", "paused", "removing":
		return Stopped
	}
	return Unknown
}

// Change is the begin of a state, which lasts until the next change.
type Change struct {
	At    time.Time
	State State
}

// Line is the changes of one service, the oldest first.
type Line []Change

// maxChanges bounds a line.
const maxChanges = 128

// Note says that the service is in a state at a time; it is true where that is
// another than before. What the line has behind
// that time is dropped: a clock was set back. Where there are too many changes,
// the shortest state is merged with the one before it, as the worse of both.
func (l *Line) Note(s State, at time.Time) (changed bool) {
	line := *l
	for len(line) > 0 && line[len(line)-1].At.After(at) {
		line = line[:len(line)-1]
	}
	for len(line) > 1 && at.Sub(line[1].At) >= Span {
		line = line[1:]
	}
	if changed = len(line) == 0 || line[len(line)-1].State != s; changed {
		line = append(line, Change{at, s})
	}
	if len(line) > maxChanges {
		line = line.merge()
	}
	*l = line
	return changed
}

// merge makes a line shorter by its shortest state but the last two.
func (l Line) merge() Line {
	shortest := 1
	for i := 1; i < len(l)-2; i++ {
		if l[i+1].At.Sub(l[i].At) < l[shortest+1].At.Sub(l[shortest].At) {
			shortest = i
		}
	}
	l[shortest-1].State = max(l[shortest-1].State, l[shortest].State)
	out := l[:0]
	for i, c := range l {
		if i != shortest && (len(out) == 0 || out[len(out)-1].State != c.State) {
			out = append(out, c)
		}
	}
	return out
}

// Segment is a state with its begin and its end.
type Segment struct {
	State    State
	From, To time.Time
}

// Segments are what a line shows between two times, without gaps: what it does
// not know is Unknown.
func (l Line) Segments(from, to time.Time) (all []Segment) {
	add := func(s State, begin, end time.Time) {
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		if n := len(all); !begin.Before(end) {
			return // also one that began and ended at once
		} else if n > 0 && all[n-1].State == s {
			all[n-1].To = end
		} else {
			all = append(all, Segment{s, begin, end})
		}
	}
	begin := to
	if len(l) > 0 {
		begin = l[0].At
	}
	add(Unknown, from, begin)
	for i, c := range l {
		end := to
		if i+1 < len(l) {
			end = l[i+1].At
		}
		add(c.State, c.At, end)
	}
	return all
}

// FromHistory makes the lines of an earlier run of the watchdog out of its
// decisions. That run is known to have gone on until a time; nothing is known
// of what came then.
func FromHistory(history store.History, until time.Time) map[string]*Line {
	lines := map[string]*Line{}
	for _, d := range history {
		s, ok := after(d)
		if d.Service == "" || !ok || until.Sub(d.Time) >= Span {
			continue
		}
		if d.Time.After(until) {
			until = d.Time
		}
		if lines[d.Service] == nil {
			lines[d.Service] = &Line{}
		}
		lines[d.Service].Note(s, d.Time)
	}
	for _, l := range lines {
		l.Note(Unknown, until)
	}
	return lines
}

// after is the state behind a decision; false where it tells none.
func after(d store.Decision) (State, bool) {
	if d.Phase != recovery.Idle {
		s := Of(d.Phase, "")
		return s, s != Unknown
	}
	switch d.Event {
	case recovery.EventRecovered, recovery.EventHealthyAgain, recovery.EventStable:
		return Healthy, true
	case recovery.EventLeftAlone:
		return Stopped, true
	case recovery.EventRemoved, recovery.EventOptedOut:
		return Unknown, true
	}
	return Unknown, false
}
