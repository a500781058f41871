package resource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"github.com/shirou/gopsutil/v3/net"
	"golang.org/x/sys/unix"
)

// sample is a reading of the counters that only mean something as the
// difference of two: CPU time, OOM kills, packets.
type sample struct {
	Boot      string  // the kernel's boot id
	Container string  // cgroups.identity
	At        int64   // CLOCK_BOOTTIME, nanoseconds: immune to a clock that is set
	Cores     float64 // that Used counts against: those of the limit, or the host's; 0: nothing counts Used
	Used      int64   // CPU time of that group, nanoseconds
	HostBusy  float64 // CPU time of the host, seconds
	HostTotal float64
	OOMKills  int64
	Packets   uint64
	NetErrors uint64 // errors and drops, both directions

	limited bool // Cores are those of a limit
}

// state is what the file in --state-dir holds. Two samples are kept: when two
// probes run at once, the later one finds a Last that is too young to measure
// by, and uses Prev.
type state struct {
	Version    int
	Last, Prev *sample
}

const stateVersion = 1

// maxIntervals is the age, in intervals, beyond which a sample says nothing
// about now.
const maxIntervals = 10

// follows says whether the counters of now can have come from those of old:
// the same boot and container, a later time, nothing that went backwards.
func (now sample) follows(old *sample) bool {
	return old != nil && old.Boot == now.Boot && old.Container == now.Container && old.At < now.At && old.At >= 0 &&
		old.Cores == now.Cores && old.Used <= now.Used && old.Used >= 0 &&
		old.HostTotal <= now.HostTotal && old.HostTotal >= 0 && old.HostBusy >= 0 &&
		old.OOMKills <= now.OOMKills && old.OOMKills >= 0 &&
		old.Packets <= now.Packets && old.NetErrors <= now.NetErrors
}

// pick chooses the sample to measure from, and whether the next run should
// find now in the file. It prefers the newest sample that is at least half an
// interval old, so that a short spike fails nothing; a younger one serves if
// it is older than the window that would be sampled instead.
func (s state) pick(now sample, interval, window time.Duration) (base *sample, span string, save bool) {
	age := func(c *sample) time.Duration { return time.Duration(now.At - c.At) }
	usable := func(c *sample) bool {
		return s.Version == stateVersion && now.follows(c) && age(c) <= maxIntervals*interval
	}
	switch last, prev := s.Last, s.Prev; {
	case usable(last) && age(last) >= interval/2:
		return last, "since last probe", true
	case usable(last) && usable(prev):
		return prev, fmt.Sprintf("over %s", probe.Round(age(prev))), false
	case usable(last) && age(last) >= window:
		return last, "since last probe", false
	case usable(last):
		return nil, "", false
	}
	return nil, "", true
}

// Sampler reads the counters once per run and compares them with those that
// the previous run left in the state directory. Its checks share it.
type Sampler struct {
	// Dir is where the sample is kept; empty turns that off.
	Dir string
	// Interval is how often the program runs; a sample that is older than
	// ten of them is not used.
	Interval time.Duration
	// Window is how long to sample the CPU when there is no earlier sample.
	Window time.Duration
	// Load and Save, if set, do what LoadSample and SaveSample do, in a process
	// of their own and within some time: Dir is on a mount that may hang.
	Load func(dir string) ([]byte, error)
	Save func(dir string, text []byte) error

	once   sync.Once
	groups cgroups
	now    sample
	base   *sample // nil: none to compare with
	since  string  // how the message calls the time since base
	note   string  // why no sample was kept
	err    error
}

// take reads the counters, the first time that it is called.
func (s *Sampler) take(ctx context.Context) error {
	s.once.Do(func() {
		s.groups = findCgroups(target.KernelFS{})
		if s.now, s.err = s.read(ctx); s.err != nil || s.Dir == "" {
			return
		}
		load, save := LoadSample, SaveSample
		if s.Load != nil && s.Save != nil {
			load, save = s.Load, s.Save
		}
		var st state
		text, err := load(s.Dir)
		if err == nil {
			st, err = parseState(text)
		}
		if err != nil && !errors.Is(err, errState) {
			s.note = err.Error()
			return
		}
		var keep bool
		if s.base, s.since, keep = st.pick(s.now, s.Interval, s.Window); !keep {
			return
		}
		if text, err = json.Marshal(state{Version: stateVersion, Last: &s.now, Prev: st.Last}); err == nil {
			err = save(s.Dir, text)
		}
		if err != nil {
			s.note = err.Error()
		}
	})
	return s.err
}

