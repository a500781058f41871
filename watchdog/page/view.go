package page

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/watchdog"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/timeline"
)

// About is what the page says of the program itself.
type About struct {
	Host, Version string
}

// view is what the template shows. All text of others in it is on one line,
// bounded, and printable; the template escapes it.
type view struct {
	About
	Now      moment
	Title    string
	State    timeline.State // of the verdict
	Verdict  string
	Counts   []count
	Warnings []string
	Services []serviceView
	// Omitted is how many services are not shown: the healthy ones first.
	Omitted   int
	Incidents []incidentView
	Legend    []timeline.State
}

type count struct {
	State timeline.State
	N     int
}

// moment is a time for people, and for programs.
type moment struct {
	Text, RFC3339 string
}

type serviceView struct {
	ID, Name string // ID of the element
	State    timeline.State
	Next     string
	Cause    string
	Paused   string
	Bars     []bar
	Summary  string // of the bars, for who cannot see them
	Changes  []changeView
	Facts    []fact
	Checks   []checkView
}

type fact struct {
	Name, Value string
}

// bar is a segment of a timeline, in percent of its width.
type bar struct {
	State    timeline.State
	X, Width string
	Text     string
}

type changeView struct {
	State timeline.State
	From  moment
	For   string
}

type checkView struct {
	ID, Name string
	Status   string // the word
	Class    string
	Figure   string
	Points   string // of the line, in a box of sparkWidth × sparkHeight
	Limit    string // its height in the box; empty for none
	Dot      *dot   // where there is one point alone
	Summary  string
}

type dot struct {
	X, Y string
}

type incidentView struct {
	ID       string
	Open     bool
	Severity string
	Subject  string
	Link     string // to the service's element; empty where it is not shown
	What     string
	When     moment
	Lasted   string
	Facts    []fact
	Evidence []string
}

const (
	// maxServices bounds the services that are shown: those that are not healthy
	// come before those that are.
	maxServices = 200
	// maxText bounds texts of others, in bytes.
	maxText = 400
	// listedChanges is how many changes are listed beside the bars.
	listedChanges = 12
)

// text makes text of others safe to show.
func text(s string) string { return probe.Ellipsis(probe.Clean(s), maxText) }

// elementID is stable for a name, and holds nothing of it.
func elementID(kind, name string) string {
	h := fnv.New64a()
	h.Write([]byte(name))
	return fmt.Sprintf("%s-%016x", kind, h.Sum64())
}

// newView decides what is to be seen. What the program itself suffers from is
// a problem; nil for none.
func newView(o watchdog.Overview, about About, problem error) view {
	now := o.At
	v := view{About: About{text(about.Host), text(about.Version)}, Now: at(now, now), Legend: []timeline.State{timeline.Healthy, timeline.Starting, timeline.Stopped, timeline.Restarting, timeline.Held, timeline.Unhealthy, timeline.GivenUp, timeline.Unknown}}
	states := map[string]timeline.State{}
	counts := map[timeline.State]int{}
	bad := 0
	for _, s := range o.Services {
		state := timeline.Of(phaseOf(s.Phase), s.Health)
		states[s.Service] = state
		counts[state]++
		if state >= timeline.Restarting {
			bad++
			v.State = max(v.State, state)
		}
	}
	for _, state := range slices.Backward(v.Legend) {
		if counts[state] > 0 {
			v.Counts = append(v.Counts, count{state, counts[state]})
		}
	}
	switch {
	case !o.EngineLost.IsZero():
		v.State, v.Verdict = timeline.Unknown, "The container engine cannot be reached since "+at(o.EngineLost, now).Text+": what is below may be old, and nothing is restarted"
	case len(o.Services) == 0:
		v.State, v.Verdict = timeline.Unknown, "Nothing is watched: label a container watchdog.enable=true, or name it in --services"
	case bad == 0:
		v.State, v.Verdict = timeline.Healthy, "No service needs anything"
	case len(o.Services) == 1:
		v.Verdict = "The one service that is watched is not healthy"
	case bad == 1:
		v.Verdict = fmt.Sprintf("1 of %d services is not healthy", len(o.Services))
	default:
		v.Verdict = fmt.Sprintf("%d of %d services are not healthy", bad, len(o.Services))
	}
	if problem != nil {
		v.Warnings = append(v.Warnings, "The watchdog itself is not healthy: "+text(problem.Error()))
	}
	if o.Overloaded {
		v.Warnings = append(v.Warnings, "The host is overloaded: nothing is restarted until that is over")
	}
	if o.DryRun {
		v.Warnings = append(v.Warnings, "--dry-run: the watchdog only reports what it would do")
	}
	v.Title = v.Verdict
	if len(v.Title) > 60 {
		v.Title, _, _ = strings.Cut(v.Title, ":")
	}
	shown := chosen(o.Services, states)
	v.Omitted = len(o.Services) - len(shown)
	links := map[string]string{}
	for _, s := range shown {
		sv := newServiceView(s, states[s.Service], o, now)
		links[s.Service] = sv.ID
		v.Services = append(v.Services, sv)
	}
	for _, inc := range incidents(o.History, o.Incidents) {
		v.Incidents = append(v.Incidents, newIncidentView(inc, links, now))
	}
	return v
}

