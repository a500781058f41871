package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// boxedResult is what a program costs a container of its own, by the
// container's cgroup: the median over its runs.
type boxedResult struct {
	Program   string  `json:"program"`
	Wall      float64 `json:"wall_ms"`
	CPU       float64 `json:"cpu_ms"`
	Throttled float64 `json:"throttled_ms"`
}

// inContainer runs the probe in a container that may use a tenth of a core,
// as the engine does it: by an exec. The runtime's own start of an exec counts
// in the container too; the empty program shows how much that is.
func inContainer(ctx context.Context, dir string, runs int) ([]boxedResult, error) {
	docker := func(args ...string) (string, error) {
		var stderr strings.Builder
		cmd := exec.CommandContext(ctx, "docker", args...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("docker %s: %w: %s", args[0], err, stderr.String())
		}
		return strings.TrimSpace(string(out)), nil
	}
	file := "FROM scratch\nCOPY demo healthcheck empty /\nCMD [\"/demo\",\"serve\",\":5000\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(file), 0o600); err != nil {
		return nil, err
	}
	// A context of its own: the servers' data is not the engine's business.
	if err := os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte("*\n!demo\n!healthcheck\n!empty\n"), 0o600); err != nil {
		return nil, err
	}
	image, err := docker("build", "-q", dir)
	if err != nil {
		return nil, err
	}
	defer exec.Command("docker", "rmi", "-f", image).Run()
	id, err := docker("run", "-d", "--cpus", "0.1", "--network", "none", image)
	if err != nil {
		return nil, err
	}
	defer exec.Command("docker", "rm", "-f", id).Run()
	pid, err := docker("inspect", "-f", "{{.State.Pid}}", id)
	if err != nil {
		return nil, err
	}
	group, err := cpuGroup(pid)
	if err != nil {
		return nil, err
	}
	quiet := []string{"-e", "HEALTHCHECK_CPU_MAX=off", "-e", "HEALTHCHECK_MEM_MAX=off", "-e", "HEALTHCHECK_DISK_MAX=off", "-e", "HEALTHCHECK_INTERVAL=1h"}
	programs := []struct {
		name string
		args []string
	}{
		{"empty Go program", []string{"/empty"}},
		{"healthcheck, one GET", []string{"/healthcheck", "--layers", "api"}},
		{"healthcheck, the seed's four layers", []string{"/healthcheck"}},
	}
	samples := make([][3][]float64, len(programs))
	for round := range runs + 1 {
		for i, p := range programs {
			cpu, throttled, err := group.read()
			if err != nil {
				return nil, err
			}
			begin := time.Now()
			if _, err := docker(slices.Concat([]string{"exec"}, quiet, []string{id}, p.args)...); err != nil {
				return nil, err
			}
			wall := time.Since(begin)
			cpu2, throttled2, err := group.read()
			if err != nil {
				return nil, err
			}
			if round == 0 {
				continue // the warm-up
			}
			for k, d := range []time.Duration{wall, cpu2 - cpu, throttled2 - throttled} {
				samples[i][k] = append(samples[i][k], float64(d.Microseconds())/1000)
			}
		}
	}
	var results []boxedResult
	for i, p := range programs {
		var m [3]float64
		for k, v := range samples[i] {
			slices.Sort(v)
			m[k] = round(quantile(v, 0.5))
		}
		results = append(results, boxedResult{p.name, m[0], m[1], m[2]})
	}
	return results, nil
}

// cpuAccount is where the kernel counts a container's CPU time.
type cpuAccount struct {
	v2             bool
	usage, limited string // files
}

func cpuGroup(pid string) (cpuAccount, error) {
	text, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		return cpuAccount{}, err
	}
	var acct, cpu, unified string
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, controller := range strings.Split(f[1], ",") {
			switch controller {
			case "cpuacct":
				acct = f[2]
			case "cpu":
				cpu = f[2]
			case "":
				unified = f[2]
			}
		}
	}
	if acct != "" && cpu != "" {
		return cpuAccount{false, "/sys/fs/cgroup/cpuacct" + acct + "/cpuacct.usage", "/sys/fs/cgroup/cpu" + cpu + "/cpu.stat"}, nil
	}
	file := "/sys/fs/cgroup" + unified + "/cpu.stat"
	if _, err := os.Stat(file); err != nil {
		return cpuAccount{}, errors.New("the container's cgroup is not to be found")
	}
	return cpuAccount{true, file, file}, nil
}

// read returns the CPU time used and the time spent throttled so far.
func (c cpuAccount) read() (used, throttled time.Duration, err error) {
	field := func(file, key string) (n int64, err error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			if key == "" {
				_, err = fmt.Sscan(line, &n)
				return n, err
			}
			if rest, ok := strings.CutPrefix(line, key+" "); ok {
				_, err = fmt.Sscan(rest, &n)
				return n, err
			}
		}
		return 0, fmt.Errorf("%s has no %s", file, key)
	}
	unit, usageKey, limitedKey := time.Nanosecond, "", "throttled_time"
	if c.v2 {
		unit, usageKey, limitedKey = time.Microsecond, "usage_usec", "throttled_usec"
	}
	u, err := field(c.usage, usageKey)
	if err != nil {
		return 0, 0, err
	}
	l, err := field(c.limited, limitedKey)
	return time.Duration(u) * unit, time.Duration(l) * unit, err
}

func tableInContainer(out io.Writer, all []boxedResult) {
	if len(all) == 0 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nby exec in a container with a tenth of a core\twall ms\tCPU ms\tthrottled ms\t\n")
	for _, r := range all {
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t\n", r.Program, r.Wall, r.CPU, r.Throttled)
	}
	w.Flush()
}
