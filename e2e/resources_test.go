package e2e

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// An application that reads one file again and again fills its limit with the
// cache of that file, which the kernel gives back whenever it is asked to.
func TestPageCacheIsNoUse(t *testing.T) {
	const reader = `/busybox dd if=/dev/zero of=/file bs=1M count=90 2>/dev/null; while :; do /busybox cat /file >/dev/null; /busybox sleep 0.1; done`
	image := buildImageWith(t, []string{"/bin/busybox"}, "COPY busybox /", `CMD ["/busybox", "sh", "-c", "`+reader+`"]`)
	id := start(t, "--memory", "100m", image)
	// What the container is charged with is above nine tenths of the limit…
	eventually(t, "the cache fills the limit", func() (string, bool) {
		out, _ := output(t, nil, "docker", "exec", id, "/busybox", "sh", "-c", "cat /sys/fs/cgroup/memory/memory.usage_in_bytes /sys/fs/cgroup/memory.current 2>/dev/null")
		var n int
		fmt.Sscan(out, &n)
		return out, n > 91<<20
	})
	// … and none of it is in use, once it is written to the disk.
	eventually(t, "it is healthy", func() (string, bool) {
		out, code := output(t, nil, "docker", "exec", id, "/healthcheck", "--layers", "resource", "--mem-max", "30", "--cpu-max", "off", "--disk-max", "off")
		return out, code == 0 && strings.Contains(out, "% of 100.0 MiB (max 30%), container limit")
	})
}

// A container that does nothing is healthy while its neighbours take all of the
// host: that is the host's trouble, where it was asked for.
func TestBusyNeighbours(t *testing.T) {
	image := buildImageWith(t, []string{"/bin/busybox"}, "COPY busybox /", `CMD ["/demo", "serve", ":5000"]`)
	idle := start(t, image)
	busy := start(t, "--cpu-shares", "2", image, "/busybox", "sh", "-c", strings.Repeat("while :; do :; done & ", runtime.NumCPU())+"wait")
	const limit = "60"
	eventually(t, "the host is busy", func() (string, bool) {
		out, code := output(t, nil, "docker", "exec", idle, "/healthcheck", "--layers", "resource", "--state-dir", "none", "--host", "--cpu-max", limit, "--mem-max", "off", "--disk-max", "off")
		return out, code == 1 && strings.Contains(out, "FAIL cpu ") && strings.Contains(out, "  [host]  ") && strings.Contains(out, " no limit; host ")
	})
	eventually(t, "the idle one is healthy", func() (string, bool) {
		out, code := output(t, nil, "docker", "exec", idle, "/healthcheck", "--layers", "resource", "--state-dir", "none", "--cpu-max", limit, "--mem-max", "off", "--disk-max", "off")
		return out, code == 0 && strings.Contains(out, "ok   cpu ") && strings.Contains(out, " no limit; host ")
	})
	eventually(t, "the busy one is not", func() (string, bool) {
		out, code := output(t, nil, "docker", "exec", busy, "/healthcheck", "--layers", "resource", "--state-dir", "none", "--cpu-max", limit, "--cpu-window", "1s", "--mem-max", "off", "--disk-max", "off")
		return out, code == 1 && strings.Contains(out, "FAIL cpu ") && strings.Contains(out, "  [self]  ")
	})
	exec.Command("docker", "kill", busy).Run()
}

// A monitoring agent sees the host's groups beside its own, which count.
func TestHostsGroupsBesideOwn(t *testing.T) {
	image := buildImage(t, `CMD ["/demo", "serve", ":5000"]`)
	for _, namespace := range []string{"private", "host"} {
		id := start(t, "--cgroupns", namespace, "-v", "/sys/fs/cgroup:/host/cgroup:ro", "--memory", "64m", "--cpus", "0.5", image)
		eventually(t, namespace+": the container's own limits count", func() (string, bool) {
			out, code := output(t, nil, "docker", "exec", id, "/healthcheck", "--layers", "resource", "--cpu-max", "off", "--disk-max", "off")
			return out, code == 0 && strings.Contains(out, "% of 0.5 cores ") && strings.Contains(out, "% of 64.0 MiB (max 90%), container limit")
		})
	}
}

// A warning comes before a failure, by percent and by what is left, of a
// container's memory and of a disk of its own that is half full.
func TestWarningsComeBeforeFailures(t *testing.T) {
	image := buildImageWith(t, []string{"/bin/busybox"}, "COPY busybox /",
		`CMD ["/busybox", "sh", "-c", "/busybox dd if=/dev/zero of=/data/file bs=1M count=8 && /busybox sleep 600"]`)
	id := start(t, "--memory", "64m", "--tmpfs", "/data:size=16m", image)
	eventually(t, "the disk is half full", func() (string, bool) {
		out, code := output(t, nil, "docker", "exec", id, "/healthcheck", "--layers", "resource", "--cpu-max", "off", "--mem-max", "off", "--disk-path", "/data", "--disk-max", "49")
		return out, code == 1 && strings.Contains(out, "50.0% of 16.0 MiB at /data (max 49%)")
	})
	for limits, want := range map[string]struct {
		code int
		text string
	}{
		"--warn-mem-max 0.1":                                   {0, "% of 64.0 MiB (max 90%, warning above 0.1%), container limit"},
		"--warn-mem-min-free 63.9MiB":                          {0, " MiB free (warning below 63.9 MiB), container limit"},
		"--mem-min-free 63.9MiB":                               {1, "[self]"},
		"--mem-min-free 65MiB":                                 {1, "[config]"},
		"--warn-disk-max 49":                                   {0, "50.0% of 16.0 MiB at /data (max 95%, warning above 49%)"},
		"--disk-min-free 7MiB --warn-disk-min-free 9MiB":       {0, "8.0 MiB free (min 7.0 MiB, warning below 9.0 MiB)"},
		"--disk-min-free 9MiB":                                 {1, "[host]"},
		"--disk-min-free 17MiB":                                {1, "which is more than there is"},
		"--disk-min-free 8MiB --mem-min-free 1MiB":             {0, "8.0 MiB free (min 8.0 MiB)"},
		"--disk-max off --disk-min-free off --warn-pids-max 1": {0, " tasks (warning above 1%), "},
	} {
		args := append([]string{"exec", id, "/healthcheck", "--layers", "resource", "--cpu-max", "off", "--disk-path", "/data"}, strings.Fields(limits)...)
		out, code := output(t, nil, "docker", args...)
		verdict := "healthy: "
		switch {
		case code == 1:
			verdict = "unhealthy: "
		case strings.Contains(limits, "--warn-") && !strings.Contains(limits, "pids"):
			verdict = "degraded: "
		}
		if code != want.code || !strings.Contains(out, want.text) || !strings.HasPrefix(out, verdict) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s", limits, code, want.code, want.text, out)
		}
	}
}
