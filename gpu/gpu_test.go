package gpu

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func captured(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../testdata/nvidia-smi/" + name + ".csv")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parse535 reads the answer to the query for drivers before 570, as captured.
func parse535(text string) (Snapshot, error) { return parseSMI(text, smiQueries[1].fields) }

func TestParseSMI(t *testing.T) {
	s, err := parse535(captured(t, "a100-40"))
	if err != nil || len(s.Cards) != 1 {
		t.Fatal(s, err)
	}
	c := s.Cards[0]
	if s.Driver != "535.161.08" || c.Name != "NVIDIA A100-SXM4-40GB" || c.Total != known(40960) || c.Free != known(18330) || c.Util != known(88) ||
		c.Power != known(301.5) || c.ECC != known(0) || c.RetirePending.Known || c.RemapPending != known(0) || c.MIG || c.Fault != "" {
		t.Errorf("%+v", c)
	}
	s, _ = parse535(captured(t, "rtx4090"))
	if c := s.Cards[0]; c.ECC.Known || c.Fault != "" {
		t.Errorf("no ECC is no fault: %+v", c)
	}
	s, _ = parse535(captured(t, "mig"))
	if c := s.Cards[0]; !c.MIG || c.Total.Known || c.Util.Known || c.Fault != "" {
		t.Errorf("%+v", c)
	}
	for name, want := range map[string]string{"lost": "GPU is lost", "reset": "GPU requires reset"} {
		s, _ = parse535(captured(t, name))
		if len(s.Cards) != 1 || s.Cards[0].Fault != want {
			t.Errorf("%s: %+v", name, s)
		}
	}
	s, _ = parse535("0, ERR!, ERR!, 470, 1, 1, 1, 1, 1, 1, 1\n")
	if len(s.Cards) != 1 || s.Cards[0].Fault != "ERR!" {
		t.Errorf("%+v", s)
	}
}

func TestSMIFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		code int
		want Kind
	}{
		{"no-driver", 9, NoDriver}, {"no-driver", 0, NoDriver}, {"mismatch", 18, Mismatch}, {"mismatch", 1, Mismatch}, {"unknown", 255, Lost}, {"unknown", 1, Lost},
		{"permission", 4, Permission}, {"blocked", 17, Blocked}, {"none", 6, NoCards}, {"none", 0, NoCards},
	} {
		err := smiFault(c.code, captured(t, c.name))
		f, ok := errors.AsType[*Fault](err)
		if !ok || f.Kind != c.want || !strings.Contains(f.Text, fmt.Sprintf("exit %d: %q", c.code, strings.SplitN(captured(t, c.name), "\n", 2)[0])) {
			t.Errorf("%s, %d: %v, want %s", c.name, c.code, err, c.want)
		}
		if _, err := parse535(captured(t, c.name)); err == nil {
			t.Errorf("%s was taken for cards", c.name)
		}
	}
}

func FuzzParseSMI(f *testing.F) {
	files, err := filepath.Glob("../testdata/nvidia-smi/*.csv")
	if err != nil || len(files) < 10 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("0,a,b,c,NaN,Inf,-1,1e999,0x,[],ERR!\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parse535(text)
		if err != nil {
			return
		}
		for _, c := range s.Cards {
			for _, v := range []float64{c.Total.Value, c.Used.Value, c.Free.Value, c.Util.Value, c.ECC.Value} {
				if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
					t.Errorf("%v from %q", v, text)
				}
			}
		}
		Judge(s, Limits{Count: 1, MaxTemp: known(1)})
	})
}

func TestJudge(t *testing.T) {
	limits := func(set func(*Limits)) Limits {
		l := Limits{Count: 1}
		if set != nil {
			set(&l)
		}
		return l
	}
	for _, c := range []struct {
		cards string
		set   func(*Limits)
		fail  string // empty: none
		warn  string
	}{
		{"t4", nil, "", ""},
		{"a100-80", nil, "", ""}, // the bit for 'idle' is no slowdown
		{"t4", func(l *Limits) { l.Count = 2 }, "1 of 2 GPUs are there", ""},
		{"two", func(l *Limits) { l.Count = 2 }, "", ""},
		{"two", func(l *Limits) { l.MinFree = known(8000) }, "GPU 1 Tesla T4: 5940 MiB free (min 8000 MiB)", ""},
		{"rtx4090", func(l *Limits) { l.MaxTemp = known(80) }, "temperature 83°C (max 80°C)", ""},
		{"rtx4090", func(l *Limits) { l.MaxMem = known(80) }, "memory 81.42% (max 80%)", ""},
		{"rtx4090", func(l *Limits) { l.MaxUtil = known(95) }, "utilisation 100% (max 95%)", ""},
		{"rtx4090", func(l *Limits) { l.MaxECC = known(0) }, "", ""},
		{"ecc", nil, "", "3 uncorrectable ECC errors"},
		{"ecc", nil, "", "rows wait to be remapped"},
		{"ecc", func(l *Limits) { l.MaxECC = known(2) }, "uncorrectable ECC errors 3 (max 2)", "3 uncorrectable"},
		{"ecc", func(l *Limits) { l.MaxECC = known(3) }, "", "3 uncorrectable"},
		{"remap-failed", nil, "row remapping has failed", ""},
		{"hot", nil, "", "slowed down: hardware thermal"},
		{"lost", nil, "GPU is lost (it has fallen off the bus", ""},
		{"reset", nil, "GPU requires reset (nvidia-smi --gpu-reset", ""},
		{"mig", nil, "", ""},
		{"mig", func(l *Limits) { l.MinFree = known(1) }, "free memory is not known from nvidia-smi, and has a limit", ""},
		{"mig", func(l *Limits) { l.MaxUtil = known(99) }, "utilisation is not known from nvidia-smi, and has a limit", ""},
	} {
		s, err := parse535(captured(t, c.cards))
		if err != nil {
			t.Fatal(err)
		}
		v := Judge(s, limits(c.set))
		fail, warn := strings.Join(v.Failures, "; "), strings.Join(v.Warnings, "; ")
		if !strings.Contains(fail, c.fail) || (c.fail == "") != (fail == "") || !strings.Contains(warn, c.warn) || (c.warn == "") != (warn == "") {
			t.Errorf("%s: failures %q, want %q; warnings %q, want %q", c.cards, fail, c.fail, warn, c.warn)
		}
	}
}

