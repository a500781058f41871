// Package resource holds the checks of the container's own resources: CPU,
// memory, disk, pids and network. It knows its limits and the host's figures,
// and no target.
package resource

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"syscall"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// cgroups is where this process stands in the control group hierarchies, v1,
// v2 or both, seen through a file system whose root is /.
type cgroups struct {
	fsys fs.FS
	at   map[string]hierarchy // by v1 controller; "" is v2's
}

// hierarchy is the mount point of one hierarchy and this process's directory
// at or below it, as paths without a leading slash.
type hierarchy struct {
	v2         bool
	mount, dir string
}

// errNoLimit says that no limit applies: the host's figures count.
var errNoLimit = errors.New("no limit")

// findCgroups reads /proc/self/cgroup and /proc/self/mountinfo. Where they
// are missing the result knows no hierarchy, and nothing has a limit.
func findCgroups(fsys fs.FS) cgroups {
	own, _ := fs.ReadFile(fsys, "proc/self/cgroup")
	mounts, _ := fs.ReadFile(fsys, "proc/self/mountinfo")
	return cgroups{fsys, locateCgroups(string(own), target.ParseMountinfo(string(mounts)))}
}

// locateCgroups maps each controller's path in /proc/self/cgroup to a
// directory, through the root field of its mount: Docker gives a v1 container
// the host's path, with a mount that begins at that very path. Monitoring
// agents have the host's hierarchy mounted as well: a mount whose root does not
// hold this process's path, as a namespace's "/../.." never does, is skipped.
func locateCgroups(own string, mounts []target.Mount) map[string]hierarchy {
	at := map[string]hierarchy{}
	for line := range strings.Lines(own) {
		_, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), ":")
		controllers, dir, ok := strings.Cut(rest, ":")
		if !ok || !path.IsAbs(dir) {
			continue
		}
		for c := range strings.SplitSeq(controllers, ",") {
			nearest := hierarchy{}
			for _, m := range mounts {
				v2 := c == "" && m.Type == "cgroup2"
				v1 := c != "" && m.Type == "cgroup" && hasOption(m.Options, c)
				if !v1 && !v2 || isOutside(m.Root) {
					continue
				}
				point := strings.TrimPrefix(m.Point, "/")
				if rel, ok := below(dir, m.Root); ok {
					at[c] = hierarchy{v2, point, path.Join(point, rel)}
				} else if isOutside(dir) {
					nearest = hierarchy{v2, point, point}
				}
			}
			// A process that was started outside of its container's namespace
			// (some engines' exec) is judged by the namespace's own group.
			if _, found := at[c]; !found && nearest.mount != "" {
				at[c] = nearest
			}
		}
	}
	return at
}

// isOutside says whether a path leads out of the reader's cgroup namespace,
// which shows as leading dots (cgroup_namespaces(7)).
func isOutside(dir string) bool { return dir == "/.." || strings.HasPrefix(dir, "/../") }

func hasOption(options, name string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == name {
			return true
		}
	}
	return false
}

// below returns dir relative to root.
func below(dir, root string) (string, bool) {
	if isOutside(dir) {
		return "", false
	}
	dir, root = path.Clean(dir), path.Clean(root)
	if root == "/" {
		return dir[1:], true
	}
	if dir == root {
		return "", true
	}
	return strings.CutPrefix(dir, root+"/")
}

// of returns the hierarchy that has a controller; v1 wins, since a controller
// that is bound there is not in v2.
func (c cgroups) of(controller string) (hierarchy, bool) {
	if h, ok := c.at[controller]; ok {
		return h, true
	}
	h, ok := c.at[""]
	return h, ok
}

// levels lists the directory and its ancestors up to the mount point.
func (h hierarchy) levels() []string {
	dirs := []string{h.dir}
	for d := h.dir; d != h.mount && d != "."; {
		d = path.Dir(d)
		dirs = append(dirs, d)
	}
	return dirs
}

// tightest returns the smallest limit on the way up and how many levels up it
// stands; the nearest of equals. read returns +Inf for no limit. Without any
// limit the error is errNoLimit; a limit file with garbage is an error too.
func (h hierarchy) tightest(read func(dir string) (float64, error)) (limit float64, up int, err error) {
	limit = math.Inf(1)
	for i, dir := range h.levels() {
		v, err := read(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the root of a hierarchy has no limit files
		}
		if err != nil {
			return 0, 0, err
		}
		if v < limit {
			limit, up = v, i
		}
	}
	if math.IsInf(limit, 1) {
		return 0, 0, errNoLimit
	}
	return limit, up, nil
}

// number reads a file that holds one number; "max" is +Inf.
func (c cgroups) number(dir, name string) (float64, error) {
	text, err := fs.ReadFile(c.fsys, path.Join(dir, name))
	if err != nil {
		return 0, err
	}
	return parseNumber(name, strings.TrimSpace(string(text)))
}

