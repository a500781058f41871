package watchdog

import (
	"context"
	"errors"
	"time"

	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

const (
	// killWait and startWait are what the engine may take on top of the stop
	// timeout (moby, daemon/stop.go: 12 s of waits after the kill; a start
	// pulls mounts and networks together).
	killWait  = 12 * time.Second
	startWait = 60 * time.Second
	// EngineStopTimeout is the engine's own default.
	EngineStopTimeout = 10 * time.Second
	// longestRestart bounds a restart whose stop timeout is infinite.
	longestRestart = time.Hour
	// saveWait is how long a decision waits for the disk.
	saveWait = 2 * time.Second
	// saveShare is how many times as long as the last save took the next one
	// waits, but for a restart, and longestGap how long at most: when many
	// containers fail at once, a save of all of them for each would be most of the
	// work.
	saveShare  = 3
	longestGap = time.Second
)

// decision is an action of the machine, and when it was decided.
type decision struct {
	action recovery.Action
	at     time.Time
}

// saves are what was decided and is not yet reported, saved and acted on. What
// is lost of it in a crash was never said: the next run decides anew, by the
// events since the last save.
type saves struct {
	dirty   bool // something is worth saving
	waiting []decision
	from    time.Time   // when the next save may be
	timer   *time.Timer // set where one waits
	made    int
}

// pace is when the machine looks at all services again. Where that takes long,
// as when thousands have failed, it is not done for each message.
type pace struct {
	due  bool      // a message was taken since
	from time.Time // not before
	next time.Time // when time alone changes something; zero for never
}

const (
	// quickSettle is what is done for each message. What takes longer is done
	// again after settleShare times as long.
	quickSettle = time.Millisecond
	settleShare = 3
)

// apply lets the machine decide.
func (d *Daemon) apply(msg recovery.Message, now time.Time) {
	actions := d.machine.Take(msg, now)
	p := &d.pace
	if p.due = now.Before(p.from); !p.due {
		begin := time.Now()
		actions = append(actions, d.machine.Settle(now)...)
		p.next = d.machine.Next(now)
		if took := time.Since(begin); took > quickSettle {
			p.from = time.Now().Add(settleShare * took)
		}
	}
	d.noteTimelines(msg, actions, now)
	if d.machine.Changed() || len(actions) > 0 {
		d.decided(now, actions...)
	}
}

// decided takes decisions, and whatever else is worth saving. What restarts a
// container is carried out at once, and all that was decided before it.
func (d *Daemon) decided(now time.Time, actions ...recovery.Action) {
	s := &d.saves
	s.dirty = true
	urgent := !now.Before(s.from)
	for i, a := range actions {
		switch a.Kind {
		case recovery.DoLook: // others may be waiting for what is seen
			for _, id := range a.IDs {
				d.inspect(id)
			}
			continue
		case recovery.DoGather:
			// Two restarts at one time are named apart.
			a.Evidence = store.EvidenceID(now.Add(time.Duration(i)))
			d.gather(a)
			continue
		case recovery.DoRestart, recovery.DoStart, recovery.DoStop:
			urgent = true
		}
		s.waiting = append(s.waiting, decision{a, now})
	}
	if urgent {
		d.settle(now)
	} else {
		s.timer.Reset(s.from.Sub(now))
	}
}

// settle carries out what was decided. A decision is logged before it is saved,
// and saved before it is acted on: a restart that was not saved could be made
// again after a crash.
func (d *Daemon) settle(now time.Time) {
	s := &d.saves
	if !s.dirty {
		return
	}
	all := s.waiting
	s.dirty, s.waiting = false, nil
	s.made++
	for i := range all {
		d.report(&all[i].action, all[i].at)
	}
	begin := time.Now()
	d.save(now)
	gap := max(d.SaveGap, min(saveShare*time.Since(begin), longestGap))
	s.from = time.Now().Add(gap)
	for _, decided := range all {
		switch a := decided.action; a.Kind {
		case recovery.DoRestart, recovery.DoStart, recovery.DoStop:
			d.restart(a)
		case recovery.DoCascade:
			d.cascade(a)
		}
	}
}

// report logs a decision, keeps it in the history, and passes alerts on to the
// receivers.
func (d *Daemon) report(a *recovery.Action, now time.Time) {
	switch a.Kind {
	case recovery.DoCascade:
		return
	case recovery.DoForget:
		d.journal.forget(a.Key)
		delete(d.lines, a.Key)
		return
	}
	if a.Kind == recovery.DoAlert && a.Severity != recovery.Info {
		a.Lines = d.lines[a.Key]
	}
	if a.Closes {
		delete(d.lines, a.Key)
	}
	if a.Event == recovery.EventOverloaded && d.Host != nil {
		if load := d.Host.Load(); load != "" {
			a.Text += " (" + load + ")"
		}
	}
	d.log(*a)
	d.journal.record(*a, now)
	if a.Kind == recovery.DoAlert && d.Alerts != nil {
		d.Alerts.Alert(*a)
	}
}

// save writes the state and what the history has more; an error is logged when
// it is a new one, and the work goes on in memory.
func (d *Daemon) save(now time.Time) {
	state := store.State{Saved: now, Since: d.events.since(), Services: d.machine.PersistentServices(), Restarts: d.machine.Restarts, Snoozes: d.machine.Snoozes}
	if d.Alerts != nil {
		state.Alerts = d.Alerts.State()
	}
	data, err := store.Encode(state)
	if err == nil {
		err = d.writer.Save(data, d.journal.take(), saveWait)
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != d.saveError {
		d.Log.Error("the state cannot be saved; it is kept in memory", "event", recovery.EventStateNotSaved, "error", err)
	}
	d.saveError = text
}

// restart restarts, starts or stops a container. The call is never cancelled: one
// that is cut off may leave the container dead.
func (d *Daemon) restart(a recovery.Action) {
	d.restarting++
	go func() {
		ended := d.callRestart(a)
		d.inbox.post(func(now time.Time) {
			d.restarting--
			d.apply(ended, now)
		})
	}()
}

// callRestart makes the call and looks at what became of the container. The
// engine also answers 'no such container' for one whose network the container
// lives in: only an inspection tells whether it is gone itself.
func (d *Daemon) callRestart(a recovery.Action) recovery.CallEnded {
	ended := recovery.CallEnded{Key: a.Key}
	ctx, cancel := context.WithTimeout(context.Background(), restartTime(a))
	defer cancel()
	switch a.Kind {
	case recovery.DoStart:
		ended.Err = d.Engine.Start(ctx, a.ID)
	case recovery.DoStop:
		ended.Err = d.Engine.Stop(ctx, a.ID, a.Policy.StopTimeout)
	default:
		ended.Err = d.Engine.Restart(ctx, a.ID, a.Policy.StopTimeout)
	}
	return d.look(ended, a.ID)
}

// look adds to the end of a call what the container is like now.
func (d *Daemon) look(ended recovery.CallEnded, id string) recovery.CallEnded {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	c, err := d.Engine.Inspect(ctx, id)
	if err == nil {
		ended.Seen = &c
	}
	ended.Missing = errors.Is(err, docker.ErrGone)
	return ended
}

// restartTime is how long the engine may take: longer than the container's
// stop timeout, whoever set it.
func restartTime(a recovery.Action) time.Duration {
	stop := EngineStopTimeout
	for _, t := range []*int{a.Container.StopTimeout, a.Policy.StopTimeout} {
		if t == nil {
			continue
		}
		if *t < 0 {
			return longestRestart
		}
		stop = time.Duration(*t) * time.Second
	}
	return callTime(stop)
}

// callTime is how long the engine may take for a call about a container with
// this stop timeout.
func callTime(stop time.Duration) time.Duration { return min(stop+killWait+startWait, longestRestart) }

// ShutdownTime is the longest that Run takes to end once its context has, while
// it restarts containers with this stop timeout: a restart that is in flight is
// finished, and started behind it where it failed half-way; that is saved, and
// its alerts go out. Without a restart in flight it ends at once.
func ShutdownTime(stop time.Duration) time.Duration {
	const calls, saves = 2, 3
	return calls*(callTime(stop)+callTimeout) + saves*saveWait + alert.DrainTime
}

// cascade asks for the restart of the dependents of a container that has
// recovered.
func (d *Daemon) cascade(a recovery.Action) {
	if !d.followers {
		return // a list of thousands, only to find none
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		all, err := d.Engine.List(ctx)
		if err != nil {
			d.inbox.post(func(time.Time) {
				d.Log.Warn("the dependents cannot be listed", "event", recovery.EventListFailed, "service", a.Key, "error", err)
			})
			return
		}
		found := recovery.Dependents{Of: a.Key}
		for _, dependent := range d.Settings.DependentsOf(all, a.Container) {
			if c, err := d.Engine.Inspect(ctx, dependent.Container.ID); err == nil {
				dependent.Container = c
				found.All = append(found.All, dependent)
			}
		}
		if len(found.All) > 0 {
			d.inbox.post(func(now time.Time) { d.apply(found, now) })
		}
	}()
}
