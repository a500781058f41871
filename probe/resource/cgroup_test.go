package resource

import (
	"cmp"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/shirou/gopsutil/v3/mem"

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
		{"v1-docker", 14348288 - 5816320 - 6111232, 64 << 20, ""},
		{"v1-cache", 405770240 - 1363968 - 402542592, 400 << 20, ""},
		{"v1-unlimited", 0, 0, "no limit"},
		{"v2-docker", 50<<20 - 30<<20, 64 << 20, ""},
		{"v2-unlimited", 0, 0, "no limit"},
		{"v2-nested", 90<<20 - 30<<20, 128 << 20, ""}, // the pod's limit, with the pod's usage
		{"v2-missing", 0, 0, "no such file"},
		{"v2-garbage", 0, 0, `memory.max holds "lots"`},
		{"v2-outside", 50<<20 - 30<<20, 64 << 20, ""},
		{"v2-agent", 50<<20 - 30<<20, 64 << 20, ""}, // the host's hierarchy is mounted as well
		{"none", 0, 0, "no limit"},
	} {
		use, err := tree(c.tree).memory(hostTotal, 0)
		if use.used != c.used || use.limit != c.limit || !sameError(err, c.err) {
			t.Errorf("%s: %+v, %v; want %v of %v, %v", c.tree, use, err, c.used, c.limit, c.err)
		}
	}
}

func TestMemoryLimitAboveTheHostsIsNone(t *testing.T) {
	if _, err := tree("v2-docker").memory(64<<20, 0); !errors.Is(err, errNoLimit) {
		t.Errorf("got %v", err)
	}
}

// group makes the files of one directory of a tree, from "file: text; file: text".
func group(fsys fstest.MapFS, dir, files string) {
	for f := range strings.SplitSeq(files, "; ") {
		name, text, _ := strings.Cut(f, ": ")
		fsys[dir+"/"+name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, ", ", "\n") + "\n")}
	}
}

func v2Tree(own string) fstest.MapFS {
	return fstest.MapFS{
		"proc/self/cgroup":    {Data: []byte("0::" + own + "\n")},
		"proc/self/mountinfo": {Data: []byte("30 29 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n")},
	}
}

func v1Tree() fstest.MapFS {
	return fstest.MapFS{
		"proc/self/cgroup":    {Data: []byte("4:memory:/\n")},
		"proc/self/mountinfo": {Data: []byte("30 29 0:26 / /sys/fs/cgroup ro - cgroup cgroup rw,memory\n")},
	}
}

// What the kernel gives back before it kills is not used; all the rest is.
func TestMemoryThatIsReclaimable(t *testing.T) {
	const root = "sys/fs/cgroup"
	for _, c := range []struct {
		name, v2, v1 string
		used         float64
	}{
		{"a file that is read again and again",
			"memory.current: 980; memory.stat: anon 2, file 970, inactive_file 100, active_file 870",
			"memory.usage_in_bytes: 980; memory.stat: active_file 1, total_inactive_file 100, total_active_file 870", 10},
		{"pages to be written first",
			"memory.current: 980; memory.stat: inactive_file 100, active_file 800, file_dirty 60, file_writeback 40",
			"memory.usage_in_bytes: 980; memory.stat: total_inactive_file 100, total_active_file 800, total_dirty 60, total_writeback 40", 180},
		{"shared memory and locked files",
			"memory.current: 980; memory.stat: file 970, shmem 500, file_mapped 470, unevictable 470, inactive_file 0, active_file 0",
			"memory.usage_in_bytes: 980; memory.stat: total_cache 970, total_shmem 500, total_unevictable 470, total_inactive_file 0, total_active_file 0", 980},
		{"more dirty than there is on the lists",
			"memory.current: 980; memory.stat: inactive_file 10, active_file 10, file_dirty 60",
			"memory.usage_in_bytes: 980; memory.stat: total_inactive_file 10, total_active_file 10, total_dirty 60", 980},
		{"counters of another moment",
			"memory.current: 980; memory.stat: inactive_file 500, active_file 600",
			"memory.usage_in_bytes: 980; memory.stat: total_inactive_file 500, total_active_file 600", 0},
	} {
		two, one := v2Tree("/"), v1Tree()
		group(two, root, c.v2+"; memory.max: 1000")
		group(one, root, c.v1+"; memory.limit_in_bytes: 1000")
		for version, fsys := range map[string]fstest.MapFS{"v2": two, "v1": one} {
			if use, err := findCgroups(fsys).memory(hostTotal, 0); use.used != c.used || use.limit != 1000 || err != nil {
				t.Errorf("%s, %s: %+v, %v; want %v", c.name, version, use, err, c.used)
			}
		}
	}
	slab := v2Tree("/")
	group(slab, root, "memory.max: 1000; memory.current: 980; memory.stat: inactive_file 0, active_file 0, slab 900, slab_reclaimable 880, slab_unreclaimable 20")
	if use, err := findCgroups(slab).memory(hostTotal, 0); use.used != 100 || err != nil {
		t.Errorf("reclaimable slab: %+v, %v", use, err)
	}
}

