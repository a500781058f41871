package resource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/kept"
	"healthcheck/probe/target"

	"github.com/shirou/gopsutil/v3/net"
	"golang.org/x/sys/unix"
)

// sample is a reading of the counters that only mean something as the
// difference of two: CPU time, OOM kills, packets.
type sample struct {
	Boot      string  // the kernel's boot id
	Container string  // cgroups.identity
	At        int64   // kept.Moment's
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
	// Dir is where the sample is kept.
	Dir kept.Dir
	// Interval is how often the program runs; a sample that is older than
	// ten of them is not used.
	Interval time.Duration
	// Window is how long to sample the CPU when there is no earlier sample.
	Window time.Duration

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
		if s.now, s.err = s.read(ctx); s.err != nil || s.Dir.Path == "" {
			return
		}
		var st state
		text, err := s.Dir.Load("")
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
			err = s.Dir.Save("", text)
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
	moment, err := kept.Now()
	if err != nil {
		return v, err
	}
	v.Boot, v.At = moment.Boot, moment.At
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
