package resource

import (
	"context"
	"fmt"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Pids checks the number of this container's tasks in percent of its limit, or
// of the host's kernel.pid_max where it has none.
func Pids(limit Limit) probe.Func {
	return func(context.Context) (probe.Finding, error) {
		used, total, err := hostTasks()
		host := figure{}
		if err == nil && total > 0 {
			host = figure{percent: 100 * used / total, of: fmt.Sprintf("%.0f tasks", total)}
		}
		own := pidsFigure(findCgroups(target.KernelFS{}), total, host)
		if err != nil && own.of == "" {
			return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: err}
		}
		return judgeOwn(own, host, limit)
	}
}

// pidsFigure is the share of its limit that this container's tasks are, or of
// the host's total.
func pidsFigure(c cgroups, total float64, host figure) figure {
	used, limit, err := c.pids()
	if err != nil {
		used, uerr := c.ownPids()
		return unlimited(figure{percent: 100 * used / total, of: fmt.Sprintf("%.0f tasks", total)}, err, uerr, c.isHost("pids"), host)
	}
	own := figure{percent: 100, of: fmt.Sprintf("%.0f tasks", limit), source: fromLimit, limited: true}
	if limit > 0 {
		own.percent = 100 * used / limit
	}
	return own
}

func hostTasks() (used, total float64, err error) {
	load, err := target.ReadKernel("/proc/loadavg")
	if err != nil {
		return 0, 0, fmt.Errorf("the host's tasks: %w", err)
	}
	if used, err = parseTasks(string(load)); err != nil {
		return 0, 0, err
	}
	most, err := target.ReadKernel("/proc/sys/kernel/pid_max")
	if err != nil {
		return 0, 0, fmt.Errorf("the host's pid_max: %w", err)
	}
	total, err = parseNumber("pid_max", strings.TrimSpace(string(most)))
	return used, total, err
}

// parseTasks reads the task count from /proc/loadavg: "0.01 0.02 0.03 2/345 678".
func parseTasks(text string) (float64, error) {
	f := strings.Fields(text)
	if len(f) < 4 {
		return 0, fmt.Errorf("/proc/loadavg holds %q", probe.Cut(text, 40))
	}
	_, n, _ := strings.Cut(f[3], "/")
	return parseNumber("/proc/loadavg", n)
}
