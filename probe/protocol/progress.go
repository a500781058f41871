package protocol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/kept"
)

// A model server whose engine hangs goes on answering /health: that tells of the
// process in front of the engine. What tells of the engine is its own counter of
// steps: a probe compares it with what earlier ones found.

// role is what a series tells of an engine.
type role uint8

const (
	// stepRole is the engine's own counter of what it has done, moveRole another
	// figure that nothing but a step changes, be it a counter or a gauge.
	stepRole role = 1 << iota
	moveRole
	// pendingRole counts requests that wait or run, or calls that have begun, and
	// doneRole calls that have ended.
	pendingRole
	doneRole
	// begunRole counts requests of a whole server as they come, endedRole as they
	// go. One that breaks off may be missing among the latter for ever, so that
	// only those are pending that have come since the engine last moved.
	begunRole
	endedRole
)

// engineMetrics says what the page of one kind of server tells.
type engineMetrics struct {
	// series begin with the one of stepRole.
	series []engineSeries
	// engine is the label that tells the engines of one server apart.
	engine string
	// endpoints are those whose requests are counted by begunRole and endedRole.
	endpoints []string
	// loop says that the engine's own loop writes the page, so that none comes
	// while it hangs.
	loop bool
	// late says that a series is missing before its first request.
	late bool
	// left says that the page may tell of requests whose clients have hung up,
	// until the engine makes its next step.
	left bool
	// hint says how a server has the page.
	hint string
}

// engineSeries is one series and its roles.
type engineSeries struct {
	name string
	role role
}

// figures are what one page tells of one engine.
type figures struct {
	engine        string // its name; empty for the whole server
	steps, moves  float64
	pending, open float64 // requests; open are those of begunRole without endedRole
	known         bool    // steps or pending are on the page
}

// roles are those that add to the four figures, and that are taken off them.
var roles = [4]struct{ plus, minus role }{{plus: stepRole}, {plus: moveRole}, {pendingRole, doneRole}, {begunRole, endedRole}}

// maxEngines bounds what is kept of one server, and maxEngine the name of one of
// them, in bytes.
const maxEngines, maxEngine = 100, 64

// parse adds up the series of a page by engine: of one, or where none is named,
// of all. An engine without a name stands for the whole server, and is the first.
func (m *engineMetrics) parse(page io.Reader, only string) ([]figures, error) {
	seen := make([]figures, 1, 4)
	counts := false
	err := readPage(page, func(name, labels string, value float64) error {
		var is role
		for _, s := range m.series {
			if s.name == name {
				is = s.role
			}
		}
		engine, at := "", 0
		switch {
		case is == 0:
			return nil
		case is < begunRole:
			if engine = labelOf(labels, m.engine); only != "" && engine != only {
				return nil
			}
			engine = probe.Cut(engine, maxEngine)
		case !slices.Contains(m.endpoints, labelOf(labels, "endpoint")):
			return nil
		}
		for at < len(seen) && seen[at].engine != engine {
			at++
		}
		switch at {
		case maxEngines:
			return fmt.Errorf("it tells of %d engines or more", maxEngines)
		case len(seen):
			seen = append(seen, figures{engine: engine})
		}
		f := &seen[at]
		for i, to := range []*float64{&f.steps, &f.moves, &f.pending, &f.open} {
			if is&roles[i].plus != 0 {
				*to += value
			}
			if is&roles[i].minus != 0 {
				*to -= value
			}
		}
		counts = counts || is >= begunRole
		f.known = f.known || is&(stepRole|pendingRole) != 0
		return nil
	})
	var known []figures
	for i := range seen {
		f := &seen[i]
		if i == 0 && counts { // of the whole server, to be compared with all of its steps
			for _, other := range seen[1:] {
				f.steps, f.moves, f.known = f.steps+other.steps, f.moves+other.moves, true
			}
		}
		if f.known {
			known = append(known, *f)
		}
	}
	return known, err
}

// track is what is kept of one engine.
type track struct {
	Engine       string
	Steps, Moves float64
	// Open were begun and not ended when the engine last moved.
	Open float64
	// Since is when work was first seen to be pending at these Steps, as
	// kept.Moment has it, and Probes how many probes have seen that; 0: none.
	Since  int64
	Probes int
	// again says that an earlier probe knew the engine, moved that it has moved
	// since.
	again, moved bool
}

// next is the track after a probe that saw f.
func (t track) next(f figures, at int64) track {
	if f.steps != t.Steps || f.moves != t.Moves {
		// It moved, or the server was restarted and counts anew.
		t = track{Engine: f.engine, Steps: f.steps, Moves: f.moves, Open: f.open, again: true, moved: true}
	}
	t.Open = min(t.Open, f.open)
	if f.waiting(&t) > 0 {
		return t.still(at)
	}
	t.Since, t.Probes = 0, 0
	return t
}