// Of several limits the one with the least room counts, whichever is smaller.
func TestMemoryRoom(t *testing.T) {
	const stat = "; memory.stat: inactive_file 0, active_file 0"
	for _, c := range []struct {
		name, pod, own string
		swapFree       float64
		used, limit    float64
		of             string
	}{
		{"the pod is fuller", "memory.max: 2000; memory.current: 1900", "memory.max: 1000; memory.current: 100", 0, 1900, 2000, "container limit"},
		{"the pod has more room", "memory.max: 2000; memory.current: 1000", "memory.max: 1000; memory.current: 900", 0, 900, 1000, "container limit"},
		{"throttled above memory.high", "memory.max: max; memory.current: 1", "memory.max: 1000; memory.high: 500; memory.current: 490", 0, 490, 500, "container limit (memory.high)"},
		{"memory.high above the limit", "memory.max: max; memory.current: 1", "memory.max: 1000; memory.high: 1500; memory.current: 490", 0, 490, 1000, "container limit"},
		{"memory.high alone", "memory.max: max; memory.current: 1", "memory.max: max; memory.high: 500; memory.current: 490", 0, 490, 500, "container limit (memory.high)"},
		{"no memory.high", "memory.max: max; memory.current: 1", "memory.max: 1000; memory.high: max; memory.current: 490", 0, 490, 1000, "container limit"},
		{"swap", "memory.max: max; memory.current: 1", "memory.max: 1000; memory.current: 990; memory.swap.max: 1000; memory.swap.current: 10", 5000, 1000, 2000, "container limit with swap"},
		{"swap of the host's", "memory.max: max; memory.current: 1", "memory.max: 1000; memory.current: 990; memory.swap.max: max; memory.swap.current: 10", 200, 1000, 1210, "container limit with swap"},
		{"swap that is full", "memory.max: max; memory.current: 1", "memory.max: 1000; memory.current: 990; memory.swap.max: 10; memory.swap.current: 10", 5000, 1000, 1010, "container limit with swap"},
		{"a host without swap", "memory.max: max; memory.current: 1", "memory.max: 1000; memory.current: 990; memory.swap.max: max; memory.swap.current: 0", 0, 990, 1000, "container limit"},
		{"swap not allowed", "memory.max: max; memory.current: 1", "memory.max: 1000; memory.current: 990; memory.swap.max: 0; memory.swap.current: 0", 5000, 990, 1000, "container limit"},
		{"the pod may not swap", "memory.max: 1200; memory.current: 1100; memory.swap.max: 0; memory.swap.current: 0", "memory.max: 1000; memory.current: 990; memory.swap.max: 1000; memory.swap.current: 0", 5000, 1100, 1200, "container limit"},
	} {
		fsys := v2Tree("/pod/c")
		group(fsys, "sys/fs/cgroup/pod", c.pod+stat)
		group(fsys, "sys/fs/cgroup/pod/c", c.own+stat)
		if use, err := findCgroups(fsys).memory(hostTotal, c.swapFree); use != (memoryUse{c.used, c.limit, c.of}) || err != nil {
			t.Errorf("%s: %+v, %v; want %v of %v, %s", c.name, use, err, c.used, c.limit, c.of)
		}
	}
	for _, c := range []struct {
		name, files           string
		swapFree, used, limit float64
	}{
		{"swap", "memory.memsw.limit_in_bytes: 2000; memory.stat: ACTIVE, total_swap 100", 5000, 1090, 2000},
		{"swap of the host's", "memory.memsw.limit_in_bytes: 9223372036854771712; memory.stat: ACTIVE, total_swap 100", 200, 1090, 1300},
		{"both limits are one", "memory.memsw.limit_in_bytes: 1000; memory.memsw.usage_in_bytes: 997; memory.stat: ACTIVE, total_swap 0", 5000, 990, 1000},
		{"little room for both", "memory.memsw.limit_in_bytes: 1100; memory.stat: ACTIVE, total_swap 105", 5000, 1095, 1100},
		{"never swapped", "memory.memsw.limit_in_bytes: 2000; memory.stat: ACTIVE, total_swap 0; memory.swappiness: 0", 5000, 990, 1000},
		{"a limit above that is not to be seen", "memory.memsw.limit_in_bytes: 2000; memory.stat: ACTIVE, total_swap 0, hierarchical_memory_limit 995", 0, 990, 995},
		{"no limit above", "memory.stat: ACTIVE, hierarchical_memory_limit 9223372036854771712", 0, 990, 1000},
		{"not accounted for", "memory.swappiness: 60; memory.stat: ACTIVE", 5000, 990, 1000},
	} {
		fsys := v1Tree()
		group(fsys, "sys/fs/cgroup", "memory.limit_in_bytes: 1000; memory.usage_in_bytes: 990; "+strings.ReplaceAll(c.files, "ACTIVE", "total_inactive_file 0, total_active_file 0"))
		if use, err := findCgroups(fsys).memory(hostTotal, c.swapFree); use.used != c.used || use.limit != c.limit || err != nil {
			t.Errorf("v1, %s: %+v, %v; want %v of %v", c.name, use, err, c.used, c.limit)
		}
	}
}

