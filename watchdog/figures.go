package watchdog

import (
	"maps"

	"healthcheck/probe/report"
	"healthcheck/watchdog/recovery"
)

// wantsFigures says whether a container's probes have figures to be read.
func (d *Daemon) wantsFigures(c recovery.Container) bool {
	return d.ProbeFigures && c.State == "running" && (c.HasHealthcheck || c.Health != "") && d.Settings.Watched(c)
}

// noteFigures keeps what the last probe of a container told, and nothing of one
// that does not run.
func (d *Daemon) noteFigures(c recovery.Container) {
	if d.wantsFigures(c) && len(c.Figures) > 0 {
		d.figures[c.Service()] = c.Figures
	} else if d.ProbeFigures {
		delete(d.figures, c.Service())
	}
}

// forgetFigures drops those of services that have no container any more that
// runs.
func (d *Daemon) forgetFigures(all []recovery.Container) {
	if !d.ProbeFigures {
		return
	}
	alive := map[string]bool{}
	for _, c := range all {
		if d.wantsFigures(c) {
			alive[c.Service()] = true
		}
	}
	maps.DeleteFunc(d.figures, func(service string, _ []report.Figure) bool { return !alive[service] })
}
