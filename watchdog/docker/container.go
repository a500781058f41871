package docker

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"healthcheck/probe"
	"healthcheck/probe/report"
	"healthcheck/watchdog/recovery"
)

// fromSummary reads a list's entry.
func fromSummary(s container.Summary) recovery.Container {
	c := recovery.Container{ID: s.ID, Name: ownName(s.Names), Labels: labels(s.Labels), State: string(s.State), Health: healthIn(s.Status), NetworkOf: networkOf(s.HostConfig.NetworkMode)}
	c.HasHealthcheck = c.Health != ""
	if s.NetworkSettings != nil {
		c.Networks = networks(s.NetworkSettings.Networks)
	}
	return c
}

// labels keeps those that decide anything.
func labels(all map[string]string) (kept map[string]string) {
	for label, value := range all {
		if recovery.LabelMatters(label, value) {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[label] = value
		}
	}
	return kept
}

// ownName is a container's own among those of a list: a link's names have a
// second slash.
func ownName(names []string) (own string) {
	if len(names) > 0 {
		own = strings.TrimPrefix(names[0], "/")
	}
	for _, name := range names {
		if strings.Count(name, "/") == 1 {
			own = strings.TrimPrefix(name, "/")
		}
	}
	return own
}

// healthIn reads the health in the status text, where older engines have it
// alone: "Up 2 hours (healthy)".
func healthIn(status string) string {
	switch {
	case strings.Contains(status, "(healthy)"):
		return "healthy"
	case strings.Contains(status, "(unhealthy)"):
		return "unhealthy"
	case strings.Contains(status, "(health: starting)"), strings.Contains(status, "(starting)"):
		return "starting"
	}
	return ""
}

// networkOf is the container whose network this mode shares; empty for none.
func networkOf(mode string) string {
	of, shared := strings.CutPrefix(mode, "container:")
	if !shared {
		return ""
	}
	return of
}

// networks reads those that a container is in, with what it is called there.
func networks(all map[string]*network.EndpointSettings) (out []recovery.Network) {
	for name, e := range all {
		n := recovery.Network{Name: name}
		if e != nil {
			if e.IPAddress.IsValid() {
				n.IP = e.IPAddress.String()
			}
			n.Aliases = append(slices.Clone(e.Aliases), e.DNSNames...)
		}
		out = append(out, n)
	}
	sortNetworks(out)
	return out
}

func sortNetworks(all []recovery.Network) {
	slices.SortFunc(all, func(a, b recovery.Network) int { return strings.Compare(a.Name, b.Name) })
}

// validAddress is an address as it is written; empty for none.
func validAddress(text string) string {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	return ip.String()
}

// fromInspect reads an inspection.
func fromInspect(r container.InspectResponse) (recovery.Container, error) {
	if r.ID == "" || r.State == nil || r.Config == nil || r.HostConfig == nil {
		return recovery.Container{}, errors.New("the engine's answer lacks the container's state")
	}
	c := recovery.Container{ID: r.ID, Name: strings.TrimPrefix(r.Name, "/"), Labels: labels(r.Config.Labels), State: string(r.State.Status),
		ExitCode: r.State.ExitCode, OOMKilled: r.State.OOMKilled, Error: bounded(r.State.Error),
		RestartPolicy: string(r.HostConfig.RestartPolicy.Name), MaxRetries: r.HostConfig.RestartPolicy.MaximumRetryCount, RestartCount: r.RestartCount,
		StopTimeout: r.Config.StopTimeout, StopSignal: r.Config.StopSignal, MemoryLimit: r.HostConfig.Memory}
	if c.State == "" {
		return recovery.Container{}, errors.New("the engine's answer lacks the container's state")
	}
	c.NotLabels = notLabels(r.Config.Env)
	c.StartedAt = parseTime(r.State.StartedAt)
	c.FinishedAt = parseTime(r.State.FinishedAt)
	c.NetworkOf = networkOf(string(r.HostConfig.NetworkMode))
	if h := r.Config.Healthcheck; h != nil && len(h.Test) > 0 && h.Test[0] != "NONE" {
		c.HasHealthcheck = true
		c.Interval, c.Timeout, c.StartPeriod, c.Retries = h.Interval, h.Timeout, h.StartPeriod, h.Retries
	}
	if h := r.State.Health; h != nil && h.Status != container.NoHealthcheck && h.Status != "" {
		c.Health, c.FailingStreak, c.HasHealthcheck = string(h.Status), h.FailingStreak, true
		for _, l := range h.Log {
			if l == nil {
				continue
			}
			c.LastProbe = l.End
			c.ProbeInterrupted = endedWithContainer(l.ExitCode, l.Output)
			c.ProbeTimedOut = endedByEngine(l.ExitCode, l.Output)
			if l.ExitCode != 0 {
				c.LastOutput = bounded(l.Output)
				c.Failures, _ = report.Parse(l.Output)
				c.ProbeTimedOut = c.ProbeTimedOut || slices.ContainsFunc(c.Failures, timedOut)
				if cannotRun(l.ExitCode, l.Output) {
					c.Failures = []report.Failure{{Cause: probe.FailureCause{Class: probe.Config}, Text: bounded(l.Output)}}
				}
			}
		}
	}
	if r.NetworkSettings != nil {
		c.Networks = networks(r.NetworkSettings.Networks)
	}
	return c, nil
}

