package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The jobs, in the order of the table.
const (
	jobStart   = "start-up alone"
	jobGet     = "one HTTP GET"
	jobSeed    = "the seed's four layers"
	jobFive    = "five layers, PostgreSQL and Redis among them"
	jobGRPC    = "one gRPC health check"
	jobRefused = "connection refused"
	jobHung    = "a server that hangs, 1 s allowed"
	jobThree   = "three paths of one host"
	jobSlow    = "the same, each answer after 20 ms"
	jobGrow    = "so many targets at once"
)

var jobs = []string{jobStart, jobGet, jobSeed, jobFive, jobGRPC, jobRefused, jobHung, jobThree, jobSlow, jobGrow}

// build makes the programs as users get them: static and stripped. notes say
// which of the others cannot be had.
func build(ctx context.Context, dir string) (notes []string, err error) {
	for name, pkg := range map[string]string{"healthcheck": "./cmd/healthcheck", "demo": "./cmd/demo", "launch": "./bench/launch",
		"empty": "./bench/contenders/empty", "nethttp": "./bench/contenders/nethttp", "threepaths": "./bench/contenders/threepaths"} {
		if err := goBuild(ctx, ".", filepath.Join(dir, name), pkg); err != nil {
			return nil, err
		}
	}
	for name, pkg := range map[string]string{"goss": "github.com/goss-org/goss/cmd/goss",
		"grpc-health-probe": "github.com/grpc-ecosystem/grpc-health-probe", "grpcserver": "./grpcserver"} {
		if err := goBuild(ctx, "bench/peers", filepath.Join(dir, name), pkg); err != nil {
			notes = append(notes, "not there: "+name+": "+firstLine(err.Error()))
		}
	}
	notes = append(notes, "not there: wait4x, which the Go module proxy does not serve")
	return notes, nil
}

func goBuild(ctx context.Context, dir, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, text)
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// field is all contenders; programs that are not there are left out and named.
type field struct {
	dir   string
	all   []contender
	notes []string
}

// add enters a program for a job. file is what its size is taken of: empty
// for an interpreter with its packages.
func (f *field) add(job, name, file string, want int, env []string, args ...string) {
	if _, err := exec.LookPath(args[0]); err != nil {
		note := "not there: " + filepath.Base(args[0])
		if !slices.ContainsFunc(f.notes, func(n string) bool { return strings.HasPrefix(n, note) }) {
			f.notes = append(f.notes, note)
		}
		return
	}
	f.all = append(f.all, contender{job, name, file, args, env, want})
}

func (f *field) path(name string) string { return filepath.Join(f.dir, name) }

// contenders lists who runs for which job.
func contenders(dir string, s *servers) *field {
	f := &field{dir: dir}
	hc := f.path("healthcheck")
	// The machine may be busy with anything: its resources are looked at,
	// not judged. A sample is taken as fresh, as in the steady state.
	env := []string{"HEALTHCHECK_STATE_DIR=" + dir, "HEALTHCHECK_CPU_MAX=off", "HEALTHCHECK_MEM_MAX=off", "HEALTHCHECK_DISK_MAX=off", "HEALTHCHECK_INTERVAL=1h"}
	url := "http://" + s.app + "/health"

	f.add(jobStart, "empty Go program", f.path("empty"), 0, nil, f.path("empty"))
	f.add(jobStart, "minimal Go net/http, doing nothing", f.path("nethttp"), 0, nil, f.path("nethttp"))
	f.add(jobStart, "healthcheck --version", hc, 0, nil, hc, "--version")
	for job, target := range map[string]struct {
		url  string
		want int
	}{jobGet: {url, 0}, jobRefused: {"http://" + s.closed + "/health", 1}} {
		f.add(job, "healthcheck", hc, target.want, nil, hc, "--layers", "api", "--api", target.url)
		f.add(job, "minimal Go net/http", f.path("nethttp"), target.want, nil, f.path("nethttp"), target.url)
		f.add(job, "curl", which("curl"), map[int]int{0: 0, 1: 7}[target.want], nil, "curl", "-fsS", "-o", "/dev/null", target.url)
		f.add(job, "wget", which("wget"), map[int]int{0: 0, 1: 4}[target.want], nil, "wget", "-q", "-O", "/dev/null", target.url)
		f.addGoss(job, target.url, target.want)
	}
	f.addSeed(hc, env)
	f.addFive(s, hc, env)
	if s.grpc != "" {
		f.add(jobGRPC, "healthcheck", hc, 0, env, hc, "--layers", "api", "--api", "grpc://"+s.grpc)
		f.add(jobGRPC, "grpc-health-probe", f.path("grpc-health-probe"), 0, nil, f.path("grpc-health-probe"), "-addr="+s.grpc)
	}
	f.add(jobHung, "healthcheck", hc, 1, env, hc, "--layers", "api", "--timeout", "1s", "--api", "http://"+s.hung+"/")
	f.add(jobHung, "curl -m 1", which("curl"), 28, nil, "curl", "-fsS", "-m", "1", "http://"+s.hung+"/")
	for job, addr := range map[string]string{jobThree: s.app, jobSlow: s.slow} {
		for _, how := range []string{"at-once", "in-turn"} {
			name := map[string]string{"at-once": "at once, a connection each", "in-turn": "in turn over one connection"}[how]
			f.add(job, name, "", 0, nil, f.path("threepaths"), how, "http://"+addr+"/health", "http://"+addr+"/db/health", "http://"+addr+"/vector/health")
		}
	}
	for _, n := range []int{1, 10, 100} {
		args := []string{hc, "--layers", "api"}
		for i := range n {
			args = append(args, "--api", fmt.Sprintf("t%d=%s", i, url))
		}
		f.add(jobGrow, fmt.Sprintf("healthcheck, %d", n), hc, 0, nil, args...)
	}
	slices.SortStableFunc(f.all, func(a, b contender) int { return slices.Index(jobs, a.job) - slices.Index(jobs, b.job) })
	return f
}

