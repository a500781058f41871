package resource

import (
	"errors"
	"os"
	"strings"
	"testing"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

const hostTotal = 8 << 30

func tree(name string) cgroups { return findCgroups(os.DirFS("../../testdata/cgroup/" + name)) }

func TestMemoryOfCapturedTrees(t *testing.T) {
	for _, c := range []struct {
		tree        string
		used, limit float64
		err         string
	}{
		{"v1-docker", 14348288 - 5816320, 64 << 20, ""},
		{"v1-unlimited", 0, 0, "no limit"},
		{"v2-docker", 50<<20 - 20<<20, 64 << 20, ""},
		{"v2-unlimited", 0, 0, "no limit"},
		{"v2-nested", 90<<20 - 20<<20, 128 << 20, ""}, // the pod's limit, with the pod's usage
		{"v2-missing", 0, 0, "no such file"},
		{"v2-garbage", 0, 0, `memory.max holds "lots"`},
		{"v2-outside", 50<<20 - 20<<20, 64 << 20, ""},
		{"none", 0, 0, "no limit"},
	} {
		used, limit, err := tree(c.tree).memory(hostTotal)
		if used != c.used || limit != c.limit || !sameError(err, c.err) {
			t.Errorf("%s: %v of %v, %v; want %v of %v, %v", c.tree, used, limit, err, c.used, c.limit, c.err)
		}
	}
}

func TestMemoryLimitAboveTheHostsIsNone(t *testing.T) {
	if _, _, err := tree("v2-docker").memory(64 << 20); !errors.Is(err, errNoLimit) {
		t.Errorf("got %v", err)
	}
}

func TestCPUOfCapturedTrees(t *testing.T) {
	for _, c := range []struct {
		tree  string
		cores float64
		used  int64
		err   string
	}{
		{"v1-docker", 0.5, 1465100494, ""},
		{"v1-unlimited", 0, 0, "no limit"},
		{"v2-docker", 0.5, 1500000000, ""},
		{"v2-unlimited", 0, 0, "no limit"},
		{"v2-nested", 1, 1500000000, ""},
		{"v2-missing", 0, 0, "no limit"},
		{"v2-garbage", 0, 0, "cpu.max holds"},
		{"v2-outside", 0.5, 1500000000, ""},
		{"none", 0, 0, "no limit"},
	} {
		g := tree(c.tree)
		cores, up, err := g.cpuQuota()
		var used int64
		if err == nil {
			used, err = g.cpuUsage(up)
		}
		if cores != c.cores || used != c.used || !sameError(err, c.err) {
			t.Errorf("%s: %v cores, %v used, %v; want %v, %v, %v", c.tree, cores, used, err, c.cores, c.used, c.err)
		}
	}
}

func TestPidsAndOOMKillsOfCapturedTrees(t *testing.T) {
	for _, c := range []struct {
		tree        string
		used, limit float64
		kills       int64
		err         string
	}{
		{"v1-docker", 0, 0, 0, "no limit"},
		{"v2-docker", 12, 100, 2, ""},
		{"v2-nested", 12, 50, 2, ""},
		{"v2-unlimited", 0, 0, 2, "no limit"},
		{"v2-garbage", 0, 0, 2, "pids.max holds"},
		{"v2-missing", 0, 0, 0, "no limit"},
		{"none", 0, 0, 0, "no limit"},
	} {
		g := tree(c.tree)
		used, limit, err := g.pids()
		if used != c.used || limit != c.limit || !sameError(err, c.err) || g.oomKills() != c.kills {
			t.Errorf("%s: %v of %v, %d kills, %v", c.tree, used, limit, g.oomKills(), err)
		}
	}
}

func TestCoresAllowed(t *testing.T) {
	for _, c := range []struct {
		tree          string
		allowed, host int
		cores         float64
		ok            bool
	}{
		{"v2-docker", 8, 8, 0.5, true},
		{"v2-unlimited", 8, 8, 8, false}, // the host's figures count
		{"v2-unlimited", 2, 8, 2, true},  // a CPU set
		{"v2-nested", 8, 1, 1, false},    // a quota of all there is limits nothing
	} {
		if cores, _, ok := coresAllowed(tree(c.tree), c.allowed, c.host); cores != c.cores || ok != c.ok {
			t.Errorf("%+v: got %v, %v", c, cores, ok)
		}
	}
}

func TestMemorySaysWhatItReadFrom(t *testing.T) {
	for tree_, want := range map[string]string{
		"v2-docker":    "46.9% of 64.0 MiB (max 90%), container limit",
		"v2-unlimited": "25.0% of 8.0 GiB (max 90%), host",
		"v2-garbage":   `25.0% of 8.0 GiB (max 90%), host (container limit unreadable: memory.max holds "lots")`,
	} {
		f, err := judgeMemory(tree(tree_), hostTotal, hostTotal*0.75, 90)
		if f.Message != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", tree_, f.Message, err, want)
		}
	}
	if _, err := judgeMemory(tree("v2-docker"), hostTotal, hostTotal, 40); err == nil || probe.StageOf(err) != probe.StageLimit {
		t.Errorf("above the limit: %v", err)
	}
}

func sameError(err error, part string) bool {
	if part == "" || err == nil {
		return part == "" && err == nil
	}
	return strings.Contains(err.Error(), part)
}

func FuzzCgroupFilesNeverCrash(f *testing.F) {
	f.Add("0::/a/b\n", "30 29 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "max 100000")
	f.Add("4:memory:/docker/x\n1:cpu,cpuacct:/\n", "78 74 0:32 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "-1 0")
	f.Add("0::/../..\n:::\n", "x - y", "0 0")
	f.Fuzz(func(t *testing.T, own, mounts, quota string) {
		for _, h := range locateCgroups(own, target.ParseMountinfo(mounts)) {
			if n := len(h.levels()); n > len(own)+2 {
				t.Errorf("%d levels from %q", n, own)
			}
		}
		q, p, _ := strings.Cut(quota, " ")
		if v, err := parseQuota("cpu.max", q, p); err == nil && !(v > 0) {
			t.Errorf("quota %q is %v cores", quota, v)
		}
	})
}
