package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// grown is what the watchdog costs with so many containers.
type grown struct {
	Containers int  `json:"containers"`
	Figures    bool `json:"probe_figures"`
	// Minute is the CPU time of an idle minute, which is one reconciliation, in
	// milliseconds; Peak is the peak memory, in MiB; Restart is the time from an
	// event to the call that restarts, in milliseconds.
	Minute  float64 `json:"cpu_ms_per_minute"`
	Peak    float64 `json:"peak_mib"`
	Restart float64 `json:"event_to_restart_ms"`
}

// growth runs the watchdog's benchmarks that grow, and writes growth.json and
// growth.svg.
func growth(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("growth", flag.ContinueOnError)
	out := fs.String("out", "bench/results", "where growth.json and growth.svg go")
	from := fs.String("from", "", "a file with what go test printed of these benchmarks; empty runs them")
	if err := fs.Parse(args); err != nil {
		return err
	}
	text, err := growthText(ctx, *from)
	if err != nil {
		return err
	}
	all, others := readGrowth(string(text))
	if len(all) == 0 {
		return fmt.Errorf("no figures in\n%s", text)
	}
	tableGrowth(os.Stdout, all, others)
	note := hardware() + "; one run each, on an engine that is a stand-in on a Unix socket"
	fmt.Println(note)
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(map[string]any{"notes": []string{note}, "growth": all, "others": others}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(*out, "growth.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*out, "growth.svg"), []byte(pictureGrowth(all)), 0o644)
}

// growthText is what go test prints of the benchmarks.
func growthText(ctx context.Context, from string) ([]byte, error) {
	if from != "" {
		return os.ReadFile(from)
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "Growth|MassFailure|EventsInAMinute", "-benchtime", "1x", "-timeout", "1h", "./cmd/watchdog")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("the watchdog's benchmarks: %w\n%s", err, text)
	}
	return text, nil
}

// readGrowth reads what go test prints of benchmarks; others are figures of
// those that do not grow, by name and unit.
func readGrowth(text string) (all []grown, others map[string]map[string]float64) {
	others = map[string]map[string]float64{}
	for line := range strings.Lines(text) {
		name, figures, ok := benchLine(line)
		if !ok {
			continue
		}
		var g grown
		if _, err := fmt.Sscanf(name, "Growth/containers=%d/figures=%t", &g.Containers, &g.Figures); err != nil {
			others[name] = figures
			continue
		}
		g.Minute, g.Peak, g.Restart = figures["cpu-ms/minute"], figures["MiB/peak"], figures["ms/restart"]
		all = append(all, g)
	}
	return all, others
}

// benchLine reads one line of go test -bench: the name without the number of
// processors, and the figures by their units.
func benchLine(line string) (name string, figures map[string]float64, ok bool) {
	line, ok = strings.CutPrefix(line, "Benchmark")
	f := strings.Fields(line)
	if !ok || len(f) < 4 {
		return "", nil, false
	}
	name = f[0]
	if i := strings.LastIndex(name, "-"); i > 0 {
		name = name[:i]
	}
	figures = map[string]float64{}
	for i := 2; i+1 < len(f); i += 2 {
		if v, err := strconv.ParseFloat(f[i], 64); err == nil && f[i+1] != "ns/op" {
			figures[f[i+1]] = v
		}
	}
	return name, figures, true
}

func tableGrowth(out io.Writer, all []grown, others map[string]map[string]float64) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "containers\t--probe-figures\tidle minute, CPU ms\tpeak MiB\tevent to restart, ms\t\n")
	for _, g := range all {
		fmt.Fprintf(w, "%d\t%s\t%.1f\t%.1f\t%.1f\t\n", g.Containers, map[bool]string{true: "on", false: "off"}[g.Figures], g.Minute, g.Peak, g.Restart)
	}
	w.Flush()
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range others {
			if !yield(name) {
				return
			}
		}
	}) {
		fmt.Fprintf(out, "%s: %v\n", name, others[name])
	}
}

// short is a figure with as many digits as a picture has room for.
func short(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// pictureGrowth draws the three figures over the number of containers, each with
// and without the figures of probes; all scales are logarithmic.
func pictureGrowth(all []grown) string {
	const width, height, left, top, gap = 240, 200, 60, 56, 90
	var b strings.Builder
	for i, panel := range []struct {
		title, unit string
		value       func(grown) float64
		low, high   float64
	}{
		{"CPU of an idle minute", "ms", func(g grown) float64 { return g.Minute }, 1, 10_000},
		{"peak memory", "MiB", func(g grown) float64 { return g.Peak }, 10, 200},
		{"event to restart", "ms", func(g grown) float64 { return g.Restart }, 1, 1000},
	} {
		x0 := left + i*(width+gap)
		x := func(n int) float64 { return float64(x0) + width*(math.Log10(float64(n))-1)/3 }
		y := func(v float64) float64 {
			return top + height - height*math.Log(max(v, panel.low)/panel.low)/math.Log(panel.high/panel.low)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-weight="bold">%s, %s</text>`+"\n", x0, top-16, panel.title, panel.unit)
		fmt.Fprintf(&b, `<path d="M%d %dV%dH%d" fill="none" stroke="#52606d"/>`+"\n", x0, top, top+height, x0+width)
		for n := 10; n <= 10_000; n *= 10 {
			fmt.Fprintf(&b, `<text x="%.0f" y="%d" text-anchor="middle" fill="#52606d">%d</text>`+"\n", x(n), top+height+18, n)
		}
		for _, on := range []bool{false, true} {
			colour := map[bool]string{false: "#2f855a", true: "#b7791f"}[on]
			var points []string
			for _, g := range all {
				if g.Figures == on {
					points = append(points, fmt.Sprintf("%.1f,%.1f", x(g.Containers), y(panel.value(g))))
					at := map[bool]int{false: 16, true: -8}[on]
					fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/><text x="%.1f" y="%.1f" font-size="11" text-anchor="middle" fill="%s">%s</text>`+"\n",
						x(g.Containers), y(panel.value(g)), colour, x(g.Containers), y(panel.value(g))+float64(at), colour, short(panel.value(g)))
				}
			}
			fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour)
		}
	}
	total := left + 3*(width+gap)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">
<rect width="100%%" height="100%%" fill="white"/>
<text x="10" y="22" font-size="15">What the watchdog costs with 10 to 10,000 containers: <tspan fill="#2f855a">without</tspan> and <tspan fill="#b7791f">with --probe-figures</tspan> (logarithmic)</text>
%s</svg>
`, total, top+height+34, b.String())
}