// addGoss enters goss with a test file of its own for one URL.
func (f *field) addGoss(job, url string, want int) {
	file := f.path(fmt.Sprintf("goss-%d.yaml", want))
	text := fmt.Sprintf("http:\n  %s:\n    status: 200\n    timeout: 5000\n", url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		f.notes = append(f.notes, "not there: goss: "+err.Error())
		return
	}
	f.add(job, "goss validate", f.path("goss"), want, nil, f.path("goss"), "-g", file, "validate")
}

// addSeed enters the script that the project stands in for, as it is and
// without its second of CPU sampling.
func (f *field) addSeed(hc string, env []string) {
	f.add(jobSeed, "healthcheck", hc, 0, env, hc)
	text, err := seedScript("psutil, requests")
	if err != nil {
		f.notes = append(f.notes, "not there: the seed's Python script: "+err.Error())
		return
	}
	f.addPython(jobSeed, "the seed's Python script", text)
	f.addPython(jobSeed, "the same without its 1 s of sampling", strings.Replace(text, "interval=1", "interval=None", 1))
}

// addFive enters the seed's script with PostgreSQL and Redis asked natively,
// and a shell line with their own tools, which looks at no resources and
// authenticates nowhere.
func (f *field) addFive(s *servers, hc string, env []string) {
	if s.postgres == "" || s.redis == "" {
		f.notes = append(f.notes, "left out: "+jobFive+": no PostgreSQL or no Redis here")
		return
	}
	env = append(slices.Clone(env), "HEALTHCHECK_DB=postgres://app:secret@"+s.postgres+"/postgres,redis=redis://"+s.redis)
	f.add(jobFive, "healthcheck", hc, 0, env, hc, "--gpu", "--gpu-optional")
	host, port, _ := strings.Cut(s.postgres, ":")
	_, redisPort, _ := strings.Cut(s.redis, ":")
	script := fmt.Sprintf("curl -fsS -o /dev/null http://%s/health && pg_isready -q -h %s -p %s && redis-cli -p %s ping >/dev/null && curl -fsS -o /dev/null http://%s/vector/health",
		s.app, host, port, redisPort, s.app)
	if _, err := exec.LookPath("redis-cli"); err == nil {
		f.add(jobFive, "sh: curl, pg_isready, redis-cli (two layers less)", "", 0, nil, "sh", "-c", script)
	}
	text, err := seedScript("psutil, requests, psycopg2, redis")
	if err != nil {
		f.notes = append(f.notes, "not there: Python with psycopg2 and redis: "+err.Error())
		return
	}
	text = strings.Replace(text, "interval=1", "interval=None", 1)
	text = strings.Replace(text, "import os\n", "import os\nimport psycopg2\nimport redis\n", 1)
	text = strings.Replace(text, "requests.get('http://localhost:5000/db/health', timeout=5)\n",
		fmt.Sprintf("requests.get('http://localhost:5000/db/health', timeout=5)\n        db = psycopg2.connect('postgres://app:secret@%s/postgres', connect_timeout=5)\n"+
			"        db.cursor().execute('SELECT 1')\n        redis.Redis(port=%s, socket_timeout=5).ping()\n", s.postgres, redisPort), 1)
	f.addPython(jobFive, "Python: no sampling, psycopg2, redis (no GPU)", text)
}

func (f *field) addPython(job, name, text string) {
	path := f.path(fmt.Sprintf("script-%d.py", len(f.all)))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.notes = append(f.notes, "not there: "+name+": "+err.Error())
		return
	}
	f.add(job, name, "", 0, nil, python, path)
}

// python is Debian's own, which its packages belong to.
const python = "/usr/bin/python3"

// seedScript returns the script of testdata/lint/seed with limits that a busy
// benchmark does not reach, if the modules are there.
func seedScript(modules string) (string, error) {
	if out, err := exec.Command(python, "-c", "import "+modules).CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return "", errors.New(lines[len(lines)-1] + " (Debian packages python3-psutil, -requests, -psycopg2, -redis)")
	}
	text, err := os.ReadFile("testdata/lint/seed/health_check.py")
	return strings.NewReplacer("> 90", "> 1000", "> 95", "> 1000").Replace(string(text)), err
}

func which(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	path, _ = filepath.EvalSymlinks(path)
	return path
}
