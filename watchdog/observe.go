package watchdog

import (
	"context"
	"errors"
	"slices"
	"time"

	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
)

// maxInspections is how many containers are inspected at once.
const maxInspections = 8

// inspections are those in flight and those that wait, one per container at
// most.
type inspections struct {
	asked   map[string]asked // by id
	waiting []string         // in their order
	running int
}

// asked is how far an inspection is.
type asked int

const (
	waits asked = iota
	runs
	runsAgain // it is repeated when it ends
)

func newInspections() inspections {
	return inspections{asked: map[string]asked{}}
}

// ask notes an inspection. One that is in flight is repeated; one that waits is
// not, since what it will see is newer than what was asked for.
func (i *inspections) ask(id string) {
	if is, known := i.asked[id]; !known {
		i.asked[id] = waits
		i.waiting = append(i.waiting, id)
	} else if is == runs {
		i.asked[id] = runsAgain
	}
}

// next is the one to begin now; false where none waits, or too many run.
func (i *inspections) next() (id string, ok bool) {
	if len(i.waiting) == 0 || i.running >= maxInspections {
		return "", false
	}
	id, i.waiting = i.waiting[0], i.waiting[1:]
	i.running++
	i.asked[id] = runs
	return id, true
}

// end notes the end of one, and says whether to repeat it.
func (i *inspections) end(id string) (again bool) {
	i.running--
	again = i.asked[id] == runsAgain
	delete(i.asked, id)
	return again
}

// event takes a message of the engine. Whatever it says, the container is
// inspected: the event may be late, doubled, or out of order.
func (d *Daemon) event(m docker.Message, now time.Time) {
	d.events.lastEvent = now
	switch m.Action {
	case "kill":
		d.apply(recovery.Signalled{ID: m.ID, Signal: m.Signal, At: m.At}, now)
		return // its end brings an event of its own
	case "stop":
		d.apply(recovery.StopDone{ID: m.ID, At: m.At}, now)
		return // it comes behind the end
	case "die":
		d.apply(recovery.Exited{ID: m.ID, ExitCode: m.ExitCode, At: m.At}, now)
	case "destroy":
		d.apply(recovery.Destroyed{ID: m.ID}, now)
		return
	case "health_status", "start", "pause", "unpause", "rename":
	default:
		return
	}
	d.inspect(m.ID)
}

// inspect asks the engine for a container's state.
func (d *Daemon) inspect(id string) {
	d.inspections.ask(id)
	d.beginInspections()
}

// beginInspections lets those go that wait, in their order.
func (d *Daemon) beginInspections() {
	for {
		id, ok := d.inspections.next()
		if !ok {
			return
		}
		d.beginInspection(id)
	}
}

func (d *Daemon) beginInspection(id string) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		begin := time.Now()
		c, err := d.Engine.Inspect(ctx, id)
		took := time.Since(begin)
		cancel()
		d.inbox.post(func(now time.Time) {
			again := d.inspections.end(id)
			if err == nil || took >= callTimeout { // what is refused at once says nothing
				d.apply(recovery.EngineCall{Took: took, Idle: d.Host.Idle(now)}, now)
			}
			switch {
			case errors.Is(err, docker.ErrGone):
				d.apply(recovery.Destroyed{ID: id}, now)
			case err != nil:
				d.Log.Warn("a container cannot be inspected; the next reconciliation tries again", "event", recovery.EventInspectFailed, "id", recovery.ShortID(id), "error", err)
			default:
				d.followers = d.followers || c.MayFollow()
				d.apply(recovery.Seen{Container: c}, now)
				d.warnOfEnviron(c)
				d.noteFigures(c, now)
			}
			delete(d.looking, id)
			if again {
				d.inspections.ask(id)
			}
			d.beginInspections()
			d.goOnline(now)
		})
	}()
}

// list asks for all containers and compares.
func (d *Daemon) list(ctx context.Context) {
	if d.listing {
		return
	}
	d.listing = true
	go func() {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		all, err := d.Engine.List(call)
		cancel()
		d.inbox.post(func(now time.Time) {
			d.listing = false
			switch {
			case ctx.Err() != nil:
			case err != nil:
				d.retryList(ctx, err, now)
			default:
				d.listed(all, now)
			}
		})
	}()
}

// retryList tries again with growing pauses, with one timer for all failures.
// What is wrong is logged when it changes.
func (d *Daemon) retryList(ctx context.Context, err error, now time.Time) {
	c := &d.connection
	c.lose(now)
	if text := err.Error(); text != c.failure {
		c.failure = text
		d.Log.Warn("the containers cannot be listed; it is tried again", "event", recovery.EventListFailed, "error", err)
	}
	d.checkLost(now)
	c.retry = min(max(2*c.retry, time.Second), lastRetry)
	if c.due != nil {
		c.due.Stop()
	}
	c.due = time.AfterFunc(c.retry, func() { d.inbox.post(func(time.Time) { d.list(ctx) }) })
}

// listed compares a list with what is known, and inspects what the list does
// not say enough of.
func (d *Daemon) listed(all []recovery.Container, now time.Time) {
	first := !d.connection.lost.IsZero()
	d.connection.retry, d.connection.failure = 0, ""
	shown := d.connection.downSince()
	if d.connection.found() {
		d.decided(now, recovery.Action{Kind: recovery.DoAlert, Event: recovery.EventEngineBack, Severity: recovery.Info, Closes: true, Text: "the engine is back"})
	}
	if !shown.IsZero() {
		d.changed()
	}
	d.followers = slices.ContainsFunc(all, recovery.Container.MayFollow)
	d.apply(recovery.Listed{All: all}, now)
	d.announce(all)
	for _, c := range all {
		if d.machine.NeedsLook(c) {
			if first {
				d.looking[c.ID] = true
			}
			d.inspect(c.ID)
		} else if d.wantsFigures(c) {
			d.inspect(c.ID)
		}
	}
	d.forgetFigures(all)
	if !first {
		for _, id := range d.machine.Audit(auditEach) {
			d.inspect(id)
		}
		return
	}
	for _, s := range d.cutOff {
		d.endCutOff(s)
	}
	d.cutOff = nil
	d.connection.listed = true
	d.goOnline(now)
}

// errCutOff is the end of a call that an earlier run of this program made.
var errCutOff = errors.New("the watchdog was ended while it waited")

// replayTime is how long the engine may take to repeat the events of the time
// in which nobody watched: they say whether a call of ours or a person stopped
// what is down.
const replayTime = time.Second

// endCutOff finds out what became of a call that an earlier run made.
func (d *Daemon) endCutOff(s *recovery.Service) {
	id, key := s.ID, s.Key
	d.looking["call "+id] = true
	go func() {
		<-time.After(replayTime)
		ended := d.look(recovery.CallEnded{Key: key, Err: errCutOff}, id)
		d.inbox.post(func(now time.Time) {
			if ended.Seen != nil && d.machine.StillStopping(key, *ended.Seen, now) {
				d.endCutOff(s)
			} else {
				d.apply(ended, now)
			}
			delete(d.looking, "call "+id)
			d.goOnline(now)
		})
	}()
}

// goOnline lets the machine decide once all that was listed is inspected.
func (d *Daemon) goOnline(now time.Time) {
	if d.connection.listed && len(d.looking) == 0 {
		d.connection.listed = false
		d.apply(recovery.Online{}, now)
	}
}
