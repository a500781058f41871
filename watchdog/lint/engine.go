package lint

import (
	"cmp"
	"context"

	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
)

// Engine looks at the running containers of an engine. Settings say which of
// them the watchdog would watch.
func Engine(ctx context.Context, engine *docker.Client, settings recovery.Settings) ([]Subject, error) {
	all, err := engine.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []Subject
	for _, c := range all {
		if c.State != "running" {
			continue
		}
		if c, err = engine.Inspect(ctx, c.ID); err == nil {
			out = append(out, fromContainer(c, settings.Watched(c)))
		}
	}
	return out, nil
}

// fromContainer is a running container as the rules see it.
func fromContainer(c recovery.Container, watched bool) Subject {
	s := Subject{Name: c.Service(), Place: "container " + c.Name, Image: c.Image, Watched: watched, RestartPolicy: c.RestartPolicy}
	if !c.HasHealthcheck {
		return s
	}
	s.Probe = &Probe{c.Test, cmp.Or(c.Interval, recovery.DefaultInterval), cmp.Or(c.Timeout, recovery.DefaultTimeout), c.StartPeriod}
	for _, r := range c.Log {
		s.ProbeTook = max(s.ProbeTook, r.End.Sub(r.Start))
		if r.ExitCode == -1 || r.ExitCode == 126 || r.ExitCode == 127 {
			s.CannotRun = r.Output
		}
	}
	// The log reaches back to the start only for a while.
	if len(c.Log) > 0 && c.Log[0].Start.Sub(c.StartedAt) < 2*s.Probe.Interval && c.Log[0].ExitCode != 0 {
		for _, r := range c.Log {
			if r.ExitCode == 0 {
				s.StartTook = r.End.Sub(c.StartedAt)
				break
			}
		}
	}
	return s
}