// chosen are the services to show, by name: where there are too many, those
// that are healthy are left out first.
func chosen(all []recovery.ServiceStatus, states map[string]timeline.State) []recovery.ServiceStatus {
	if len(all) <= maxServices {
		return all
	}
	worst := slices.Clone(all)
	slices.SortStableFunc(worst, func(a, b recovery.ServiceStatus) int { return cmp.Compare(states[b.Service], states[a.Service]) })
	worst = worst[:maxServices]
	slices.SortFunc(worst, func(a, b recovery.ServiceStatus) int { return strings.Compare(a.Service, b.Service) })
	return worst
}

// phaseOf is the phase of a status.
func phaseOf(name string) recovery.Phase {
	for _, p := range recovery.Phases {
		if p.String() == name {
			return p
		}
	}
	return recovery.Idle
}

func newServiceView(s recovery.ServiceStatus, state timeline.State, o watchdog.Overview, now time.Time) serviceView {
	v := serviceView{ID: elementID("s", s.Service), Name: text(s.Service), State: state, Next: next(s, state, now), Cause: text(s.Cause)}
	if !s.PausedUntil.IsZero() {
		v.Paused = "paused until " + at(s.PausedUntil, now).Text + ": " + text(s.Paused)
	}
	line := o.Lines[s.Service]
	segments := line.Segments(now.Add(-timeline.Span), now)
	v.Bars, v.Summary = bars(segments, now), summary(segments)
	for _, seg := range slices.Backward(segments) {
		if len(v.Changes) == listedChanges {
			break
		}
		if seg.State != timeline.Unknown {
			v.Changes = append(v.Changes, changeView{seg.State, at(seg.From, now), length(seg.To.Sub(seg.From))})
		}
	}
	v.Facts = []fact{{"container", text(s.Container)}, {"id", text(s.ID)}, {"health", text(s.Health)}, {"phase", text(s.Phase)}, {"attempts", fmt.Sprintf("%d of %d", s.Attempts, s.MaxAttempts)}}
	if !s.HealthySince.IsZero() {
		v.Facts = append(v.Facts, fact{"healthy since", at(s.HealthySince, now).Text})
	}
	if !s.LastRestart.IsZero() {
		v.Facts = append(v.Facts, fact{"last restart", at(s.LastRestart, now).Text})
	}
	for _, c := range o.Checks[s.Service] {
		v.Checks = append(v.Checks, newCheckView(v.ID, c, now))
	}
	return v
}