// details are what only lint reads of an inspection that fromInspect took.
func details(r container.InspectResponse) *recovery.Details {
	d := &recovery.Details{Image: r.Config.Image}
	if h := r.Config.Healthcheck; h != nil && len(h.Test) > 0 && h.Test[0] != "NONE" {
		d.Test = h.Test
	}
	if r.State.Health != nil {
		for _, l := range r.State.Health.Log {
			if l != nil {
				d.Log = append(d.Log, recovery.ProbeResult{Start: l.Start, End: l.End, ExitCode: l.ExitCode, Output: bounded(l.Output)})
			}
		}
	}
	return d
}

// figures are what the last probe's report tells of each check; of a probe that
// writes no report, how it ended and how long it took.
func figures(h *container.Health) []report.Figure {
	if h == nil || len(h.Log) == 0 || h.Log[len(h.Log)-1] == nil {
		return nil
	}
	last := h.Log[len(h.Log)-1]
	if all := report.Figures(last.Output); len(all) > 0 {
		return all
	}
	f := report.Figure{Check: "probe", Status: probe.OK, Duration: max(0, last.End.Sub(last.Start))}
	if last.ExitCode != 0 {
		f.Status = probe.Fail
	}
	return []report.Figure{f}
}

// endedByEngine says whether the engine ended a probe that took too long (moby,
// daemon/health.go).
func endedByEngine(code int, output string) bool {
	return code == -1 && strings.Contains(output, "Health check exceeded timeout")
}

// timedOut says whether a check of the container itself ran out of time: one
// that waits for another is no sign of a busy host.
func timedOut(f report.Failure) bool {
	return (f.Cause.Class == probe.Self || f.Cause.Class == probe.Unknown) && strings.Contains(f.Text, probe.NoAnswer)
}

// cannotRun says whether a probe's program is not there or cannot be executed:
// no restart changes that.
func cannotRun(code int, output string) bool {
	return code == -1 && strings.Contains(output, "OCI runtime exec failed") && strings.Contains(output, `exec: "`)
}

// endedWithContainer says whether a probe may have failed only because its
// container was ending: it was killed, as everything in a container is then,
// or it could not be started (-1) for a reason that is not its own. runc says
// "cannot exec in a stopped state", "read init-p: connection reset by peer"
// and more; what is wrong with the probe itself it says of exec: "program".
// The engine says "container … is not running".
func endedWithContainer(code int, output string) bool {
	const killed = 128 + 9 // by SIGKILL
	switch {
	case code == killed:
		return true
	case code != -1:
		return false
	case strings.Contains(output, "OCI runtime exec failed"):
		return !cannotRun(code, output)
	}
	return strings.Contains(output, "stopped") || strings.Contains(output, "is not running")
}

// parseTime reads the engine's time; what it has none for is year 1.
func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1970 {
		return time.Time{}
	}
	return t
}

// notLabels names the variables that look like the label that opts in.
func notLabels(environ []string) (names []string) {
	for _, e := range environ {
		if name, _, _ := strings.Cut(e, "="); strings.EqualFold(strings.ReplaceAll(name, "_", "."), "watchdog.enable") {
			names = append(names, name)
		}
	}
	return names
}

// bounded keeps the beginning and the end of a probe's output: healthcheck
// prints the cause first, a traceback last.
func bounded(text string) string {
	const limit, head = 1000, 500
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:head], "") + " … " + strings.ToValidUTF8(text[len(text)-(limit-head):], "")
}
