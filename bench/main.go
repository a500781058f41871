// Bench runs one probe as a whole process, for this project and for what a
// user would pick instead, against one local server, the programs taking
// turns, and prints one table.
//
//	go run ./bench [-runs 30] [-out bench/results]
//
// It also writes results.json and results.svg.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
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
	Size    int64   `json:"bytes,omitempty"`
	Runs    int     `json:"runs"`
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	runs := fs.Int("runs", 30, "runs of each program, after a warm-up")
	out := fs.String("out", "bench/results", "where results.json and results.svg go")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "healthcheck-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := build(ctx, dir); err != nil {
		return err
	}
	addr, hung, closed, err := servers(ctx)
	if err != nil {
		return err
	}
	all, notes := contenders(dir, addr, hung, closed)
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
		results = append(results, summarise(c, samples[i]))
	}
	table(results)
	notes = append([]string{fmt.Sprintf("%s, %d cores, %s, kernel %s; %d runs each, in turns; median, and half of the runs lie within ± half of the spread.",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), kernel(), *runs)}, notes...)
	fmt.Println(strings.Join(notes, "\n"))
	return write(*out, results, notes)
}

func kernel() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(text))
}

// build makes the programs as users get them: static and stripped.
func build(ctx context.Context, dir string) error {
	for name, pkg := range map[string]string{"healthcheck": "./cmd/healthcheck", "empty": "./bench/contenders/empty", "nethttp": "./bench/contenders/nethttp", "launch": "./bench/launch"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, name), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// servers starts the application, an address that hangs and one where nobody
// listens. The application is the seed's, on its own port, since the Python
// script knows no other.
func servers(ctx context.Context) (addr, hung, closed string, err error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:5000")
	if err != nil {
		return "", "", "", fmt.Errorf("the Python script asks port 5000, which must be free: %w", err)
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"status":"ok"}`) })}
	go srv.Serve(ln)
	silent, err := net.Listen("tcp4", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		return "", "", "", err
	}
	gone, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", "", "", err
	}
	gone.Close()
	context.AfterFunc(ctx, func() { srv.Close(); silent.Close() })
	return ln.Addr().String(), silent.Addr().String(), gone.Addr().String(), nil
}

// contenders lists who is there; notes say who is not.
func contenders(dir, addr, hung, closed string) (all []contender, notes []string) {
	hc := filepath.Join(dir, "healthcheck")
	state := "HEALTHCHECK_STATE_DIR=" + dir
	quiet := []string{state, "HEALTHCHECK_CPU_MAX=off", "HEALTHCHECK_MEM_MAX=off", "HEALTHCHECK_DISK_MAX=off", "HEALTHCHECK_INTERVAL=1h"}
	add := func(job, name, file string, want int, env []string, args ...string) {
		if _, err := exec.LookPath(args[0]); err != nil {
			notes = append(notes, "not there: "+name)
			return
		}
		all = append(all, contender{job, name, file, args, env, want})
	}
	url := "http://" + addr + "/health"
	const get, seed, refused, hangs, start = "one HTTP GET", "the seed's four layers", "connection refused", "a server that hangs, 1 s allowed", "start-up alone"
	add(start, "empty Go program", filepath.Join(dir, "empty"), 0, nil, filepath.Join(dir, "empty"))
	add(start, "healthcheck --version", hc, 0, nil, hc, "--version")
	for job, target := range map[string]struct {
		url  string
		want int
	}{get: {url, 0}, refused: {"http://" + closed + "/health", 1}} {
		add(job, "healthcheck", hc, target.want, quiet, hc, "--layers", "api", "--api", target.url)
		add(job, "minimal Go net/http", filepath.Join(dir, "nethttp"), target.want, nil, filepath.Join(dir, "nethttp"), target.url)
		add(job, "curl", which("curl"), map[int]int{0: 0, 1: 7}[target.want], nil, "curl", "-fsS", "-o", "/dev/null", target.url)
		add(job, "wget", which("wget"), map[int]int{0: 0, 1: 4}[target.want], nil, "wget", "-q", "-O", "/dev/null", target.url)
	}
	add(seed, "healthcheck", hc, 0, quiet, hc)
	if script, err := seedScript(dir); err != nil {
		notes = append(notes, "not there: the seed's Python script: "+err.Error())
	} else {
		add(seed, "the seed's Python script", "", 0, nil, "/usr/bin/python3", script[0])
		add(seed, "the same without its 1 s of sampling", "", 0, nil, "/usr/bin/python3", script[1])
	}
	add(hangs, "healthcheck", hc, 1, quiet, hc, "--layers", "api", "--timeout", "1s", "--api", "http://"+hung+"/")
	add(hangs, "curl -m 1", which("curl"), 28, nil, "curl", "-fsS", "-m", "1", "http://"+hung+"/")
	slices.SortStableFunc(all, func(a, b contender) int {
		order := []string{start, get, seed, refused, hangs}
		return slices.Index(order, a.job) - slices.Index(order, b.job)
	})
	return all, notes
}

func which(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	path, _ = filepath.EvalSymlinks(path)
	return path
}

// seedScript writes the script of testdata/lint/seed, as it is and without its
// second of CPU sampling, with limits that a busy benchmark does not reach.
func seedScript(dir string) (paths [2]string, err error) {
	if out, err := exec.Command("/usr/bin/python3", "-c", "import psutil, requests").CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return paths, errors.New(lines[len(lines)-1] + " (Debian packages python3-psutil and python3-requests)")
	}
	text, err := os.ReadFile("testdata/lint/seed/health_check.py")
	if err != nil {
		return paths, err
	}
	whole := strings.NewReplacer("> 90", "> 1000", "> 95", "> 1000").Replace(string(text))
	for i, script := range []string{whole, strings.Replace(whole, "interval=1", "interval=None", 1)} {
		paths[i] = filepath.Join(dir, fmt.Sprintf("health_check_%d.py", i))
		if err := os.WriteFile(paths[i], []byte(script), 0o600); err != nil {
			return paths, err
		}
	}
	return paths, nil
}

// measure runs a contender once.
func measure(ctx context.Context, dir string, c contender) (sample, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "launch"), c.args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, c.env...)
	out, err := cmd.Output()
	if err != nil {
		return sample{}, err
	}
	var wall, user, sys, rss, code int64
	if _, err := fmt.Sscan(string(out), &wall, &user, &sys, &rss, &code); err != nil {
		return sample{}, err
	}
	if int(code) != c.want {
		return sample{}, fmt.Errorf("exit %d, want %d", code, c.want)
	}
	return sample{time.Duration(wall) * time.Microsecond, time.Duration(user+sys) * time.Microsecond, float64(rss) / 1024}, nil
}

// summarise takes the median and the spread of the middle half.
func summarise(c contender, all []sample) result {
	pick := func(of func(sample) float64) (median, iqr float64) {
		v := make([]float64, len(all))
		for i, s := range all {
			v[i] = of(s)
		}
		slices.Sort(v)
		at := func(p float64) float64 { return v[int(math.Round(p*float64(len(v)-1)))] }
		return round(at(0.5)), round(at(0.75) - at(0.25))
	}
	r := result{Job: c.job, Program: c.name, Runs: len(all)}
	r.Wall, r.WallIQR = pick(func(s sample) float64 { return float64(s.wall.Microseconds()) / 1000 })
	r.CPU, r.CPUIQR = pick(func(s sample) float64 { return float64(s.cpu.Microseconds()) / 1000 })
	r.RSS, _ = pick(func(s sample) float64 { return s.rss })
	if st, err := os.Stat(c.file); err == nil {
		r.Size = st.Size()
	}
	return r
}

func round(v float64) float64 { return math.Round(v*100) / 100 }

func table(all []result) {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	job := ""
	for _, r := range all {
		if r.Job != job {
			job = r.Job
			fmt.Fprintf(w, "\n%s\twall ms\t±\tCPU ms\t±\tpeak MiB\tMB\t\n", job)
		}
		size := "-"
		if r.Size > 0 {
			size = fmt.Sprintf("%.2f", float64(r.Size)/1e6)
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%s\t\n", r.Program, r.Wall, r.WallIQR/2, r.CPU, r.CPUIQR/2, r.RSS, size)
	}
	w.Flush()
	fmt.Println()
}

// write keeps the results for programs and as a picture.
func write(dir string, results []result, notes []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(map[string]any{"notes": notes, "results": results}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "results.svg"), []byte(picture(results)), 0o644)
}
