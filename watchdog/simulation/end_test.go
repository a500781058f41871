package simulation

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"healthcheck/watchdog/recovery"
)

// atEnd checks that all has come to an end: every watched service is healthy,
// or given up or held with an incident that is open.
func (a *auditor) atEnd(ctx context.Context) {
	w := a.w
	l := w.life
	state := l.notifier.State()
	if n := len(state.Pending); n > 0 {
		w.fail("alerts", "%d alerts wait, and all receivers are up: %v", n, state.Pending)
	}
	a.incidents(state)
	known := map[string]recovery.ServiceStatus{}
	for _, s := range l.daemon.Status(ctx) {
		known[s.ID] = s
	}
	set := settings(w.people.all)
	for _, c := range w.engine.all() {
		s, watched := known[recovery.ShortID(c.id)]
		if !set.Watched(recovery.Container{ID: c.id, Name: c.name, Labels: c.fullLabels(), HasHealthcheck: c.checked}) {
			if watched {
				w.fail("the end", "%s is watched", c.name)
			}
			continue
		}
		if !watched {
			if c.state == "running" {
				w.fail("the end", "%s runs and is not watched: %v", c.name, slices.Sorted(maps.Keys(known)))
			}
			continue
		}
		a.settled(c, s, state.Incidents["service "+s.Service] != nil, known)
	}
	for subject := range state.Incidents {
		key, service := strings.CutPrefix(subject, "service ")
		if service && !slices.ContainsFunc(slices.Collect(maps.Values(known)), func(s recovery.ServiceStatus) bool { return s.Service == key }) {
			w.fail("the end", "%s is open, and there is no such service", subject)
		} else if !service {
			w.fail("the end", "%s is open", subject)
		}
	}
	a.bounded()
}

// settled checks one container at the end.
func (a *auditor) settled(c *container, s recovery.ServiceStatus, open bool, all map[string]recovery.ServiceStatus) {
	fail := func(why string) {
		a.w.fail("the end", "%s: %s: it is %s (%s, streak %d), with %+v, and the watchdog says %+v, open %v, started %s; saved: %s", c.name, why, c.state, c.health, c.streak, c.told, s, open, c.started, a.saidOf(c))
	}
	watching := s.Phase == recovery.Idle.String()
	switch {
	case s.Phase == recovery.Waiting.String(), s.Phase == recovery.Restarting.String(), s.Phase == recovery.Launching.String(), s.Phase == recovery.Verifying.String(), s.Phase == recovery.ShuttingDown.String():
		fail("no end")
	case s.Phase == recovery.ShutDown.String():
		if c.state == "running" || !open {
			fail("stopped by the watchdog, and it runs, or nobody knows")
		}
	case c.halted && !c.wanted && !c.doubtful && !open:
		fail("stopped by the watchdog, and nobody knows")
	case c.state == "running" && (c.health == "healthy" || !c.checked && s.Phase == recovery.Idle.String()):
		if !watching {
			if s.Phase != recovery.Held.String() || !strings.Contains(s.Waits, "recreation") {
				fail("healthy, and not at rest")
			}
		} else if open {
			fail("healthy, and open")
		}
	case c.state == "running" && c.checked && c.health == "unhealthy" && c.streak >= c.retries+2:
		switch {
		case s.Phase == "rehearsed":
		case s.Phase == recovery.GivenUp.String():
			if !open {
				fail("given up, and nobody knows")
			}
		case s.Phase == recovery.Held.String():
			if !open && !a.explained(s, all) {
				fail("held, and nobody knows")
			}
		default:
			fail("failing, and nobody cares")
		}
	case c.state == "exited" && c.stopped && !c.wanted && !c.doubtful && (c.told.kill || c.told.stop): // else it has vanished, and an incident says so
		if open || s.Phase == recovery.Held.String() {
			fail("stopped by a person, and open")
		}
	case c.state == "exited" && c.exit != 0 && !c.stopped && !c.wanted && c.policy == "" && watching && !open && !c.doubtful:
		fail("it died, and nobody cares")
	}
}

// explained says whether people know what a service is held for.
func (a *auditor) explained(s recovery.ServiceStatus, all map[string]recovery.ServiceStatus) bool {
	incidents := a.w.life.notifier.State().Incidents
	for _, o := range all { // of several that are held for one, the first says so
		if o.Waits == s.Waits && incidents["service "+o.Service] != nil {
			return true
		}
	}
	seen := map[string]bool{}
	for on := s.Waits; !seen[on]; {
		seen[on] = true
		for _, o := range all {
			if o.Service == on || o.Container == on {
				if incidents["service "+o.Service] != nil {
					return true
				}
				on = o.Waits
				break
			}
		}
	}
	return false
}

// bounded checks that what is remembered is bounded by what is alive.
func (a *auditor) bounded() {
	n := a.remembered()
	a.largest = max(a.largest, n)
	if limit := 400 + 150*len(a.w.engine.containers); n > limit {
		a.w.fail("memory", "%d things are remembered of %d containers", n, len(a.w.engine.containers))
	}
}

// remembered counts what the maps and slices of the watchdog hold. The history
// and the times of recoveries have bounds of their own.
func (a *auditor) remembered() int {
	seen := map[uintptr]bool{}
	var size func(v reflect.Value, depth int) int
	size = func(v reflect.Value, depth int) (n int) {
		if depth > 12 {
			return 0
		}
		switch v.Kind() {
		case reflect.Pointer:
			if v.IsNil() || seen[v.Pointer()] || !strings.HasPrefix(v.Type().Elem().PkgPath(), "healthcheck/watchdog") {
				return 0
			}
			seen[v.Pointer()] = true
			return size(v.Elem(), depth+1)
		case reflect.Struct:
			for i := range v.NumField() {
				switch name := v.Type().Field(i).Name; name {
				case "journal", "writer", "Saved", "Past", "Log", "Engine", "Alerts":
				default:
					n += size(v.Field(i), depth+1)
				}
			}
		case reflect.Map:
			n = v.Len()
			for iter := v.MapRange(); iter.Next(); {
				n += size(iter.Value(), depth+1)
			}
		case reflect.Slice:
			n = v.Len()
			for i := range v.Len() {
				n += size(v.Index(i), depth+1)
			}
		}
		return n
	}
	return size(reflect.ValueOf(a.w.life.daemon), 0)
}

var _ = time.Second
