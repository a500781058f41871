package lint

import (
	"context"
	"strings"

	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
)

// Engine looks at the running containers of an engine. Settings say which of
// them the watchdog would watch.
func Engine(ctx context.Context, engine *docker.Client, settings recovery.Settings) (Target, error) {
	engine.Details = true
	all, err := engine.List(ctx)
	if err != nil {
		return Target{}, err
	}
	var out Target
	for _, c := range all {
		if c.State != "running" {
			continue
		}
		if c, err = engine.Inspect(ctx, c.ID); err == nil {
			out.Subjects = append(out.Subjects, fromContainer(c, settings.Watched(c)))
		}
	}
	return out, nil
}

// fromContainer is a running container as the rules see it.
func fromContainer(c recovery.Container, watched bool) Subject {
	details := recovery.Details{}
	if c.Details != nil {
		details = *c.Details
	}
	s := Subject{Kind: FromEngine, Name: c.Service(), OtherNames: []string{c.Name}, Places: map[string]Place{"": {File: "container " + c.Name}},
		Image: Image{Name: details.Image}, Labels: c.Labels, Watched: watched, RestartPolicy: c.RestartPolicy, Health: HealthNone}
	if name := c.Labels["com.docker.compose.service"]; name != "" {
		s.OtherNames = append(s.OtherNames, name)
	}
	if !c.HasHealthcheck {
		return s
	}
	s.Health = HealthSeen
	p := defaultProbe()
	p.Test = details.Test
	if c.Retries > 0 {
		p.Retries, p.Set["retries"] = c.Retries, true
	}
	if c.Interval > 0 {
		p.set("interval", c.Interval)
	}
	if c.Timeout > 0 {
		p.set("timeout", c.Timeout)
	}
	if c.StartPeriod > 0 {
		p.set("start_period", c.StartPeriod)
	}
	s.Probes = []Probe{p}
	for _, r := range details.Log {
		s.Observed.ProbeTook = max(s.Observed.ProbeTook, r.End.Sub(r.Start))
		if r.ExitCode == -1 && !strings.Contains(r.Output, "exceeded timeout") || r.ExitCode == 126 || r.ExitCode == 127 {
			s.Observed.CannotRun = r.Output
		}
	}
	// The log reaches back to the start only for a while.
	if len(details.Log) > 0 && details.Log[0].Start.Sub(c.StartedAt) < 2*p.Interval && details.Log[0].ExitCode != 0 {
		for _, r := range details.Log {
			if r.ExitCode == 0 {
				s.Observed.StartTook = r.End.Sub(c.StartedAt)
				break
			}
		}
	}
	return s
}
