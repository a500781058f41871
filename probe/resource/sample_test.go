package resource

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"

	"healthcheck/probe/kept"
)

func at(d time.Duration) *sample {
	return &sample{Boot: "b", Container: "c", At: int64(time.Hour + d), HostTotal: 1000 + d.Seconds(), HostBusy: 100}
}

func TestPickChoosesWhatToMeasureFrom(t *testing.T) {
	const interval, window = 30 * time.Second, 200 * time.Millisecond
	now := *at(0)
	other := func(change func(*sample)) *sample { s := at(-interval); change(s); return s }
	for _, c := range []struct {
		name       string
		last, prev *sample
		base       string // last, prev or none
		words      string
		save       bool
	}{
		{"first run", nil, nil, "none", "", true},
		{"one interval ago", at(-interval), nil, "last", "since last probe", true},
		{"two probes at once", at(-time.Millisecond), at(-interval), "prev", "over 30s", false},
		{"two probes at once, the first ever", at(-time.Millisecond), nil, "none", "", false},
		{"a person repeats it", at(-2 * time.Second), nil, "last", "since last probe", false},
		{"ten intervals ago", at(-10 * interval), nil, "last", "since last probe", true},
		{"longer ago", at(-10*interval - 1), nil, "none", "", true},
		{"from the future", at(time.Second), nil, "none", "", true},
		{"another boot", other(func(s *sample) { s.Boot = "x" }), nil, "none", "", true},
		{"another container", other(func(s *sample) { s.Container = "x" }), nil, "none", "", true},
		{"another quota", other(func(s *sample) { s.Cores = 4 }), nil, "none", "", true},
		{"more used than now", other(func(s *sample) { s.Used = 1 << 60 }), nil, "none", "", true},
		{"negative", other(func(s *sample) { s.Used = -1 << 60 }), nil, "none", "", true},
		{"negative host", other(func(s *sample) { s.HostTotal = -1e300 }), nil, "none", "", true},
	} {
		st := state{Version: stateVersion, Last: c.last, Prev: c.prev}
		base, words, save := st.pick(now, interval, window)
		got := map[*sample]string{c.last: "last", c.prev: "prev", nil: "none"}[base]
		if base == nil {
			got = "none"
		}
		if got != c.base || words != c.words || save != c.save {
			t.Errorf("%s: %s %q %v, want %s %q %v", c.name, got, words, save, c.base, c.words, c.save)
		}
	}
	if base, _, _ := (state{Version: 99, Last: at(-interval)}).pick(now, interval, window); base != nil {
		t.Error("a file of another version was used")
	}
}

func TestCPUOfContainerAndHost(t *testing.T) {
	old := sample{At: 0, Cores: 0.5, Used: 0, HostTotal: 0, HostBusy: 0}
	now := sample{At: 10e9, Cores: 0.5, Used: 4e9, HostTotal: 20, HostBusy: 19, limited: true}
	if own, host := cpuFigures(old, now); own != (figure{percent: 80, of: "0.5 cores", source: fromLimit, limited: true}) || host.percent != 95 || host.of != "2 cores" {
		t.Errorf("a limit: %+v, %+v", own, host)
	}
	old.Cores, now.Cores, now.limited = 2, 2, false
	if own, host := cpuFigures(old, now); own != (figure{percent: 20, of: "2 cores", source: noLimit}) || host.percent != 95 {
		t.Errorf("no limit: %+v, %+v", own, host)
	}
	old.Cores, now.Cores = 0, 0
	if own, host := cpuFigures(old, now); own.of != "" || own.source != "no cgroup counts this container's CPU time" || host.percent != 95 {
		t.Errorf("nothing counts: %+v, %+v", own, host)
	}
	now.HostTotal = 0 // gVisor counts nothing
	if _, host := cpuFigures(old, now); host.of != "" {
		t.Errorf("a percentage of no time: %+v", host)
	}
}

