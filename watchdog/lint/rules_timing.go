package lint

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Rules about intervals, timeouts and start periods.

const useOwnProbe = `test: ["CMD", "/healthcheck"]`

// timeoutTooLong is about Docker, where the next interval starts when a probe
// has ended (moby, daemon/health.go): nothing overlaps, but a probe that hangs
// delays the verdict.
func timeoutTooLong(s Subject) (out []problem) {
	if s.Kind == FromKubernetes {
		return nil
	}
	for _, p := range s.Probes {
		limit, bounded := p.ownLimit()
		if !p.knows("interval", "timeout", "retries") || p.Timeout < p.Interval || len(p.Test) == 0 {
			continue
		}
		// Who has set neither has chosen nothing; a probe with a limit of its
		// own does not need the engine's.
		if !p.Set["timeout"] && (!p.Set["interval"] || bounded || p.Unknown["test"]) {
			continue
		}
		took := p.Timeout
		if bounded && limit > 0 {
			took = min(took, limit)
		}
		late := (p.Interval + took) * time.Duration(p.Retries)
		at := p.Key + ".interval"
		if p.Set["timeout"] {
			at = p.Key + ".timeout"
		}
		out = append(out, problem{at: at, message: fmt.Sprintf("timeout %s is not shorter than interval %s: when it hangs, that is noticed after up to %s ((interval + time of the probe) x %d retries)", p.Timeout, p.Interval, late.Round(100*time.Millisecond), p.Retries),
			instead: fmt.Sprintf("timeout: %s", shorter(p.Interval))})
	}
	return out
}

// shorter is a timeout that suits an interval.
func shorter(interval time.Duration) time.Duration {
	if t := (interval / 3).Truncate(time.Second); t > 0 {
		return t
	}
	return max((interval / 2).Truncate(time.Millisecond), time.Millisecond)
}

// ownLimit is how long a probe runs at most, by the limits of all its programs;
// bounded says that each of them has one.
func (p Probe) ownLimit() (sum time.Duration, bounded bool) {
	calls := p.calls()
	for _, c := range calls {
		if o, ok := ownProbe(c, p.Env); ok {
			sum += o.Timeout
			continue
		}
		d, ok := c.ownLimit()
		if !ok {
			return 0, false
		}
		sum += d
	}
	return sum, len(calls) > 0
}

func oneFailure(s Subject) (out []problem) {
	for _, p := range s.Probes {
		if p.Retries != 1 || !p.Set["retries"] || !p.knows("retries") || !s.Watched && p.Key != "livenessProbe" {
			continue
		}
		instead := "retries: 3"
		if s.Kind == FromKubernetes {
			instead = "failureThreshold: 3"
		}
		out = append(out, problem{at: p.Key + ".retries", message: "one failed probe restarts it", instead: instead})
	}
	return out
}

func startPeriodTooShort(s Subject) (out []problem) {
	for _, p := range s.Probes {
		if s.Kind == FromKubernetes || !p.knows("start_period", "interval", "retries") {
			continue
		}
		if s.Observed.StartTook > p.StartPeriod {
			out = append(out, problem{at: p.Key + ".start_period", message: fmt.Sprintf("its last start took %s, the start period is %s", s.Observed.StartTook.Round(100*time.Millisecond), p.StartPeriod),
				instead: fmt.Sprintf("start_period: %s", (2 * s.Observed.StartTook).Round(time.Second))})
			continue
		}
		// It is unhealthy after that many failures beyond the start period.
		grace := p.StartPeriod + time.Duration(p.Retries)*p.Interval
		if need := startNeeds(s.Command); need > grace {
			out = append(out, problem{at: p.Key + ".start_period", message: fmt.Sprintf("its command waits for up to %s before the program starts, and it is unhealthy after %s", need, grace),
				instead: fmt.Sprintf("start_period: %s", need+p.Interval)})
			continue
		}
		what, _ := dependencyOf(s, p)
		for _, n := range s.Needs {
			if what == n.Service && n.Condition != "service_healthy" && n.StartPeriod > grace {
				out = append(out, problem{at: p.Key + ".start_period", message: fmt.Sprintf("its probe needs %s, whose start period is %s, and it is unhealthy after %s", n.Service, n.StartPeriod, grace),
					instead: fmt.Sprintf("start_period: %s, or depends_on with condition: service_healthy", n.StartPeriod+p.Interval)})
			}
		}
	}
	return out
}