// Counting device nodes is not looking at cards.
func TestJudgeByDeviceNodesAlone(t *testing.T) {
	s := Snapshot{Source: "/dev", Cards: []Card{{Name: "nvidia0"}}}
	if v := Judge(s, Limits{Count: 1}); len(v.Failures) != 0 {
		t.Error(v)
	}
	for _, l := range []Limits{{MaxTemp: known(80)}, {MaxECC: known(0)}, {MinFree: known(1)}, {MaxMem: known(99)}, {MaxUtil: known(99)}} {
		if v := Judge(s, l); len(v.Failures) != 1 || !strings.Contains(v.Failures[0], "is not known from /dev") && !strings.Contains(v.Failures[0], "are not known") {
			t.Errorf("%+v: %v", l, v.Failures)
		}
	}
}

func TestDevices(t *testing.T) {
	dir := t.TempDir()
	r := Reader{Dev: dir}
	_, err := r.devices()
	if !Absent(err) || !strings.Contains(err.Error(), "no such file or directory (run the container with --gpus all") {
		t.Error(err)
	}
	node := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	node("nvidiactl")
	if _, err := r.devices(); !Absent(err) || !strings.Contains(err.Error(), "there is no") {
		t.Error(err)
	}
	node("nvidia0")
	node("nvidia1")
	if s, err := r.devices(); err != nil || len(s.Cards) != 2 {
		t.Error(s, err)
	}
}

func TestClass(t *testing.T) {
	for name, want := range map[string]string{"t4": "entry-level inference", "a100-40": "large deployments", "a100-80": "large deployments", "a6000": "workstation", "rtx4090": "consumer"} {
		s, err := parse535(captured(t, name))
		if err != nil || s.Cards[0].Class() != want {
			t.Errorf("%s is for %s, want %s", name, s.Cards[0].Class(), want)
		}
	}
	for mib, want := range map[float64]string{16384: "entry-level inference", 24564: "consumer or small workstation", 49140: "workstation", 143771: "large deployments"} {
		if got := (Card{Name: "NVIDIA H200", Total: known(mib)}).Class(); got != want {
			t.Errorf("%v: %s", mib, got)
		}
	}
}

