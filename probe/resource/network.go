package resource

import (
	"context"
	"fmt"

	"healthcheck/probe"
)

// Network reports the packets that were dropped or broken since the last run,
// over all interfaces but loopback, in percent of all packets. Without a limit
// it only reports.
func Network(s *Sampler, limit Limit) probe.Func {
	return func(ctx context.Context) (probe.Finding, error) {
		if err := s.take(ctx); err != nil {
			return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: err}
		}
		if s.base == nil {
			return probe.Finding{Message: "no earlier sample" + limit.note()}, nil
		}
		return judgeNetwork(*s.base, s.now, s.since, limit)
	}
}

func judgeNetwork(old, now sample, since string, limit Limit) (probe.Finding, error) {
	packets, faults := now.Packets-old.Packets, now.NetErrors-old.NetErrors
	percent := 0.0
	if all := packets + faults; all > 0 {
		percent = 100 * float64(faults) / float64(all)
	}
	message := fmt.Sprintf("%d errors and drops, %.1f%% of %d packets %s%s", faults, percent, packets, since, limit.note())
	return conclude(message, limit.percent(percent))
}
