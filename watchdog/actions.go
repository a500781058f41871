package watchdog

import (
	"context"
	"errors"
	"time"

	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
)

const (
	// killWait and startWait are what the engine may take on top of the stop
	// timeout (moby, daemon/stop.go: 12 s of waits after the kill; a start
	// pulls mounts and networks together).
	killWait  = 12 * time.Second
	startWait = 60 * time.Second
	// engineStopTimeout is the engine's own default.
	engineStopTimeout = 10 * time.Second
	// longestRestart bounds a restart whose stop timeout is infinite.
	longestRestart = time.Hour
)

// apply lets the machine decide and carries out what it decided.
func (d *Daemon) apply(in recovery.Input, now time.Time) {
	before := d.machine.Fingerprint()
	actions := d.machine.Apply(in, now)
	for _, a := range actions {
		d.journal.record(a, now)
	}
	if len(actions) > 0 || d.machine.Fingerprint() != before {
		// Before anything is done: an attempt that was not saved could be made
		// again after a crash.
		d.save(now)
	}
	for _, a := range actions {
		switch a.Kind {
		case recovery.DoRestart, recovery.DoStart:
			d.restart(a)
		case recovery.DoCascade:
			d.cascade(a)
		case recovery.DoAlert:
			d.alert(a)
		default:
			d.log(a)
		}
	}
}

// save writes the state file; an error is logged when it is a new one.
func (d *Daemon) save(now time.Time) {
	err := d.State.Save(d.machine, d.journal.history, now)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != d.saveError {
		d.Log.Error("the state cannot be saved; it is kept in memory", "event", recovery.EventStateNotSaved, "error", err)
	}
	d.saveError = text
}

// restart restarts or starts a container. The call is never cancelled: one
// that is cut off may leave the container dead.
func (d *Daemon) restart(a recovery.Action) {
	d.log(a)
	d.restarting++
	go func() {
		done := recovery.Done{Key: a.Key}
		if !a.Policy.DryRun {
			done = d.callRestart(a)
		}
		d.inbox.post(func(now time.Time) {
			d.restarting--
			d.apply(done, now)
		})
	}()
}

// callRestart makes the call and looks at what became of the container.
func (d *Daemon) callRestart(a recovery.Action) recovery.Done {
	done := recovery.Done{Key: a.Key}
	ctx, cancel := context.WithTimeout(context.Background(), restartTime(a))
	defer cancel()
	if a.Kind == recovery.DoStart {
		done.Err = d.Engine.Start(ctx, a.ID)
	} else {
		done.Err = d.Engine.Restart(ctx, a.ID, a.Policy.StopTimeout)
	}
	if done.Missing = errors.Is(done.Err, docker.ErrGone); done.Missing {
		return done
	}
	look, cancelLook := context.WithTimeout(context.Background(), callTimeout)
	defer cancelLook()
	c, err := d.Engine.Inspect(look, a.ID)
	if err == nil {
		done.Seen = &c
	}
	done.Missing = errors.Is(err, docker.ErrGone)
	return done
}

// restartTime is how long the engine may take: longer than the container's
// stop timeout, whoever set it.
func restartTime(a recovery.Action) time.Duration {
	stop := engineStopTimeout
	for _, t := range []*int{a.Container.StopTimeout, a.Policy.StopTimeout} {
		if t == nil {
			continue
		}
		if *t < 0 {
			return longestRestart
		}
		stop = time.Duration(*t) * time.Second
	}
	return min(stop+killWait+startWait, longestRestart)
}

// cascade asks for the restart of the dependents of a container that has
// recovered.
func (d *Daemon) cascade(a recovery.Action) {
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
		for _, dependent := range recovery.Dependents(all, a.Container) {
			c, err := d.Engine.Inspect(ctx, dependent.ID)
			if err != nil {
				continue
			}
			d.inbox.post(func(now time.Time) { d.apply(recovery.Depends{Container: c, After: a.Key}, now) })
		}
	}()
}