// read takes one sample now.
func (s *Sampler) read(ctx context.Context) (sample, error) {
	var v sample
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return v, fmt.Errorf("clock: %w", err)
	}
	v.At = ts.Nano()
	boot, _ := target.ReadKernel("/proc/sys/kernel/random/boot_id")
	v.Boot = strings.TrimSpace(string(boot))
	v.Container = s.groups.identity()
	v.OOMKills = s.groups.oomKills()

	stat, err := target.ReadKernel("/proc/stat")
	if err != nil {
		return v, fmt.Errorf("the host's CPU times: %w", err)
	}
	var host int
	v.HostBusy, v.HostTotal, host = hostTimes(string(stat))
	cores, limited := coresAllowed(s.groups, affinity(), host)
	if used, err := s.groups.cpuUsage(); err == nil && cores > 0 {
		v.Cores, v.Used, v.limited = cores, used, limited
	}

	// Best effort: the network's counters never decide unless asked to.
	if nics, err := net.IOCountersWithContext(ctx, true); err == nil {
		for _, n := range nics {
			if n.Name == "lo" {
				continue
			}
			v.Packets += n.PacketsRecv + n.PacketsSent
			v.NetErrors += n.Errin + n.Errout + n.Dropin + n.Dropout
		}
	}
	return v, nil
}

// hostTimes sums the CPU time of the host's cores in /proc/stat, in seconds,
// and counts them. gopsutil's package for it would read that file twice
// before main, in every run, whether CPU time is asked for or not.
func hostTimes(stat string) (busy, total float64, cores int) {
	const perSecond = 100 // USER_HZ, which is the same on every platform of Linux that Go runs on
	for line := range strings.Lines(stat) {
		f := strings.Fields(line)
		if len(f) < 5 || !strings.HasPrefix(f[0], "cpu") || f[0] == "cpu" {
			continue
		}
		cores++
		// user nice system idle iowait irq softirq steal; the guests' time
		// behind them is part of user and nice (proc_stat(5)).
		for i, text := range f[1:min(len(f), 9)] {
			ticks, _ := strconv.ParseUint(text, 10, 64)
			total += float64(ticks) / perSecond
			if i != 3 && i != 4 {
				busy += float64(ticks) / perSecond
			}
		}
	}
	return busy, total, cores
}

// coresAllowed returns how many cores this container may use at most, and
// whether they are fewer than the host has, by its quota or its CPU set.
func coresAllowed(c cgroups, allowed, host int) (cores float64, limited bool) {
	cores, err := c.cpuQuota()
	if err != nil || cores > float64(host) {
		cores = float64(host)
	}
	cores = min(cores, float64(allowed))
	return cores, cores < float64(host)
}

// affinity is how many CPUs this process may run on; 0 never happens.
func affinity() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return math.MaxInt // unknown: no restriction
	}
	return set.Count()
}

// stateName names the file by user and mount namespace: containers that share
// a /dev/shm (a Kubernetes pod's) keep samples of their own.
func stateName() string {
	ns, _ := os.Readlink("/proc/self/ns/mnt") // mnt:[4026531841]
	ns = strings.Trim(strings.TrimPrefix(ns, "mnt:"), "[]")
	return fmt.Sprintf("healthcheck-%d-%s.json", os.Geteuid(), ns)
}

// errState marks a state file that may be replaced: garbage of our own.
var errState = errors.New("state file unusable")

// parseState reads what a state file holds; nothing is an empty state.
func parseState(text []byte) (state, error) {
	var s state
	if len(text) == 0 {
		return s, nil
	}
	if json.Unmarshal(text, &s) != nil {
		return state{}, errState
	}
	return s, nil
}

// LoadSample reads this process's file in dir. The directory may be shared with
// enemies: no link is followed, no FIFO waited for, and the file must be a
// regular one of this user's alone. Nothing is read where there is no file.
func LoadSample(dir string) ([]byte, error) { return readState(dir, stateName()) }

func readState(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		if errors.Is(err, syscall.ELOOP) {
			return nil, fmt.Errorf("%s is a symbolic link", path)
		}
		return nil, fmt.Errorf("%s: %w", path, probe.Bare(err))
	}
	defer f.Close()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case st.Mode&syscall.S_IFMT != syscall.S_IFREG:
		return nil, fmt.Errorf("%s is not a regular file", path)
	case int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s belongs to user %d", path, st.Uid)
	case st.Nlink > 1: // 0: another probe has just replaced it
		return nil, fmt.Errorf("%s has %d links", path, st.Nlink)
	case st.Mode&0o022 != 0:
		return nil, fmt.Errorf("%s is writable by others", path)
	}
	buf := make([]byte, 4096)
	n, _ := f.Read(buf)
	return buf[:n], nil
}

// SaveSample replaces this process's file in dir as a whole: a new one under a
// name of its own, then a rename, which replaces a link and never follows it.
func SaveSample(dir string, text []byte) error { return writeState(dir, stateName(), text) }

func writeState(dir, name string, text []byte) error {
	path := filepath.Join(dir, name)
	f, err := os.CreateTemp(dir, name+".*") // O_EXCL, 0600: follows no link
	if err != nil {
		return fmt.Errorf("%s: %w", dir, probe.Bare(err))
	}
	tmp := f.Name()
	_, err = f.Write(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("%s: %w", path, probe.Bare(err))
	}
	return nil
}
