package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"text/tabwriter"
)

// watchdog runs the watchdog's own benchmarks and returns their figures, by
// benchmark and unit.
func watchdog(ctx context.Context) (map[string]map[string]float64, error) {
	figures := map[string]map[string]float64{}
	for which, times := range map[string]string{"Idle": "1x", "EventToRestart$|Events$": "200x"} {
		out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", which, "-benchtime", times, "./cmd/watchdog").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("the watchdog's benchmarks: %w\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if name, of, ok := benchLine(line); ok {
				figures[name] = of
			}
		}
	}
	return figures, nil
}

func tableWatchdog(out io.Writer, figures map[string]map[string]float64) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nthe watchdog, on a fake engine\t\t\t\n")
	row := func(bench, unit, label string) {
		if v, ok := figures[bench][unit]; ok {
			fmt.Fprintf(w, "%s\t%.4g\t%s\t\n", label, v, unit)
		}
	}
	row("EventToRestart", "ms/median", "event to restart call, 1,000 containers")
	row("EventToRestart", "ms/p99", "the same, the slowest of a hundred")
	row("Events", "events/s", "events handled, each with an inspection")
	row("Idle", "MiB/1000", "peak memory for each thousand containers")
	row("Idle", "cpu-ms/10min", "ten idle minutes, 10,000 containers")
	for _, who := range []string{"watchdog", "polling"} {
		label := map[string]string{"watchdog": "ten idle minutes, 50 containers", "polling": "the same by curl and jq every 5 s"}[who]
		row("TenIdleMinutes/"+who, "cpu-ms/10min", label)
		row("TenIdleMinutes/"+who, "requests/10min", label)
	}
	w.Flush()
	fmt.Fprintln(out)
}
