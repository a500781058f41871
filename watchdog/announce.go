package watchdog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"healthcheck/watchdog/recovery"
)

// audience is what was said of what is watched.
type audience struct {
	announced bool
	warned    map[string]bool // by container id and problem
	environ   map[string]bool // by container id
}

// maxNamed bounds the names in the line that lists what is watched.
const maxNamed = 20

// announce says once what is watched and why, warns of names that match
// nothing, and of labels that are not understood on containers that are not
// watched, where a typing error has no other effect.
func (d *Daemon) announce(all []recovery.Container) {
	d.warnOfLabels(all)
	if d.audience.announced {
		return
	}
	d.audience.announced, d.audience.environ = true, map[string]bool{}
	d.lookAtUnwatched(all)
	var names []string
	for _, c := range all {
		if reason := d.Settings.Reason(c); reason != "" {
			names = append(names, c.Service()+" ("+reason+")")
		}
	}
	slices.Sort(names)
	text := strings.Join(names[:min(len(names), maxNamed)], ", ")
	if more := len(names) - maxNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	d.Log.Info(fmt.Sprintf("watched containers: %d", len(names)), "event", recovery.EventWatching, "watched", text)
	for _, name := range d.Settings.Unmatched(all) {
		d.Log.Warn("no container has this name", "event", recovery.EventMatchesNothing, "name", name)
	}
}

// mostUnwatched bounds how many containers are inspected that are not watched.
const mostUnwatched = 64

// lookAtUnwatched inspects containers that have a healthcheck and are not
// watched: a variable that was meant as a label is in no list.
func (d *Daemon) lookAtUnwatched(all []recovery.Container) {
	n := 0
	for _, c := range all {
		if n < mostUnwatched && c.State == "running" && c.HasHealthcheck && !d.Settings.Watched(c) {
			n++
			d.inspect(c.ID)
		}
	}
}

// warnOfEnviron warns once of a container that has the label that opts in as an
// environment variable.
func (d *Daemon) warnOfEnviron(c recovery.Container) {
	if len(c.NotLabels) == 0 || d.Settings.Watched(c) || d.audience.environ == nil || d.audience.environ[c.ID] {
		return
	}
	if len(d.audience.environ) >= mostUnwatched {
		clear(d.audience.environ)
	}
	d.audience.environ[c.ID] = true
	d.Log.Warn(c.NotLabels[0]+" is an environment variable, and has no effect: it has to be a label", "event", recovery.EventLabelIgnored, "container", c.Service(), "id", recovery.ShortID(c.ID))
}

// warnOfLabels warns once of each label of this program's that is not
// understood, on containers that are not watched.
func (d *Daemon) warnOfLabels(all []recovery.Container) {
	warned := map[string]bool{}
	for _, c := range all {
		if d.Settings.Watched(c) {
			continue // the machine warns of those
		}
		_, problems := d.Settings.For(c)
		for _, p := range problems {
			key := c.ID + p
			if warned[key] = true; !d.audience.warned[key] {
				d.Log.Warn(p, "event", recovery.EventLabelIgnored, "container", c.Service(), "id", recovery.ShortID(c.ID))
			}
		}
	}
	d.audience.warned = maps.Clone(warned) // those of containers that are gone are forgotten
}