// next says what will happen by itself, and when.
func next(s recovery.ServiceStatus, state timeline.State, now time.Time) string {
	due := func(prefix, suffix string) string {
		if s.Due.IsZero() {
			return ""
		}
		return prefix + at(s.Due, now).Text + " (" + in(s.Due, now) + ")" + suffix
	}
	switch phaseOf(s.Phase) {
	case recovery.Waiting:
		step := fmt.Sprintf("restart %d of %d", s.Attempts+1, s.MaxAttempts)
		switch s.Next {
		case recovery.RemedyStop:
			step = "it is stopped"
		case recovery.RemedyNotify:
			step = "people are notified"
		case recovery.RemedyRestart:
			if s.Waits != "" {
				step = "restart after " + text(s.Waits)
			}
		}
		if !s.PausedUntil.IsZero() {
			return step + ", not before " + at(s.PausedUntil, now).Text
		}
		if !s.Due.After(now) {
			return step + ", as soon as the limits allow"
		}
		return step + due(" at ", "")
	case recovery.Restarting:
		return fmt.Sprintf("the engine restarts it (%d of %d)", s.Attempts, s.MaxAttempts)
	case recovery.Launching:
		return "the engine starts it, after a restart that failed half-way"
	case recovery.Verifying:
		return "its next probes decide" + due(", by ", " at the latest")
	case recovery.Held:
		then := "; restarted at "
		switch s.Next {
		case recovery.RemedyStop:
			then = "; stopped at "
		case recovery.RemedyNotify:
			then = "; people are notified at "
		case recovery.RemedyRestart:
		}
		return "waits for " + cmp.Or(text(s.Waits), "what it needs") + due(then, " at the latest")
	case recovery.Rehearsed:
		return "nothing: with --dry-run it is only reported"
	case recovery.ShuttingDown:
		return "the engine stops it, as its policy says"
	case recovery.ShutDown:
		return "nothing: its policy keeps it down until it is started, recreated, or reset: watchdog reset " + text(s.Container)
	case recovery.GivenUp:
		return "nothing, until it is healthy, recreated, or reset: watchdog reset " + text(s.Container)
	case recovery.Idle:
	}
	switch state {
	case timeline.Starting:
		return "its first probes decide"
	case timeline.Stopped:
		return "nothing: it is " + text(s.Health)
	case timeline.Healthy:
		if s.Attempts > 0 {
			return "its attempts are cleared when it has been healthy for long enough"
		}
		return "nothing"
	}
	return "nothing is due"
}

// leastWidth is how wide a bar is at least, in percent of a day, so that a
// restart of seconds is seen.
const leastWidth = 0.4

// bars are the segments of the last day. What is worse is painted over what is
// better, and the present over all.
func bars(segments []timeline.Segment, now time.Time) []bar {
	ordered := slices.Clone(segments)
	slices.SortStableFunc(ordered[:max(0, len(ordered)-1)], func(a, b timeline.Segment) int { return cmp.Compare(a.State, b.State) })
	begin := now.Add(-timeline.Span)
	percent := func(d time.Duration) float64 { return 100 * float64(d) / float64(timeline.Span) }
	var out []bar
	for _, s := range ordered {
		x, w := percent(s.From.Sub(begin)), percent(s.To.Sub(s.From))
		if s.State >= timeline.Restarting && w < leastWidth {
			x, w = min(x, 100-leastWidth), leastWidth
		}
		out = append(out, bar{s.State, decimal(x) + "%", decimal(w) + "%",
			fmt.Sprintf("%s, %s to %s (%s)", s.State, at(s.From, now).Text, at(s.To, now).Text, length(s.To.Sub(s.From)))})
	}
	return out
}

// summary says in words what the bars show.
func summary(segments []timeline.Segment) string {
	total := map[timeline.State]time.Duration{}
	for _, s := range segments {
		total[s.State] += s.To.Sub(s.From)
	}
	var parts []string
	for state := timeline.GivenUp; ; state-- {
		if total[state] > 0 {
			parts = append(parts, state.String()+" "+length(total[state]))
		}
		if state == timeline.Unknown {
			break
		}
	}
	return "last 24 hours: " + strings.Join(parts, ", ")
}

const sparkWidth, sparkHeight = 60, 16

// checkWords are how a check ended, and the class of its element.
var checkWords = map[probe.Status]struct{ word, class string }{
	probe.OK: {"ok", "healthy"}, probe.Warn: {"warning", "warning"}, probe.Fail: {"failed", "unhealthy"}, probe.Skip: {"not run", "unknown"},
}

