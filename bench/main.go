// Bench measures side by side. Without a command it runs one probe as a whole
// process, for this project and for what a user would pick instead, against
// one local server, the programs taking turns, and prints one table. Behind it
// stand the probe in a container with a tenth of a core, and the watchdog's
// own benchmarks.
//
//	go run ./bench [-runs 30] [-out bench/results] [-jobs REGEX]
//	go run ./bench recovery [-n 3] [-faults crash,hang] [-out bench/results]
//	go run ./bench growth [-from FILE] [-out bench/results]
//
// The second breaks containers on the Docker engine, and measures what becomes
// of them; the third is how the watchdog's cost grows with the containers. All
// also write their results as JSON and as a picture. jobs.go is
// where a job or a program is added, recovery/faults.go where a fault is.
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
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"healthcheck/bench/recovery"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	switch name := append(os.Args, "")[1]; name {
	case "recovery":
		err = recovery.Run(ctx, os.Args[2:], os.Stdout, os.Stderr)
	case "growth":
		err = growth(ctx, os.Args[2:])
	default:
		err = run(ctx, os.Args[1:])
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// contender is one program at one job.
type contender struct {
	job, name string
	file      string // whose size counts; empty: an interpreter and packages
	args      []string
	env       []string
	want      int // exit code
}

// sample is one run, as the kernel counted it.
type sample struct {
	wall, cpu time.Duration
	rss       float64 // MiB
	faults    float64 // of pages: more stable than times
}

// result is what a contender's runs come to.
type result struct {
	Job     string  `json:"job"`
	Program string  `json:"program"`
	Wall    float64 `json:"wall_ms"`
	WallIQR float64 `json:"wall_iqr_ms"`
	CPU     float64 `json:"cpu_ms"`
	CPUIQR  float64 `json:"cpu_iqr_ms"`
	RSS     float64 `json:"peak_mib"`
	Faults  float64 `json:"page_faults"`
	// Calls are system calls under strace, of one run; 0 where there is no strace.
	Calls int   `json:"system_calls,omitempty"`
	Size  int64 `json:"bytes,omitempty"`
	Runs  int   `json:"runs"`
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	runs := fs.Int("runs", 30, "runs of each program, after a warm-up")
	out := fs.String("out", "bench/results", "where results.json and results.svg go")
	only := fs.String("jobs", "", "these jobs alone, by a regular expression; nothing is written then")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "healthcheck-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	notes, err := build(ctx, dir)
	if err != nil {
		return err
	}
	srv, err := serve(ctx, dir)
	defer srv.close()
	if err != nil {
		return err
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	f := contenders(dir, srv)
	all := slices.DeleteFunc(f.all, func(c contender) bool { return !wanted.MatchString(c.job) })
	notes = slices.Concat(notes, srv.notes, f.notes)
	samples := make([][]sample, len(all))
	for round := range *runs + 1 {
		for i, c := range all {
			s, err := measure(ctx, dir, c)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.job, c.name, err)
			}
			if round > 0 { // the first is the warm-up
				samples[i] = append(samples[i], s)
			}
		}
		fmt.Fprintf(os.Stderr, "\rround %d of %d", round, *runs)
	}
	fmt.Fprintln(os.Stderr)
	var results []result
	for i, c := range all {
		r := summarise(c, samples[i])
		r.Calls = systemCalls(ctx, c)
		results = append(results, r)
	}
	if *only != "" {
		table(os.Stdout, results)
		fmt.Println(machine(*runs))
		return nil
	}
	boxed, err := inContainer(ctx, dir, *runs)
	if err != nil {
		notes = append(notes, "left out: a container with a tenth of a core: "+firstLine(err.Error()))
	}
	dog, err := watchdog(ctx)
	if err != nil {
		return err
	}
	table(os.Stdout, results)
	tableInContainer(os.Stdout, boxed)
	tableWatchdog(os.Stdout, dog)
	notes = append([]string{machine(*runs), versions(ctx, dir)}, notes...)
	fmt.Println(strings.Join(notes, "\n"))
	return write(*out, results, boxed, dog, notes)
}

// machine says where the figures come from, and how they were taken.
func machine(runs int) string {
	return fmt.Sprintf("%s; %d runs each, in turns; median, and half of the runs lie within ± half of the spread.", hardware(), runs)
}

// hardware says where and when figures were measured.
func hardware() string {
	model := "unknown CPU"
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%s; %d cores of %s, a virtual machine's, kernel %s, %s",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), model, kernel(), runtime.Version())
}