func parseNumber(name, text string) (float64, error) {
	if text == "max" {
		return math.Inf(1), nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < -1 {
		if u, uerr := strconv.ParseUint(text, 10, 64); uerr == nil {
			return float64(u), nil // v1's "no limit" may exceed int64
		}
		return 0, fmt.Errorf("%s holds %q", name, probe.Cut(text, 40))
	}
	return float64(v), nil
}

// field reads one "key value" line of a flat keyed file.
func (c cgroups) field(dir, name, key string) (float64, error) {
	all, err := c.fields(dir, name)
	if err != nil {
		return 0, err
	}
	v, ok := all[key]
	if !ok {
		return 0, fmt.Errorf("%s has no %s", name, key)
	}
	return v, nil
}

// fields reads the "key value" lines of a flat keyed file; lines that are none
// are left out.
func (c cgroups) fields(dir, name string) (map[string]float64, error) {
	text, err := fs.ReadFile(c.fsys, path.Join(dir, name))
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			if n, err := parseNumber(k, v); err == nil {
				all[k] = n
			}
		}
	}
	return all, nil
}

// oomKills counts the processes of this group that the kernel has killed for
// lack of memory; 0 where it does not say.
func (c cgroups) oomKills() int64 {
	h, ok := c.of("memory")
	if !ok {
		return 0
	}
	file := "memory.oom_control"
	if h.v2 {
		file = "memory.events"
	}
	n, err := c.field(h.dir, file, "oom_kill")
	if err != nil || n < 0 {
		return 0
	}
	return int64(n)
}

// cpuQuota returns the smallest quota of this group and those above it, in
// cores.
func (c cgroups) cpuQuota() (cores float64, err error) {
	h, ok := c.of("cpu")
	if !ok {
		return 0, errNoLimit
	}
	if h.v2 {
		cores, _, err = h.tightest(func(dir string) (float64, error) {
			text, err := fs.ReadFile(c.fsys, path.Join(dir, "cpu.max"))
			if err != nil {
				return 0, err
			}
			quota, period, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
			return parseQuota("cpu.max", quota, period)
		})
		return cores, err
	}
	cores, _, err = h.tightest(func(dir string) (float64, error) {
		quota, err := fs.ReadFile(c.fsys, path.Join(dir, "cpu.cfs_quota_us"))
		if err != nil {
			return 0, err
		}
		period, err := fs.ReadFile(c.fsys, path.Join(dir, "cpu.cfs_period_us"))
		if err != nil {
			return 0, err
		}
		return parseQuota("cpu.cfs_quota_us", strings.TrimSpace(string(quota)), strings.TrimSpace(string(period)))
	})
	return cores, err
}

func parseQuota(name, quota, period string) (float64, error) {
	q, err := parseNumber(name, quota)
	if err != nil {
		return 0, err
	}
	if q < 0 {
		return math.Inf(1), nil // v1's -1
	}
	p, err := parseNumber(name, period)
	if err != nil {
		return 0, err
	}
	if p <= 0 || q == 0 {
		return 0, fmt.Errorf("%s holds %q", name, quota+" "+period)
	}
	return q / p, nil
}

// cpuUsage returns the CPU time, in nanoseconds, that this group has used: its
// own even where the quota is one that it shares, since an idle container is no
// better for a restart when its pod is busy.
func (c cgroups) cpuUsage() (int64, error) {
	h, ok := c.of("cpuacct")
	if !ok {
		return 0, errUncounted
	}
	if h.v2 {
		v, err := c.field(h.dir, "cpu.stat", "usage_usec")
		return int64(v) * 1000, err
	}
	v, err := c.number(h.dir, "cpuacct.usage")
	return int64(v), err
}

// pids returns the number of tasks in the group with the smallest limit, and
// that limit.
func (c cgroups) pids() (used, limit float64, err error) {
	h, ok := c.of("pids")
	if !ok {
		return 0, 0, errNoLimit
	}
	limit, up, err := h.tightest(func(dir string) (float64, error) { return c.number(dir, "pids.max") })
	if err != nil {
		return 0, 0, err
	}
	used, err = c.number(h.levels()[up], "pids.current")
	return used, limit, err
}

// ownPids is the number of tasks in this group, where nothing limits it.
func (c cgroups) ownPids() (float64, error) {
	h, ok := c.of("pids")
	if !ok {
		return 0, errUncounted
	}
	return c.number(h.dir, "pids.current")
}

// errUncounted says that no group counts what was asked for.
var errUncounted = errors.New("no cgroup counts it")

// isHost says whether this process is in the root group of a hierarchy, which
// is all of the host and for which the kernel keeps no files of some counters:
// a program in a virtual machine of its own, or in none.
func (c cgroups) isHost(controller string) bool {
	h, ok := c.of(controller)
	if !ok || h.dir != h.mount {
		return false
	}
	if _, err := fs.Stat(c.fsys, path.Join(h.dir, "cgroup.procs")); err != nil {
		return false
	}
	// Of version 2 every other group has the one file, of version 1 none the
	// other (kernel/cgroup/cgroup.c, cgroup-v1.c).
	if h.v2 {
		_, err := fs.Stat(c.fsys, path.Join(h.dir, "cgroup.events"))
		return errors.Is(err, fs.ErrNotExist)
	}
	_, err := fs.Stat(c.fsys, path.Join(h.dir, "release_agent"))
	return err == nil
}

// identity distinguishes this container's groups from any other's since boot: the
// kernel does not use the inode number of a group's directory again.
func (c cgroups) identity() string {
	h, ok := c.of("cpuacct")
	if !ok {
		return ""
	}
	id := h.dir
	if st, err := fs.Stat(c.fsys, h.dir); err == nil {
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			id += fmt.Sprintf("#%d", sys.Ino)
		}
	}
	return id
}

// Container tells this container from others of the same host, and from itself
// after it was made anew; empty where nothing tells.
func Container() string { return findCgroups(target.KernelFS{}).identity() }