// A monitoring agent has the host's hierarchy mounted as well, before or
// behind its own; an engine may mount one of its own twice.
func TestWhichMountOfTheGroups(t *testing.T) {
	for _, c := range []struct {
		name, own, mounts, dir string
	}{
		{"the host's last", "0::/", "/ /sys/fs/cgroup\n/../../.. /host/cgroup", "sys/fs/cgroup"},
		{"the host's first", "0::/", "/../../.. /host/cgroup\n/ /sys/fs/cgroup", "sys/fs/cgroup"},
		{"the host's alone", "0::/", "/../../.. /sys/fs/cgroup", ""},
		{"a neighbour's", "0::/", "/ /sys/fs/cgroup\n/../other /other", "sys/fs/cgroup"},
		{"below the namespace's root", "0::/app", "/ /sys/fs/cgroup\n/.. /host/cgroup", "sys/fs/cgroup/app"},
		{"another container's, without namespaces", "0::/docker/x", "/docker/x /sys/fs/cgroup\n/docker/xy /other", "sys/fs/cgroup"},
		{"all of the host's, without namespaces", "0::/docker/x", "/ /host/cgroup\n/docker/xy /other", "host/cgroup/docker/x"},
		{"a process outside of the namespace", "0::/../../system.slice", "/../../.. /host/cgroup\n/ /sys/fs/cgroup\n/.. /h", "sys/fs/cgroup"},
		{"a name that begins with dots", "0::/..x", "/ /sys/fs/cgroup", "sys/fs/cgroup/..x"},
		{"two at one place", "0::/a/b", "/ /sys/fs/cgroup\n/a /sys/fs/cgroup", "sys/fs/cgroup/b"},
	} {
		for _, kind := range []string{"cgroup2", "cgroup"} {
			own, controller := c.own, ""
			if kind == "cgroup" {
				own, controller = "4:memory"+strings.TrimPrefix(c.own, "0:"), "memory"
			}
			var mounts []target.Mount
			for line := range strings.Lines(c.mounts) {
				root, point, _ := strings.Cut(strings.TrimSpace(line), " ")
				mounts = append(mounts, target.Mount{Root: root, Point: point, Type: kind, Options: "rw,memory"})
			}
			if got := locateCgroups(own, mounts)[controller].dir; got != c.dir {
				t.Errorf("%s, %s: %q, want %q", c.name, kind, got, c.dir)
			}
		}
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
		{"v2-agent", 0.5, 1500000000, ""},
		{"none", 0, 0, "no limit"},
	} {
		g := tree(c.tree)
		cores, err := g.cpuQuota()
		var used int64
		if err == nil {
			used, err = g.cpuUsage()
		}
		if cores != c.cores || used != c.used || !sameError(err, c.err) {
			t.Errorf("%s: %v cores, %v used, %v; want %v, %v, %v", c.tree, cores, used, err, c.cores, c.used, c.err)
		}
	}
}

