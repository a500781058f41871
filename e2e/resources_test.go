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
