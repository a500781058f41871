package timeline

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// minutes behind t0.
func at(m int) time.Time { return t0.Add(time.Duration(m) * time.Minute) }

// text lists the segments of a line between two minutes.
func text(l Line, from, to int) (out []string) {
	for _, s := range l.Segments(at(from), at(to)) {
		out = append(out, s.State.String()+" "+s.From.Format("15:04")+"-"+s.To.Format("15:04"))
	}
	return out
}

func TestSegments(t *testing.T) {
	var l Line
	want := func(what string, from, to int, want ...string) {
		t.Helper()
		if got := text(l, from, to); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	want("nothing is known", 0, 10, "unknown 12:00-12:10")
	l.Note(Healthy, at(5))
	l.Note(Healthy, at(6))
	want("one state, since the middle", 0, 10, "unknown 12:00-12:05", "healthy 12:05-12:10")
	l.Note(Unhealthy, at(10))
	want("a state that begins just now has no time yet", 0, 10, "unknown 12:00-12:05", "healthy 12:05-12:10")
	l.Note(Restarting, at(12))
	l.Note(Healthy, at(13))
	want("several", 6, 20, "healthy 12:06-12:10", "unhealthy 12:10-12:12", "restarting 12:12-12:13", "healthy 12:13-12:20")
	want("the end of the window", 0, 11, "unknown 12:00-12:05", "healthy 12:05-12:10", "unhealthy 12:10-12:11")
	l.Note(Held, at(11))
	want("a clock that was set back", 6, 20, "healthy 12:06-12:10", "unhealthy 12:10-12:11", "held 12:11-12:20")
	l.Note(Unknown, at(12))
	l.Note(Healthy, at(12+24*60))
	want("what is older is known no more", 12+24*60-2, 12+24*60+2, "unknown 12:10-12:12", "healthy 12:12-12:14")
	if len(l) != 2 {
		t.Errorf("%v", l)
	}
	l = Line{{at(1), Unknown}}
	want("unknown before and after", 0, 2, "unknown 12:00-12:02")
}

// A service that flaps for a day leaves a bounded line, which shows no better
// than it was: no second of a bad state becomes a healthy one.
func TestLineIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var l Line
	var truth []Segment
	now := t0
	for now.Before(t0.Add(Span)) {
		s := State(rng.IntN(len(names)))
		l.Note(s, now)
		next := now.Add(time.Duration(1+rng.IntN(300)) * time.Second)
		truth = append(truth, Segment{s, now, next})
		now = next
		if len(l) > maxChanges {
			t.Fatalf("%d changes", len(l))
		}
	}
	shown := l.Segments(t0, now)
	for i := range shown {
		if i > 0 && (!shown[i].From.Equal(shown[i-1].To) || shown[i].State == shown[i-1].State) {
			t.Fatalf("a gap, or a double: %v, %v", shown[i-1], shown[i])
		}
	}
	for _, was := range truth {
		for _, s := range shown {
			if s.From.Before(was.To) && was.From.Before(s.To) && s.State < was.State {
				t.Fatalf("it was %v from %s to %s, and %v is shown", was.State, was.From, was.To, s.State)
			}
		}
	}
	if last, is := shown[len(shown)-1].State, truth[len(truth)-1].State; last != is {
		t.Errorf("now it is %v, and %v is shown", is, last)
	}
}

func TestStates(t *testing.T) {
	for _, phase := range recovery.Phases {
		if phase != recovery.Idle && Of(phase, "healthy") <= Stopped {
			t.Errorf("%s: %s", phase, Of(phase, "healthy"))
		}
	}
	for health, want := range map[string]State{"healthy": Healthy, "running": Healthy, "starting": Starting, "unhealthy": Unhealthy, "exited": Stopped, "paused": Stopped, "dead": Unhealthy, "": Unknown} {
		if got := Of(recovery.Idle, health); got != want {
			t.Errorf("%s: %s, want %s", health, got, want)
		}
	}
}

func TestFromHistory(t *testing.T) {
	d := func(m int, service string, phase recovery.Phase, event recovery.Event) store.Decision {
		return store.Decision{Time: at(m), Service: service, Phase: phase, Event: event}
	}
	lines := FromHistory(store.History{
		d(-26*60, "old", recovery.Waiting, recovery.EventWaiting),
		d(0, "app", recovery.Restarting, recovery.EventRestarting),
		d(0, "", recovery.Idle, recovery.EventEngineBack),
		d(1, "app", recovery.Verifying, recovery.EventRestarted),
		d(2, "app", recovery.Idle, recovery.EventRecovered),
		d(2, "app", recovery.Idle, recovery.EventLabelIgnored),
		d(3, "web", recovery.GivenUp, recovery.EventGaveUp),
		d(4, "web", recovery.Idle, recovery.EventLeftAlone),
		d(5, "db", recovery.Idle, recovery.EventRemoved),
	}, at(10))
	for service, want := range map[string][]string{
		"app": {"unknown 11:55-12:00", "restarting 12:00-12:02", "healthy 12:02-12:10", "unknown 12:10-12:15"},
		"web": {"unknown 11:55-12:03", "given up 12:03-12:04", "stopped 12:04-12:10", "unknown 12:10-12:15"},
		"db":  {"unknown 11:55-12:15"},
	} {
		if lines[service] == nil {
			t.Errorf("nothing of %s", service)
		} else if got := text(*lines[service], -5, 15); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", service, got, want)
		}
	}
	if len(lines) != 3 {
		t.Errorf("%v", lines)
	}
	// A state file that was lost, or saved before the last decision.
	l := FromHistory(store.History{d(3, "app", recovery.Idle, recovery.EventRecovered)}, time.Time{})["app"]
	if got := text(*l, 0, 5); !slices.Equal(got, []string{"unknown 12:00-12:05"}) {
		t.Errorf("%q", got)
	}
}

func TestTrend(t *testing.T) {
	var tr Trend
	want := func(what string, now int, want ...Point) {
		t.Helper()
		if got := tr.Points(at(now)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	want("nothing", 0)
	tr.Note(1, at(0))
	tr.Note(2, at(0).Add(30*time.Second))
	want("the last one of a minute", 0, Point{0, 2})
	tr.Note(3, at(3))
	tr.Note(math.NaN(), at(3))
	want("a gap", 4, Point{4 * time.Minute, 2}, Point{time.Minute, 3})
	tr.Note(4, at(60))
	want("an hour is kept", 60, Point{57 * time.Minute, 3}, Point{0, 4})
	want("an hour is shown", 63, Point{3 * time.Minute, 4})
	tr.Note(5, at(59))
	want("a clock that was set back", 60, Point{time.Minute, 5})
	tr.Note(math.Inf(1), at(1000))
	want("too large", 1000, Point{0, math.MaxFloat32})
}