// A quota that a pod's containers share: an idle one is not to blame for its
// neighbours in the pod.
func TestCPUOfAnIdleContainerInABusyPod(t *testing.T) {
	fsys := v2Tree("/pod/c")
	group(fsys, "sys/fs/cgroup/pod", "cpu.max: 100000 100000; cpu.stat: usage_usec 9000000")
	group(fsys, "sys/fs/cgroup/pod/c", "cpu.max: max 100000; cpu.stat: usage_usec 1000")
	g := findCgroups(fsys)
	cores, err := g.cpuQuota()
	if used, uerr := g.cpuUsage(); cores != 1 || used != 1_000_000 || err != nil || uerr != nil {
		t.Errorf("%v cores, %v; %v ns, %v", cores, err, used, uerr)
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
		limited       bool
	}{
		{"v2-docker", 8, 8, 0.5, true},
		{"v2-unlimited", 8, 8, 8, false},
		{"v2-unlimited", 2, 8, 2, true}, // a CPU set
		{"v2-nested", 8, 1, 1, false},   // a quota of all there is limits nothing
		{"v2-docker", 1, 0, 0, false},   // the kernel lists no core
	} {
		if cores, limited := coresAllowed(tree(c.tree), c.allowed, c.host); cores != c.cores || limited != c.limited {
			t.Errorf("%+v: got %v, %v", c, cores, limited)
		}
	}
}

// The verdict is about what this container uses; the host's figure decides
// where it was asked to, and then a restart is not the remedy.
func TestMemoryOfContainerAndHost(t *testing.T) {
	busy := &mem.VirtualMemoryStat{Total: hostTotal, Available: hostTotal / 20}
	for _, c := range []struct {
		tree  string
		limit Limit
		want  string
		class probe.Class // of a failure
	}{
		{"v2-docker", Limit{Max: 90}, "31.2% of 64.0 MiB (max 90%), container limit", ""},
		{"v2-docker", Limit{Max: 30}, "31.2% of 64.0 MiB (max 30%), container limit", "own"},
		{"v2-docker", Limit{Max: 90, Host: true}, "31.2% of 64.0 MiB (max 90%), container limit; host 95.0% of 8.0 GiB", probe.Host},
		{"v2-docker", Limit{Max: 30, Host: true}, "31.2% of 64.0 MiB (max 30%), container limit; host 95.0% of 8.0 GiB", "own"},
		{"v2-docker", Limit{Max: 99, Host: true}, "31.2% of 64.0 MiB (max 99%), container limit; host 95.0% of 8.0 GiB", ""},
		{"v2-unlimited", Limit{Max: 90}, "0.2% of 8.0 GiB (max 90%), no limit; host 95.0% of 8.0 GiB", ""},
		{"v2-unlimited", Limit{Max: 0.1}, "0.2% of 8.0 GiB (max 0.1%), no limit; host 95.0% of 8.0 GiB", "own"},
		{"v2-unlimited", Limit{Max: 90, Host: true}, "0.2% of 8.0 GiB (max 90%), no limit; host 95.0% of 8.0 GiB", probe.Host},
		{"v2-unlimited", Limit{Host: true}, "0.2% of 8.0 GiB, no limit; host 95.0% of 8.0 GiB", ""},
		{"v2-garbage", Limit{Max: 90}, `0.2% of 8.0 GiB (max 90%), container limit unreadable: memory.max holds "lots"; host 95.0% of 8.0 GiB`, ""},
		{"none", Limit{Max: 90}, "not judged: no limit, no cgroup counts it; host 95.0% of 8.0 GiB (--host judges it)", "skip"},
		{"none", Limit{Max: 90, Host: true}, "not judged: no limit, no cgroup counts it; host 95.0% of 8.0 GiB", probe.Host},
		{"none", Limit{Max: 99, Host: true}, "not judged: no limit, no cgroup counts it; host 95.0% of 8.0 GiB", ""},
		{"v2-docker", Limit{Max: 90, Warn: 32}, "31.2% of 64.0 MiB (max 90%, warning above 32%), container limit", ""},
		{"v2-docker", Limit{Max: 90, Warn: 31}, "31.2% of 64.0 MiB (max 90%, warning above 31%), container limit", "warn"},
		{"v2-docker", Limit{Warn: 31}, "31.2% of 64.0 MiB (warning above 31%), container limit", "warn"},
		{"v2-docker", Limit{Max: 31, Warn: 30}, "31.2% of 64.0 MiB (max 31%, warning above 30%), container limit", "own"},
		{"v2-docker", Limit{Max: 90, MinFree: 44 << 20}, "31.2% of 64.0 MiB (max 90%), 44.0 MiB free (min 44.0 MiB), container limit", ""},
		{"v2-docker", Limit{Max: 90, MinFree: 45 << 20}, "31.2% of 64.0 MiB (max 90%), 44.0 MiB free (min 45.0 MiB), container limit", "own"},
		{"v2-docker", Limit{MinFree: 40 << 20, WarnFree: 45 << 20}, "31.2% of 64.0 MiB, 44.0 MiB free (min 40.0 MiB, warning below 45.0 MiB), container limit", "warn"},
		{"v2-docker", Limit{WarnFree: 45 << 20, Max: 30}, "31.2% of 64.0 MiB (max 30%), 44.0 MiB free (warning below 45.0 MiB), container limit", "own"},
		{"v2-docker", Limit{MinFree: 1 << 30}, "31.2% of 64.0 MiB, 44.0 MiB free (min 1.0 GiB), which is more than there is, container limit", probe.Config},
		{"v2-docker", Limit{MinFree: 1 << 20, Host: true}, "31.2% of 64.0 MiB, 44.0 MiB free (min 1.0 MiB), container limit; host 95.0% of 8.0 GiB, 409.6 MiB free (min 1.0 MiB)", ""},
		// What is free for a container without a limit is what its host has left.
		{"v2-unlimited", Limit{Max: 90, MinFree: 1 << 30}, "0.2% of 8.0 GiB (max 90%), no limit; host 95.0% of 8.0 GiB, 409.6 MiB free (min 1.0 GiB)", probe.Host},
		{"v2-unlimited", Limit{Max: 90, WarnFree: 1 << 30}, "0.2% of 8.0 GiB (max 90%), no limit; host 95.0% of 8.0 GiB, 409.6 MiB free (warning below 1.0 GiB)", "warn"},
		{"none", Limit{MinFree: 1 << 30}, "not judged: no limit, no cgroup counts it; host 95.0% of 8.0 GiB, 409.6 MiB free (min 1.0 GiB)", probe.Host},
		{"v2-unlimited", Limit{Max: 99, Warn: 94, Host: true}, "0.2% of 8.0 GiB (max 99%, warning above 94%), no limit; host 95.0% of 8.0 GiB", "warn"},
	} {
		f, err := judgeMemory(tree(c.tree), busy, c.limit)
		var class probe.Class
		if se, ok := errors.AsType[*probe.StageError](err); ok {
			class = cmp.Or(se.Class, "own")
			if se.Stage != probe.StageLimit || err.Error() != c.want {
				t.Errorf("%s, %+v: stage %s: %v", c.tree, c.limit, se.Stage, err)
			}
		}
		if f.Status == probe.Skip || f.Status == probe.Warn {
			class = probe.Class(f.Status)
		}
		if f.Message != c.want || class != c.class {
			t.Errorf("%s, %+v: %q, %s; want %q, %s", c.tree, c.limit, f.Message, class, c.want, c.class)
		}
	}
}

