package resource

import (
	"context"
	"errors"
	"fmt"

	"healthcheck/probe"

	"github.com/shirou/gopsutil/v3/mem"
)

// Memory checks the working set in percent of the container's limit, or the
// host's memory that is not available where there is none. It names processes
// that were killed for lack of memory since the last run, and fails above
// limit percent.
func Memory(s *Sampler, limit float64) probe.Func {
	return func(ctx context.Context) (probe.Finding, error) {
		host, err := mem.VirtualMemoryWithContext(ctx)
		if err != nil {
			return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: fmt.Errorf("the host's memory: %w", err)}
		}
		// Without counters only the note on OOM kills is lost; the CPU check
		// reports the fault itself.
		_ = s.take(ctx)
		f, err := judgeMemory(s.groups, float64(host.Total), float64(host.Available), limit)
		if s.base != nil && s.now.OOMKills > s.base.OOMKills {
			note := fmt.Sprintf(", %d killed for lack of memory since last probe", s.now.OOMKills-s.base.OOMKills)
			f.Message += note
			if err != nil {
				err = &probe.StageError{Stage: probe.StageOf(err), Err: errors.New(err.Error() + note)}
			}
		}
		return f, err
	}
}

func judgeMemory(c cgroups, hostTotal, hostAvailable, limit float64) (probe.Finding, error) {
	used, total, err := c.memory(hostTotal)
	source := fromLimit
	if err != nil {
		used, total, source = hostTotal-hostAvailable, hostTotal, fromHost
		if !errors.Is(err, errNoLimit) {
			source += " (container limit unreadable: " + err.Error() + ")"
		}
	}
	if total <= 0 {
		return probe.Finding{Status: probe.Skip, Message: "the kernel reports no memory here"}, nil
	}
	percent := 100 * used / total
	return judge(percent, limit, fmt.Sprintf("%.1f%% of %s%s, %s", percent, bytesText(total), maxNote(limit), source))
}

// bytesText prints an amount of memory or disk in binary units.
func bytesText(n float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for n >= 1024 && i < len(units)-1 {
		n /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%.0f B", n)
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}
