package resource

import (
	"context"
	"fmt"

	"healthcheck/probe"
)

// Network reports the packets that were dropped or broken since the last run,
// over all interfaces but loopback, in percent of all packets. It fails above
// limit percent; zero is no limit, and it then only reports.
func Network(s *Sampler, limit float64) probe.Func {
	return func(ctx context.Context) (probe.Finding, error) {
		if err := s.take(ctx); err != nil {
			return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: err}
		}
		if s.base == nil {
			return probe.Finding{Message: "no earlier sample" + Limit{Percent: limit}.note()}, nil
		}
		return judgeNetwork(*s.base, s.now, s.since, limit)
	}
}

func judgeNetwork(old, now sample, since string, limit float64) (probe.Finding, error) {
	packets, faults := now.Packets-old.Packets, now.NetErrors-old.NetErrors
	percent := 0.0
	if all := packets + faults; all > 0 {
		percent = 100 * float64(faults) / float64(all)
	}
	return judge(percent, limit, fmt.Sprintf("%d errors and drops, %.1f%% of %d packets %s%s", faults, percent, packets, since, Limit{Percent: limit}.note()))
}
