package resource

import (
	"context"
	"errors"
	"fmt"

	"healthcheck/probe"

	"github.com/shirou/gopsutil/v3/mem"
)

// Memory checks what this container uses of its limit, or of the host's memory
// where it has none, without what the kernel can take back at once; see
// cgroups.memoryUsed. It names processes that were killed for lack of memory
// since the last run.
func Memory(s *Sampler, limit Limit) probe.Func {
	return func(ctx context.Context) (probe.Finding, error) {
		host, err := mem.VirtualMemoryWithContext(ctx)
		if err != nil {
			return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: fmt.Errorf("the host's memory: %w", err)}
		}
		// Without counters only the note on OOM kills is lost; the CPU check
		// reports the fault itself.
		_ = s.take(ctx)
		f, err := judgeMemory(s.groups, host, limit)
		if s.base != nil && s.now.OOMKills > s.base.OOMKills {
			note := fmt.Sprintf(", %d killed for lack of memory since last probe", s.now.OOMKills-s.base.OOMKills)
			f.Message += note
			if se, ok := errors.AsType[*probe.StageError](err); ok {
				err = &probe.StageError{Stage: se.Stage, Class: se.Class, Err: errors.New(err.Error() + note)}
			}
		}
		return f, err
	}
}

func judgeMemory(c cgroups, m *mem.VirtualMemoryStat, limit Limit) (probe.Finding, error) {
	total := float64(m.Total)
	if total <= 0 {
		return probe.Finding{Status: probe.Skip, Message: "the kernel reports no memory here"}, nil
	}
	host := memoryOf(total-float64(m.Available), total)
	return judgeOwn(memoryFigure(c, total, float64(m.SwapFree), host), host, limit)
}

// memoryFigure is this container's use of its limit, or of the host's total.
func memoryFigure(c cgroups, total, swapFree float64, host figure) figure {
	use, err := c.memory(total, swapFree)
	if err == nil {
		own := memoryOf(use.used, use.limit)
		own.source, own.limited = use.of, true
		return own
	}
	used, uerr := c.ownMemory()
	return unlimited(memoryOf(used, total), err, uerr, c.isHost("memory"), host)
}

func memoryOf(used, total float64) figure {
	return figure{percent: 100 * used / total, of: bytesText(total), size: total, free: max(0, total-used)}
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