// versions names the others' versions, by their own account.
func versions(ctx context.Context, dir string) string {
	var out []string
	for _, ask := range [][]string{{"curl", "--version"}, {"wget", "--version"}, {python, "--version"}, {filepath.Join(dir, "goss"), "--version"},
		{"redis-server", "--version"}, {"psql", "--version"}, {"docker", "version", "-f", "Docker engine {{.Server.Version}}"}} {
		text, err := exec.CommandContext(ctx, ask[0], ask[1:]...).Output()
		if words := strings.Fields(firstLine(string(text))); err == nil && len(words) > 0 {
			out = append(out, strings.Join(words[:min(3, len(words))], " "))
		}
	}
	mod, _ := os.ReadFile("bench/peers/go.mod")
	for line := range strings.Lines(string(mod)) {
		if f := strings.Fields(line); len(f) > 1 && (strings.HasSuffix(f[0], "/grpc-health-probe") || strings.HasSuffix(f[0], "/goss")) && strings.HasPrefix(f[1], "v") {
			out = append(out, filepath.Base(f[0])+" "+f[1])
		}
	}
	return "versions: " + strings.Join(out, "; ")
}

func kernel() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(text))
}

// measure runs a contender once.
func measure(ctx context.Context, dir string, c contender) (sample, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "launch"), c.args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, c.env...)
	out, err := cmd.Output()
	if err != nil {
		return sample{}, err
	}
	var wall, user, sys, rss, faults, code int64
	if _, err := fmt.Sscan(string(out), &wall, &user, &sys, &rss, &faults, &code); err != nil {
		return sample{}, err
	}
	if int(code) != c.want {
		return sample{}, fmt.Errorf("exit %d, want %d", code, c.want)
	}
	return sample{time.Duration(wall) * time.Microsecond, time.Duration(user+sys) * time.Microsecond, float64(rss) / 1024, float64(faults)}, nil
}

// straceRuns are so many runs of which systemCalls takes the median.
const straceRuns = 5

// systemCalls counts a contender's system calls under strace, those of its
// children too; 0 where that is not possible.
func systemCalls(ctx context.Context, c contender) int {
	var all []float64
	for range straceRuns {
		cmd := exec.CommandContext(ctx, "strace", append([]string{"-f", "-qq", "-c", "-U", "calls,name", "-o", "/dev/fd/3"}, c.args...)...)
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, c.env...)
		r, w, err := os.Pipe()
		if err != nil {
			return 0
		}
		cmd.ExtraFiles = []*os.File{w}
		err = cmd.Start()
		w.Close()
		text, _ := io.ReadAll(r)
		r.Close()
		if err != nil {
			return 0
		}
		cmd.Wait() // its exit code is the contender's
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 2 && f[1] == "total" {
				n, _ := strconv.Atoi(f[0])
				all = append(all, float64(n))
			}
		}
	}
	if len(all) < straceRuns {
		return 0
	}
	slices.Sort(all)
	return int(quantile(all, 0.5))
}

// summarise takes the median and the spread of the middle half.
func summarise(c contender, all []sample) result {
	pick := func(of func(sample) float64) (median, iqr float64) {
		v := make([]float64, len(all))
		for i, s := range all {
			v[i] = of(s)
		}
		slices.Sort(v)
		return round(quantile(v, 0.5)), round(quantile(v, 0.75) - quantile(v, 0.25))
	}
	r := result{Job: c.job, Program: c.name, Runs: len(all)}
	r.Wall, r.WallIQR = pick(func(s sample) float64 { return float64(s.wall.Microseconds()) / 1000 })
	r.CPU, r.CPUIQR = pick(func(s sample) float64 { return float64(s.cpu.Microseconds()) / 1000 })
	r.RSS, _ = pick(func(s sample) float64 { return s.rss })
	r.Faults, _ = pick(func(s sample) float64 { return s.faults })
	if st, err := os.Stat(c.file); err == nil {
		r.Size = st.Size()
	}
	return r
}

// quantile is the p-th of sorted values.
func quantile(sorted []float64, p float64) float64 {
	return sorted[int(math.Round(p*float64(len(sorted)-1)))]
}

func round(v float64) float64 { return math.Round(v*100) / 100 }

func table(out io.Writer, all []result) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	job := ""
	for _, r := range all {
		if r.Job != job {
			job = r.Job
			fmt.Fprintf(w, "\n%s\twall ms\t±\tCPU ms\t±\tpeak MiB\tfaults\tcalls\tMB\t\n", job)
		}
		size := "-"
		if r.Size > 0 {
			size = fmt.Sprintf("%.2f", float64(r.Size)/1e6)
		}
		calls := "-"
		if r.Calls > 0 {
			calls = strconv.Itoa(r.Calls)
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.0f\t%s\t%s\t\n", r.Program, r.Wall, r.WallIQR/2, r.CPU, r.CPUIQR/2, r.RSS, r.Faults, calls, size)
	}
	w.Flush()
}

// write keeps the results for programs and as a picture.
func write(dir string, results []result, boxed []boxedResult, dog map[string]map[string]float64, notes []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(map[string]any{"notes": notes, "results": results, "tenth_of_a_core": boxed, "watchdog": dog}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "results.svg"), []byte(picture(results)), 0o644)
}