// still is the track after a probe that found work pending and no step.
func (t track) still(at int64) track {
	if t.Since == 0 {
		t.Since = at
	}
	t.Probes++
	return t
}

// waiting is how many requests are pending.
func (f *figures) waiting(t *track) float64 { return max(f.pending, f.open-t.Open, 0) }

// progressVersion changes with what tracks mean.
const progressVersion = 1

// tracks are what is kept of a server.
type tracks struct {
	Version   int
	Container string // resource.Container's
	kept.Moment
	Engines []track
}

// after is the track of an engine in old as far as that tells anything at the
// moment of now: written in this boot and by this container, not in the future,
// and no longer ago than gap. Nobody knows what happened in a longer time, such
// as a suspended machine's.
func (now *tracks) after(old *tracks, gap time.Duration, engine string) (t track, ok bool) {
	age := now.At - old.At
	if old.Version != now.Version || old.Container != now.Container || old.Boot != now.Boot || old.At < 0 || age < 0 || age > int64(gap) {
		return t, false
	}
	for _, t := range old.Engines {
		if t.Engine == engine {
			return t, t.Since >= 0 && t.Since <= old.At && t.Probes >= 0
		}
	}
	return t, false
}

// see takes in what a page told, after what was kept in old. Engines that are
// gone are forgotten.
func (now *tracks) see(old *tracks, gap time.Duration, seen []figures) {
	for _, f := range seen {
		t, ok := now.after(old, gap, f.engine)
		if t.again, t.moved = ok, false; !ok {
			t = track{Engine: f.engine, Steps: f.steps, Moves: f.moves, Open: f.open}
		}
		now.Engines = append(now.Engines, t.next(f, now.At))
	}
}

// unanswered takes in that an engine's own loop did not write its page.
func (now *tracks) unanswered(old *tracks, gap time.Duration) {
	t, _ := now.after(old, gap, "")
	t.again = true // where nobody writes the page, somebody works
	now.Engines = []track{t.still(now.At)}
}

// longest is the engine that has stood for the longest time with work pending,
// as at least two probes saw: its index, and the time.
func (now *tracks) longest() (worst int, stands time.Duration) {
	for i, t := range now.Engines {
		if d := time.Duration(now.At - t.Since); t.Probes >= 2 && d > stands {
			worst, stands = i, d
		}
	}
	return worst, stands
}

// busy says that the figures tell enough of the engines, so that no canary needs
// to: each has moved since the last probe, or has work pending, which stall=
// judges.
func (now *tracks) busy() bool {
	for _, t := range now.Engines {
		if !t.again || !t.moved && t.Probes == 0 {
			return false
		}
	}
	return true
}

// progress is how a target wants the progress of its server judged.
type progress struct {
	*engineMetrics // nil: nothing tells of it
	service        *service
	only           string        // the engine that is judged; empty: all
	at             *url.URL      // of the page; nil: where the service is
	stall          time.Duration // 0: off
	asked          bool          // stall= was given
	withKey        bool
	kept           kept.Dir
	container      func() string
	gap            time.Duration // see tracks.after
}

// unjudged begins what is said where there is nothing to judge by.
const unjudged = "progress is not judged: "

// load begins what is kept at this moment, and reads what earlier probes kept.
func (p *progress) load(now, old *tracks) (err error) {
	now.Version, now.Container = progressVersion, p.container()
	if now.Moment, err = kept.Now(); err == nil {
		var text []byte
		if text, err = p.kept.Load(p.thing()); json.Unmarshal(text, old) != nil {
			*old = tracks{} // nothing, or garbage of our own: it begins anew
		}
	}
	return err
}

// thing is the server that figures are kept of.
func (p *progress) thing() string { return p.service.target.Name + "=" + p.service.target.String() }

func (p *progress) save(now *tracks) error {
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return p.kept.Save(p.thing(), text)
}

// forget drops what is kept, once a probe has seen that the server starts anew.
func (p *progress) forget() {
	if p.stall > 0 && p.kept.Path != "" {
		_ = p.save(&tracks{})
	}
}

// cannot is what is said where progress cannot be judged: a failure where the
// target has a stall=.
func (p *progress) cannot(why string) (text string, busy bool, err error) {
	if p.asked {
		return "", false, probe.WithClass(p.service.target.Errorf(probe.StageStatus, "%s%s; stall= asks for that", unjudged, why), probe.Config)
	}
	return unjudged + why, false, nil
}