func TestDriverMajor(t *testing.T) {
	for text, want := range map[string]int{
		"NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Feb 24 22:30:00 UTC 2024\nGCC version:  gcc version 12.2.0\n":      535,
		"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build  (root@builder)  Wed Feb 26 2025\nGCC 13.2.0\n": 570,
		"": 0, "GCC version: gcc version 12.2.0": 0, "a.b 1.2 12.30 535 535. .1": 0, "no\nNVIDIA 535.1": 0,
	} {
		if got := driverMajor(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// Where the driver's version can be read, nvidia-smi is asked once, whatever
// its age.
func TestSMIIsAskedWhatItKnows(t *testing.T) {
	for version, want := range map[string]string{"570.124.06": "mig.mode.current,gpu_recovery_action ", "535.161.08": "mig.mode.current,reset_status.reset_required,reset_status.drain_and_reset_recommended ",
		"470.57.02": "mig.mode.current ", "418.226.00": "ecc.errors.uncorrected.volatile.total "} {
		dir := t.TempDir()
		r := Reader{Version: filepath.Join(dir, "version")}
		script := "#!/bin/sh\necho \"$@\" >> " + dir + "/asked\necho '0, GPU-1, Tesla T4, " + version + ", 15360, 1, 2, 3, 4, 5, 0'\n"
		for name, text := range map[string]string{"version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  " + version + "  Sat\n", "nvidia-smi": script} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("PATH", dir)
		s, err := r.smi(t.Context())
		asked, _ := os.ReadFile(filepath.Join(dir, "asked"))
		if err != nil || len(s.Cards) != 1 || strings.Count(string(asked), "\n") != 1 || !strings.Contains(string(asked), want) {
			t.Errorf("%s: %+v, %v, asked %s", version, s, err, asked)
		}
	}
}

// A card whose driver answers Unknown Error has failed, unless this container
// may not open its device any more: then a restart gives it back.
func TestUnknownErrorOfACard(t *testing.T) {
	for _, lost := range []bool{false, true} {
		v := Judge(Snapshot{Cards: []Card{{Fault: "Unknown Error"}}, LostDevice: lost}, Limits{})
		if v.LostDevice != lost || !v.Hardware || strings.Contains(v.Failures[0], "restart the container") != lost {
			t.Errorf("%+v", v)
		}
	}
	if v := Judge(Snapshot{Cards: []Card{{Fault: "GPU is lost"}}, LostDevice: true}, Limits{}); v.LostDevice {
		t.Errorf("%+v", v)
	}
}

// A word that this program does not know is one that a newer driver has.
func TestRecoveryWords(t *testing.T) {
	for word, want := range map[string]string{"None": "", "none": "", "N/A": "", "[N/A]": "", "[Not Supported]": "", "": "",
		"Reset": RecoveryReset, "Drain P2P": RecoveryDrainP2P, "Send to the moon": "Send to the moon", strings.Repeat("x", 100): strings.Repeat("x", 64)} {
		if got := parseRecovery(word); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	for _, c := range []struct {
		action          string
		fails, hardware bool
	}{{"", false, false}, {RecoveryReset, true, true}, {RecoveryReboot, true, true}, {RecoveryDrainP2P, true, false}, {RecoveryDrainAndReset, false, false},
		{RecoveryIMEX, true, true}, {RecoveryBusReset, true, true}, {RecoverySystemReboot, true, true}, {"Send to the moon", true, true}} {
		v := Judge(Snapshot{Source: "NVML", Cards: []Card{{Recovery: c.action}}}, Limits{})
		if len(v.Failures) > 0 != c.fails || v.Hardware != c.hardware || v.EndProcesses != (c.action == RecoveryDrainP2P) || len(v.Warnings) > 0 != (c.action == RecoveryDrainAndReset) {
			t.Errorf("%q: %+v", c.action, v)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]float64{"1GiB": 1024, "1 gib": 1024, "512MiB": 512, "1G": 1024, "0.5g": 512, "1.048576MB": 1, "1024k": 1, "0GiB": 0} {
		if got, err := ParseSize(text); err != nil || math.Abs(got-want) > 1e-6 {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "6", "GiB", "-1GiB", "NaNGiB", "InfGiB", "1e30TiB", "six GiB", "1PiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
}

func TestFit(t *testing.T) {
	two, err := parse535(captured(t, "two"))
	if err != nil {
		t.Fatal(err)
	}
	if got := Available(two.Cards, 1024, false); got != 13816 {
		t.Errorf("the largest is %v", got)
	}
	if got := Available(two.Cards, 1024, true); got != 13816+4916 {
		t.Errorf("the sum is %v", got)
	}
	if got := Available([]Card{{Free: known(100)}, {Free: known(9000), Fault: "GPU is lost"}, {}}, 1024, true); got != 0 {
		t.Errorf("nothing is free, but %v", got)
	}
	parse := func(texts ...string) (models []Model) {
		for _, text := range texts {
			m, err := ParseModel(text)
			if err != nil {
				t.Fatal(err)
			}
			models = append(models, m)
		}
		return models
	}
	for _, c := range []struct {
		models []Model
		have   float64
		want   int
		batch  int
	}{
		{parse("big=40GiB", "small=6GiB"), 13816, 1, 0},
		{parse("small=6GiB", "tiny=1GiB"), 13816, 0, 0}, // the order given, not the largest
		{parse("big=40GiB"), 13816, -1, 0},
		{parse("a=1000MiB+100MiB"), 1500, 0, 5},
		{parse("a=1000MiB+100MiB"), 1100, 0, 1},
		{parse("a=1000MiB+100MiB"), 1099, -1, 0}, // a batch of none is none
		{parse("x?y=z=1GiB"), 1024, 0, 0},
	} {
		choices, chosen := Fit(c.models, c.have)
		if chosen != c.want || chosen >= 0 && choices[chosen].Batch != c.batch {
			t.Errorf("%v in %v: %d, %+v", c.models, c.have, chosen, choices)
		}
	}
}

// The tool is killed at the deadline, with its children, and not waited for.
func TestSMIThatHangs(t *testing.T) {
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	script := fmt.Sprintf("#!/bin/sh\nsleep 1000 & echo $! > %s.new; echo $$ >> %s.new; mv %s.new %s; wait\n", pids, pids, pids, pids)
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for {
			if _, err := os.Stat(pids); err == nil {
				cancel(errors.New("no answer within 1s"))
				return
			}
			select {
			case <-t.Context().Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	_, err := Reader{}.smi(ctx)
	if err == nil || err.Error() != "nvidia-smi: no answer within 1s" {
		t.Errorf("%v", err)
	}
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, pid := range strings.Fields(string(text)) {
		for {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			if err != nil || strings.Contains(string(stat), ") Z ") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %s is left", pid)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
}
