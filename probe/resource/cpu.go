package resource

import (
	"context"
	"fmt"
	"time"

	"healthcheck/probe"
)

// CPU checks the CPU time that this container has used since the last run, in
// percent of the cores that it may use. With no earlier sample it measures
// over s.Window.
func CPU(s *Sampler, limit Limit) probe.Func {
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
		own, host := cpuFigures(*base, now)
		if own.of == "" && host.of == "" {
			// The host's times advance in ticks of 10 ms: a window may be
			// shorter, and some sandboxes count nothing at all.
			return probe.Finding{Status: probe.Skip, Message: "the kernel counted no CPU time " + since + note}, nil
		}
		if own.of != "" {
			own.of += " " + since
		}
		own.source += note
		return judgeOwn(own, host, limit)
	}
}

// cpuFigures compares two samples: this container's use and the host's.
func cpuFigures(old, now sample) (own, host figure) {
	elapsed := float64(now.At - old.At)
	if elapsed <= 0 {
		return own, host
	}
	own.source, own.limited = noLimit, now.limited
	if now.limited {
		own.source = fromLimit
	}
	if now.Cores > 0 && old.Cores == now.Cores {
		own.percent, own.of = 100*float64(now.Used-old.Used)/elapsed/now.Cores, cores(now.Cores)
	} else {
		own.source = "no cgroup counts this container's CPU time"
	}
	if total := now.HostTotal - old.HostTotal; total > 0 {
		busy := min(max(0, now.HostBusy-old.HostBusy), total)
		// /proc/stat counts every core's time: the host's cores are what it
		// counted per second.
		host = figure{percent: 100 * busy / total, of: cores(float64(int(total/(elapsed/1e9) + 0.5)))}
	}
	return own, host
}

func cores(n float64) string {
	if n == 1 {
		return "1 core"
	}
	return fmt.Sprintf("%.4g cores", n)
}
