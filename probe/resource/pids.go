package resource

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Pids checks the number of tasks in percent of the container's limit, or of
// the host's kernel.pid_max where there is none. It fails above limit percent.
func Pids(limit float64) probe.Func {
	return func(context.Context) (probe.Finding, error) {
		used, total, err := findCgroups(target.KernelFS{}).pids()
		source := fromLimit
		if err != nil {
			source = fromHost
			if !errors.Is(err, errNoLimit) {
				source += " (container limit unreadable: " + err.Error() + ")"
			}
			if used, total, err = hostTasks(); err != nil {
				return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: err}
			}
		}
		if total <= 0 {
			return probe.Finding{}, &probe.StageError{Stage: probe.StageLimit, Err: errors.New("the limit is 0 tasks")}
		}
		percent := 100 * used / total
		return judge(percent, limit, fmt.Sprintf("%.1f%% of %.0f tasks%s, %s", percent, total, maxNote(limit), source))
	}
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