func newCheckView(service string, c watchdog.Check, now time.Time) checkView {
	w := checkWords[c.Status]
	v := checkView{ID: elementID(service, c.Check), Name: text(c.Check), Status: w.word, Class: w.class}
	show := decimal
	if c.Value == nil {
		show = func(seconds float64) string {
			return probe.Round(time.Duration(seconds * float64(time.Second))).String()
		}
		v.Figure = show(c.Duration.Seconds())
	} else {
		v.Figure = show(*c.Value)
		if c.Limit != nil {
			v.Figure += " (limit " + decimal(*c.Limit) + ")"
		}
	}
	points := c.Trend.Points(now)
	if len(points) == 0 {
		v.Summary = "no figures in the last hour"
		return v
	}
	low, high := points[0].Value, points[0].Value
	for _, p := range points {
		low, high = min(low, p.Value), max(high, p.Value)
	}
	v.Summary = fmt.Sprintf("last hour: lowest %s, highest %s", show(low), show(high))
	bottom, top := min(0, low), high
	if c.Value != nil && c.Limit != nil {
		top = max(top, *c.Limit)
		v.Limit = decimal(height(*c.Limit, bottom, top))
	}
	var line []string
	for _, p := range points {
		x := sparkWidth * (1 - float64(p.Age)/float64(timeline.TrendSpan))
		line = append(line, decimal(x)+","+decimal(height(p.Value, bottom, top)))
	}
	if v.Points = strings.Join(line, " "); len(line) == 1 {
		x, y, _ := strings.Cut(line[0], ",")
		v.Dot = &dot{x, y}
	}
	return v
}

// height is where a value lies in the box of a spark line, from its top; a
// pixel stays free above and below.
func height(v, bottom, top float64) float64 {
	if top <= bottom {
		return sparkHeight - 1
	}
	return 1 + (sparkHeight-2)*(1-(v-bottom)/(top-bottom))
}

func newIncidentView(inc incident, links map[string]string, now time.Time) incidentView {
	v := incidentView{ID: elementID("i", inc.Subject+inc.Opened.UTC().Format(time.RFC3339Nano)), Open: inc.Open, Severity: text(string(inc.Severity)), Link: links[inc.Service],
		What: text(inc.What), When: at(inc.Opened, now), Subject: text(cmp.Or(inc.Service, strings.TrimPrefix(inc.Subject, "service ")))}
	for _, id := range inc.Evidence {
		v.Evidence = append(v.Evidence, text(id))
	}
	add := func(name, value string) {
		if value != "" {
			v.Facts = append(v.Facts, fact{name, text(value)})
		}
	}
	switch {
	case inc.Open:
		v.Lasted = "for " + length(now.Sub(inc.Opened))
	case !inc.Closed.IsZero():
		v.Lasted = "lasted " + length(inc.Closed.Sub(inc.Opened))
	default:
		v.Lasted = "its end is not known"
	}
	cause := inc.Cause // without the count of probes, which grows
	if _, found, ok := strings.Cut(cause, " in a row: "); ok {
		cause = found
	}
	if !strings.Contains(inc.What, cause) {
		add("cause", inc.Cause)
	}
	if inc.Attempts > 0 {
		add("attempts", strconv.Itoa(inc.Attempts))
	}
	add("ended", inc.Outcome)
	return v
}

// at is a time of the local clock; the day only where it is another one.
func at(t, now time.Time) moment {
	t, now = t.Local(), now.Local()
	layout := "15:04:05"
	if t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		layout = "2 Jan 15:04:05"
	}
	return moment{t.Format(layout), t.Format(time.RFC3339)}
}

// in is how far ahead a time is.
func in(t, now time.Time) string { return "in " + length(max(0, t.Sub(now))) }

// length is a duration for people, in two units at most.
func length(d time.Duration) string {
	d = d.Round(time.Second)
	units := []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.d && u.d > time.Second {
			continue
		}
		out := strconv.FormatInt(int64(d/u.d), 10) + " " + u.name
		if i+1 < len(units) && d%u.d >= units[i+1].d {
			out += " " + strconv.FormatInt(int64(d%u.d/units[i+1].d), 10) + " " + units[i+1].name
		}
		return out
	}
	return ""
}

// decimal is a number with two places at most, for people and for SVG.
func decimal(v float64) string {
	if math.Abs(v) >= 1e9 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	out := strconv.FormatFloat(v, 'f', 2, 64)
	return strings.TrimRight(strings.TrimRight(out, "0"), ".")
}