// A program in the root group, as in a virtual machine of its own, is all that
// its host does; a group of whose memory nothing is known is not.
func TestRootGroupIsTheHost(t *testing.T) {
	busy := &mem.VirtualMemoryStat{Total: hostTotal, Available: hostTotal / 20}
	v2, v1 := v2Tree("/"), v1Tree()
	group(v2, "sys/fs/cgroup", "cgroup.procs: 1")
	group(v1, "sys/fs/cgroup", "cgroup.procs: 1; release_agent: ")
	undelegated := v2Tree("/")
	group(undelegated, "sys/fs/cgroup", "cgroup.procs: 1; cgroup.events: populated 1")
	for name, c := range map[string]struct {
		fsys  fstest.MapFS
		fails bool
	}{"v2": {v2, true}, "v1": {v1, true}, "not delegated": {undelegated, false}, "not mounted": {v2Tree("/x"), false}} {
		f, err := judgeMemory(findCgroups(c.fsys), busy, Limit{Max: 90})
		if (err != nil) != c.fails || (f.Status == probe.Skip) == c.fails {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

func TestPidsOfContainer(t *testing.T) {
	for name, want := range map[string]string{"v2-docker": "12.0% of 100 tasks, container limit", "v2-unlimited": "0.3% of 4000 tasks, no limit",
		"v2-garbage": "0.3% of 4000 tasks, container limit unreadable: pids.max holds \"-7\"", "none": "no limit, no cgroup counts it"} {
		f := pidsFigure(tree(name), 4000, figure{})
		got := f.String() + ", " + f.source
		if f.of == "" {
			got = f.source
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
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
