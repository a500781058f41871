package watchdog

import (
	"maps"
	"time"

	"healthcheck/watchdog/recovery"
)

// wantsFigures says whether a container's probes have figures to be read.
func (d *Daemon) wantsFigures(c recovery.Container) bool {
	return d.ProbeFigures && c.State == "running" && (c.HasHealthcheck || c.Health != "") && d.Settings.Watched(c)
}

// noteFigures keeps what the last probe of a container told, and that one does
// not run.
func (d *Daemon) noteFigures(c recovery.Container, now time.Time) {
	key := c.Service()
	switch {
	case !d.ProbeFigures:
	case !d.wantsFigures(c) || len(c.Figures) == 0:
		if known := d.checks[key]; known != nil {
			known.stopped = true
		}
	default:
		if d.checks[key] == nil {
			d.checks[key] = &checks{}
		}
		d.checks[key].note(c.Figures, now)
		d.changed()
	}
}

// forgetFigures drops those of services that have no container any more.
func (d *Daemon) forgetFigures(all []recovery.Container) {
	if !d.ProbeFigures {
		return
	}
	running, there := map[string]bool{}, map[string]bool{}
	for _, c := range all {
		if d.Settings.Watched(c) {
			there[c.Service()] = true
			running[c.Service()] = running[c.Service()] || d.wantsFigures(c)
		}
	}
	maps.DeleteFunc(d.checks, func(service string, c *checks) bool {
		if !running[service] {
			c.stopped = true
		}
		return !there[service]
	})
}
