package resource

import (
	"context"
	"fmt"
	"time"

	"healthcheck/probe"
)

// CPU checks the CPU time used since the last run, in percent of the cores
// that this container may use, or of the host's where it has no limit. With
// no earlier sample it measures over s.Window. It fails above limit percent.
func CPU(s *Sampler, limit float64) probe.Func {
	return func(ctx context.Context) (probe.Finding, error) {
		if err := s.take(ctx); err != nil {
			return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: err}
		}
		base, now, since := s.base, s.now, s.since
		if base == nil {
			select {
			case <-time.After(s.Window):
			case <-ctx.Done():
				return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: context.Cause(ctx)}
			}
			later, err := (&Sampler{groups: s.groups}).read(ctx)
			if err != nil {
				return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: err}
			}
			base, now, since = &s.now, later, fmt.Sprintf("over %s", s.Window)
		}
		note := ""
		if s.note != "" {
			note = " (no sample kept: " + s.note + ")"
		}
		percent, of, source, ok := cpuPercent(*base, now)
		if !ok {
			// The host's times advance in ticks of 10 ms: a window may be
			// shorter, and some sandboxes count nothing at all.
			return probe.Finding{Status: probe.Skip, Message: "the kernel counted no CPU time " + since + note}, nil
		}
		msg := fmt.Sprintf("%.1f%% of %s %s%s, %s", percent, of, since, maxNote(limit), source) + note
		return judge(percent, limit, msg)
	}
}

// The sources of a figure, as messages name them.
const (
	fromLimit = "container limit"
	fromHost  = "host"
)

// cpuPercent compares two samples. The figure is the group's where both know
// its limit, else the host's.
func cpuPercent(old, now sample) (percent float64, of, source string, ok bool) {
	if now.Cores > 0 && old.Cores == now.Cores {
		elapsed := float64(now.At - old.At)
		if elapsed <= 0 {
			return 0, "", "", false
		}
		return 100 * float64(now.Used-old.Used) / elapsed / now.Cores, cores(now.Cores), fromLimit, true
	}
	total := now.HostTotal - old.HostTotal
	if total <= 0 {
		return 0, "", "", false
	}
	seconds := float64(now.At-old.At) / 1e9
	busy := min(max(0, now.HostBusy-old.HostBusy), total)
	// /proc/stat counts every core's time: the host's cores are what it
	// counted per second.
	return 100 * busy / total, cores(float64(int(total/seconds + 0.5))), fromHost, true
}

func cores(n float64) string {
	if n == 1 {
		return "1 core"
	}
	return fmt.Sprintf("%.4g cores", n)
}

// maxNote is the limit as messages show it; nothing where there is none.
func maxNote(limit float64) string {
	if limit <= 0 {
		return ""
	}
	return fmt.Sprintf(" (max %g%%)", limit)
}