// judge compares what the server's page tells with what earlier probes saw. Busy
// is as that of tracks; canary asks for a token, or is nil.
func (p *progress) judge(c *serviceSession, canary func() (string, error)) (text string, busy bool, err error) {
	switch {
	case p.stall == 0:
		return "", false, nil
	case p.kept.Path == "":
		return p.cannot("nothing is kept between runs (--state-dir none)")
	}
	var now, old tracks
	if err := p.load(&now, &old); err != nil {
		return p.cannot(err.Error())
	}
	r, seen, slow, err := p.read(c)
	switch {
	case slow && p.loop && p.asked:
		seen = nil // that tells by itself, and a part of the page nothing
	case slow, probe.StageOf(err) == probe.StageBody:
		c.warn = true
		return unjudged + err.Error(), false, nil
	case err == nil && len(seen) > 0:
	case err == nil && p.late:
		return unjudged + "no figures yet", false, nil
	case err != nil && p.withKey && probe.StageOf(err) == probe.StageAuth:
		return "", false, err
	default:
		return p.cannot(p.hint)
	}
	if slow {
		now.unanswered(&old, p.gap)
	} else {
		now.see(&old, p.gap, seen)
	}
	if err := p.save(&now); err != nil {
		return p.cannot(err.Error())
	}
	worst, stands := now.longest()
	text = p.said(&now.Engines[worst], seen, stands)
	if stands >= p.stall {
		text, err = p.stalled(c, r, text, canary, len(now.Engines) == 1)
		return text, false, err
	}
	if old.Version != 0 && now.At-old.At > int64(p.gap) {
		text += ", and no probe came within the last ten of its --interval"
	}
	return text, now.busy(), nil
}

// stalled judges that an engine makes no step. Where its page may tell of
// requests that are gone, a token tells whether it can, unless another engine may
// have given it.
func (p *progress) stalled(c *serviceSession, r serviceReply, text string, canary func() (string, error), alone bool) (string, error) {
	hung := c.fail(r, probe.StageLimit, errors.New(text))
	if !p.left {
		return "", hung
	}
	hint := "canary=true tells which"
	if !alone {
		hint = "a stall= in the target fails then"
	}
	if canary != nil {
		said, err := canary()
		switch {
		case probe.StageOf(err) == probe.StageResponse:
			return "", c.fail(r, probe.StageLimit, errors.New(text+", and the canary has no answer"))
		case err != nil:
			return "", err
		case alone && !c.warn:
			return text + ", which nobody waits for any more: " + said, nil
		}
		hint = said
	}
	if p.asked {
		return "", hung
	}
	c.warn = true
	return text + "; it hangs, or their clients hung up: " + hint, nil
}

// said is what was found: of the engine that stands for a time, or else of all.
func (p *progress) said(t *track, seen []figures, stands time.Duration) string {
	var steps, pending float64
	for _, f := range seen {
		if stands > 0 && f.engine == t.Engine {
			pending = f.waiting(t)
		} else if stands == 0 && (f.engine != "" || len(seen) == 1) {
			steps, pending = steps+f.steps, pending+max(f.pending, 0)
		}
	}
	name, requests := p.series[0].name, count(pending)+" pending"
	if stands == 0 {
		return name + " is " + count(steps) + ", " + requests
	}
	if t.Engine != "" {
		name += " of " + p.engine + " " + strconv.Quote(t.Engine)
	}
	over := fmt.Sprintf("for %s, over %d probes (stall=%s): ", probe.Round(stands), t.Probes, p.stall)
	if seen == nil {
		return "no answer " + over + "the loop that decodes writes this page"
	}
	return "no step " + over + name + " stands at " + count(t.Steps) + " with " + requests
}

func count(v float64) string { return strconv.FormatFloat(v, 'g', 15, 64) }

// read asks for the page, within half of the time that is left: what else the
// check found is worth more than its answer. Slow says that it took longer.
func (p *progress) read(c *serviceSession) (r serviceReply, seen []figures, slow bool, err error) {
	c.close()
	ctx := c.ctx
	if end, ok := ctx.Deadline(); ok {
		limit := (time.Until(end) / 2).Round(time.Millisecond)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, probe.Timeout(limit))
		defer cancel()
	}
	page := &serviceSession{service: p.service, at: p.at, ctx: ctx}
	defer page.close()
	page.scan = func(body io.Reader) (err error) {
		seen, err = p.parse(body, p.only)
		return err
	}
	r, err = page.get("/metrics")
	return r, seen, err != nil && ctx.Err() != nil, err
}