// startNeeds adds up the waits that stand in a command before its program.
func startNeeds(command []string) (sum time.Duration) {
	text, ok := shellText(append([]string{"CMD"}, command...))
	if !ok {
		return 0
	}
	f := parseShell(text)
	if f == nil {
		return 0
	}
	for i, s := range f.Stmts {
		for _, c := range callsOf(s, i == len(f.Stmts)-1, true) {
			if c.Name == "sleep" && c.Required && len(c.Words) > 1 {
				sum += seconds(c.Words[1])
			}
		}
	}
	return sum
}

func slowProbe(s Subject) []problem {
	if len(s.Probes) == 0 || s.Observed.ProbeTook <= s.Probes[0].Timeout/2 {
		return nil
	}
	return one("healthcheck.timeout", fmt.Sprintf("a probe took %s of its timeout of %s", s.Observed.ProbeTook.Round(time.Millisecond), s.Probes[0].Timeout),
		fmt.Sprintf("timeout: %s", max(time.Second, (3*s.Observed.ProbeTook).Round(time.Second))))
}

func outlastsTimeout(s Subject) (out []problem) {
	for _, p := range s.Probes {
		if !p.knows("test", "timeout") || len(p.Test) < 2 {
			continue
		}
		worst := time.Duration(0)
		for _, c := range p.calls() {
			if c.Required && (c.Name == "curl" || c.Name == "wget" || c.Bound > 0) {
				d, _ := c.ownLimit()
				worst += d
			}
			for _, w := range c.Words {
				if text, ok := s.Scripts[w]; ok && c.Required {
					worst += scriptLimit(w, text)
				}
			}
		}
		if worst > p.Timeout {
			out = append(out, problem{at: p.Key + ".timeout", message: fmt.Sprintf("its requests and samples may take %s, then it is killed after %s without a cause", worst, p.Timeout),
				instead: useOwnProbe + ", which ends within 8s"})
		}
	}
	return out
}

func ownTimeoutRefused(s Subject) (out []problem) {
	for _, p := range s.Probes {
		for _, c := range p.calls() {
			o, ok := ownProbe(c, p.Env)
			switch {
			case !ok || hasVariable(c):
			case o.Timeout >= o.Interval:
				out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("--timeout %s is not shorter than --interval %s, so the probe refuses to run", o.Timeout, o.Interval),
					instead: fmt.Sprintf("--timeout %s", shorter(o.Interval))})
			case o.CheckTimeout > o.Timeout:
				out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("--check-timeout %s exceeds --timeout %s, so the probe refuses to run", o.CheckTimeout, o.Timeout),
					instead: fmt.Sprintf("--check-timeout %s", shorter(o.Timeout))})
			}
		}
	}
	return out
}

func ownTimeoutNotShorter(s Subject) (out []problem) {
	for _, p := range s.Probes {
		for _, c := range p.calls() {
			o, ok := ownProbe(c, p.Env)
			if !ok || hasVariable(c) || !p.knows("timeout") || o.Timeout < p.Timeout || o.Timeout >= o.Interval {
				continue
			}
			flag := "--timeout " + o.Timeout.String()
			if !o.TimeoutSet {
				flag += ", its default,"
			}
			out = append(out, problem{at: p.Key + ".timeout", message: fmt.Sprintf("%s is not shorter than the timeout %s: it is killed before it can print a cause", flag, p.Timeout),
				instead: fmt.Sprintf("--timeout %s", (p.Timeout * 4 / 5).Truncate(100*time.Millisecond))})
		}
	}
	return out
}

// hasVariable says that a shell fills in some of a program's words.
func hasVariable(c call) bool {
	return slices.ContainsFunc(c.Words, func(w string) bool { return strings.Contains(w, "$") })
}
