package watchdog

import (
	"context"
	"errors"
	"time"

	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
)

// maxInspections is how many containers are inspected at once.
const maxInspections = 8

// inspections are those in flight, one per container at most.
type inspections struct {
	inFlight map[string]bool // by id: true to inspect once more
	slots    chan struct{}
}

func newInspections() inspections {
	return inspections{map[string]bool{}, make(chan struct{}, maxInspections)}
}

// begin notes an inspection; false where one is in flight, which is then
// repeated.
func (i *inspections) begin(id string) bool {
	_, running := i.inFlight[id]
	i.inFlight[id] = running
	return !running
}

// end notes the end of one, and says whether to repeat it.
func (i *inspections) end(id string) (again bool) {
	again = i.inFlight[id]
	delete(i.inFlight, id)
	return again
}

// event takes a message of the engine. Whatever it says, the container is
// inspected: the event may be late, doubled, or out of order.
func (d *Daemon) event(m docker.Message, now time.Time) {
	d.events.lastEvent = now
	switch m.Action {
	case "kill":
		d.apply(recovery.Killed{ID: m.ID, Signal: m.Signal, At: m.At}, now)
		return // its end brings an event of its own
	case "die":
		d.apply(recovery.Died{ID: m.ID, ExitCode: m.ExitCode, At: m.At}, now)
	case "destroy":
		d.apply(recovery.Gone{ID: m.ID}, now)
		return
	case "health_status", "start", "pause", "unpause", "rename":
	default:
		return
	}
	d.inspect(m.ID)
}

// inspect asks the engine for a container's state.
func (d *Daemon) inspect(id string) {
	if !d.inspections.begin(id) {
		return
	}
	go func() {
		d.inspections.slots <- struct{}{}
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		c, err := d.Engine.Inspect(ctx, id)
		cancel()
		<-d.inspections.slots
		d.inbox.post(func(now time.Time) {
			again := d.inspections.end(id)
			switch {
			case errors.Is(err, docker.ErrGone):
				d.apply(recovery.Gone{ID: id}, now)
			case err != nil:
				d.Log.Warn("a container cannot be inspected; the next reconciliation tries again", "event", recovery.EventInspectFailed, "id", recovery.ShortID(id), "error", err)
			default:
				d.apply(recovery.Seen{Container: c}, now)
			}
			if again {
				d.inspect(id)
			}
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
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		all, err := d.Engine.List(ctx)
		cancel()
		d.inbox.post(func(now time.Time) {
			d.listing = false
			if err != nil {
				if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
					d.Log.Warn("the containers cannot be listed; trying again", "event", recovery.EventListFailed, "error", err)
				}
				d.retryList(now)
				return
			}
			d.listed(all, now)
		})
	}()
}

// retryList tries again soon, unless a reconciliation comes before.
func (d *Daemon) retryList(now time.Time) {
	d.connection.lose(now)
	d.checkLost(now)
	time.AfterFunc(time.Second, func() { d.inbox.post(func(time.Time) { d.list(context.Background()) }) })
}

// listed compares a list with what is known: a container that is missing is
// gone, one that is healthy as before needs no inspection, the others do.
func (d *Daemon) listed(all []recovery.Container, now time.Time) {
	if d.connection.found() {
		d.alert(recovery.Action{Kind: recovery.DoAlert, Event: recovery.EventEngineBack, Severity: recovery.Info, Text: "the engine is back"})
	}
	there := map[string]bool{}
	var healthy []recovery.Container
	for _, c := range all {
		there[c.ID] = true
		s := d.machine.Services[c.Service()]
		switch {
		case !d.Settings.Watched(c) && (s == nil || s.ID != c.ID):
		case s == nil && c.State != "running":
		case c.State == "running" && c.Health == "healthy" && (s == nil || s.Phase == recovery.Idle && s.ID == c.ID):
			healthy = append(healthy, c)
		case s != nil && s.Phase == recovery.Restarting:
		default:
			d.inspect(c.ID)
		}
		d.checkOrphan(all, c, s)
	}
	d.apply(recovery.SeenAll{Containers: healthy}, now)
	for _, id := range d.machine.KnownIDs() {
		if !there[id] {
			d.apply(recovery.Gone{ID: id}, now)
		}
	}
	d.connection.listed = true
	d.goOnline(now)
}

// checkOrphan alerts once about a container that uses the network of one that
// is gone. s is its service, if it has one.
func (d *Daemon) checkOrphan(all []recovery.Container, c recovery.Container, s *recovery.Service) {
	if !d.Settings.Watched(c) || c.State != "running" || d.orphans[c.ID] || !recovery.Orphaned(all, c) {
		return
	}
	d.orphans[c.ID] = true
	a := recovery.Action{Kind: recovery.DoAlert, Event: recovery.EventOrphaned, Severity: recovery.Critical, Key: c.Service(), ID: c.ID, Name: c.Name,
		Text: "it lives in the network of a container that is gone, and no restart can help: " + recovery.RecreateCommand(c)}
	if s != nil {
		a.Phase = s.Phase
	}
	d.alert(a)
}

// goOnline lets the machine decide once all that was listed is inspected.
func (d *Daemon) goOnline(now time.Time) {
	if d.connection.listed && len(d.inspections.inFlight) == 0 {
		d.connection.listed = false
		d.apply(recovery.Online{}, now)
	}
}