func TestHostTimes(t *testing.T) {
	const stat = "cpu  11 22 33 44\ncpu0 100 200 300 4000 500 60 70 80 9999 9999\ncpu1 0 0 0 100\nintr 1 2 3\nctxt 5\n"
	if busy, total, cores := hostTimes(stat); busy != 8.1 || math.Abs(total-54.1) > 1e-9 || cores != 2 {
		t.Errorf("busy %v, total %v, cores %d", busy, total, cores)
	}
	// Another reader of the same file, between two readings of ours.
	read := func() (busy, total float64, cores int) {
		text, err := os.ReadFile("/proc/stat")
		must(t, err)
		return hostTimes(string(text))
	}
	busy1, total1, cores := read()
	times, err := cpu.Times(true)
	must(t, err)
	busy2, total2, _ := read()
	var busy, total float64
	for _, c := range times {
		all := c.User + c.System + c.Nice + c.Iowait + c.Irq + c.Softirq + c.Steal + c.Idle
		total += all
		busy += all - c.Idle - c.Iowait
	}
	const tick = 0.02
	if len(times) != cores || busy < busy1-tick || busy > busy2+tick || total < total1-tick || total > total2+tick {
		t.Errorf("gopsutil: busy %v, total %v, %d cores; want busy %v to %v, total %v to %v, %d", busy, total, len(times), busy1, busy2, total1, total2, cores)
	}
}

func TestJudgeNetwork(t *testing.T) {
	old, now := sample{Packets: 100}, sample{Packets: 190, NetErrors: 10}
	if f, err := judgeNetwork(old, now, "since last probe", Limit{}); err != nil || !strings.HasPrefix(f.Message, "10 errors and drops, 10.0% of 90 packets") {
		t.Errorf("no limit: %q, %v", f.Message, err)
	}
	if _, err := judgeNetwork(old, now, "since last probe", Limit{Max: 5}); err == nil {
		t.Error("10% passed a limit of 5%")
	}
	if f, err := judgeNetwork(old, now, "since last probe", Limit{Max: 20, Warn: 5}); err != nil || f.Status != "warn" || *f.Value != 10 || *f.Limit != 5 {
		t.Errorf("a warning above 5%%: %+v, %v", f, err)
	}
}

func TestGarbageIsNoState(t *testing.T) {
	for _, text := range []string{"\x00{", string(make([]byte, 1<<16)), "[]"} {
		if s, err := parseState([]byte(text)); err != errState || s.Last != nil {
			t.Errorf("%.10q: %+v, %v", text, s, err)
		}
	}
	if s, err := parseState(nil); err != nil || s.Last != nil {
		t.Errorf("nothing: %+v, %v", s, err)
	}
}

func TestSamplerMeasuresFromItsOwnFile(t *testing.T) {
	dir := kept.Dir{Path: t.TempDir()}
	first := &Sampler{Dir: dir, Interval: time.Hour, Window: 10 * time.Millisecond}
	if _, err := CPU(first, Limit{})(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(dir.File(""))
	must(t, err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	second := &Sampler{Dir: dir, Interval: time.Hour, Window: 10 * time.Millisecond}
	f, err := CPU(second, Limit{})(t.Context())
	if err != nil || !strings.Contains(f.Message, "since last probe") {
		t.Errorf("%q, %v", f.Message, err)
	}
}

func FuzzStateFileNeverCrashes(f *testing.F) {
	good, _ := json.Marshal(state{Version: stateVersion, Last: at(-30 * time.Second)})
	f.Add(good)
	f.Add([]byte(`{"Version":1,"Last":{"At":1e400}}`))
	f.Add([]byte(`{"Version":1,"Last":{"Boot":"b","Container":"c","At":-9223372036854775808,"HostTotal":-1e308}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var st state
		if json.Unmarshal(text, &st) != nil {
			return
		}
		now := *at(0)
		now.Cores, now.Used = 2, 1e9
		base, _, _ := st.pick(now, 30*time.Second, time.Second)
		if base == nil {
			return
		}
		own, host := cpuFigures(*base, now)
		if p := host.percent; !(p >= 0 && p <= 100) || !(own.percent >= 0) {
			t.Errorf("%s leads to %v%% and %v%%", text, own.percent, p)
		}
	})
}
