//go:build cgo

// The build with NVML and the library that stands in for it need a C compiler.
// Where there is none Go turns cgo off, and with it this file; ./test.sh
// demands one.

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// nvmlBuild is the program with NVML, and a directory with the stand-in
// library; both are made once.
var nvmlBuild = sync.OnceValues(func() (string, error) {
	dir := filepath.Dir(binary)
	bin := filepath.Join(dir, "healthcheck-nvml")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -extldflags=-Wl,-z,lazy", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=1", "CGO_CFLAGS=-Wno-deprecated-declarations")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	for name, flags := range map[string][]string{"new": nil, "old": {"-DOLD_DRIVER"}} {
		lib := filepath.Join(dir, name)
		if err := os.Mkdir(lib, 0o755); err != nil {
			return "", err
		}
		cc := exec.Command("gcc", append(flags, "-shared", "-fPIC", "-o", lib+"/libnvidia-ml.so.1", "../../testdata/nvml/fake.c")...)
		if out, err := cc.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
	}
	return bin, nil
})

// runWith runs a build with an environment.
func runWith(t *testing.T, bin string, environ []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = environ, &out, &errs
	cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// byNVML runs the NVML build against the cards of a file.
func byNVML(t *testing.T, library, cards string, args ...string) (string, string, int) {
	t.Helper()
	bin, err := nvmlBuild()
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"PATH=/nonexistent", "LD_LIBRARY_PATH=" + filepath.Join(filepath.Dir(bin), library), "FAKE_NVML=../../testdata/nvml/" + cards + ".txt"}
	return runWith(t, bin, environ, args...)
}

// bySMI runs the static build against a stand-in that prints a file.
func bySMI(t *testing.T, cards string, exit int, args ...string) (string, string, int) {
	t.Helper()
	stdout, stderr, code, asked := askSMI(t, cards, exit, args...)
	for i, line := range asked {
		if !strings.HasPrefix(line, "--query-gpu=index,uuid,") || !strings.HasSuffix(line, " --format=csv,noheader,nounits") || i > 1 {
			if line != "-q -x" && line != "-L" {
				t.Errorf("nvidia-smi was asked %q", asked)
			}
		}
	}
	return stdout, stderr, code
}

// standIn returns a directory with an nvidia-smi that prints a file, and refuses
// a field that the file's driver does not know, as the tool does. It writes
// down what it is asked.
func standIn(t *testing.T, cards string, exit int) string {
	t.Helper()
	dir := t.TempDir()
	file, err := filepath.Abs("../../testdata/nvidia-smi/" + cards)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file + ".csv")
	if err != nil {
		t.Fatal(err)
	}
	refused := "*,reset_status.*"
	if strings.Contains(string(text), ", 535.") {
		refused = "*,gpu_recovery_action*"
	}
	script := fmt.Sprintf(`#!/bin/sh
echo "$@" >> %[1]s/asked
case "$*" in
-L) exec /bin/cat %[2]s.list ;;
"-q -x") exec /bin/cat %[2]s.xml ;;
%[3]s)
	echo 'Field "…" is not a valid field to query.'
	exit 2 ;;
esac
/bin/cat %[2]s.csv
exit %[4]d
`, dir, file, refused, exit)
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// askSMI runs the static build, and returns what nvidia-smi was asked, too.
func askSMI(t *testing.T, cards string, exit int, args ...string) (stdout, stderr string, code int, asked []string) {
	t.Helper()
	dir := standIn(t, cards, exit)
	stdout, stderr, code = runWith(t, binary, []string{"PATH=" + dir}, args...)
	lines, err := os.ReadFile(filepath.Join(dir, "asked"))
	if err != nil {
		t.Error(err)
	}
	return stdout, stderr, code, strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n")
}

// anyTime blanks what differs between two runs or two sources by right.
func anyTime(report, source string) string {
	report = regexp.MustCompile(` +[0-9]+ms`).ReplaceAllString(report, " 0ms")
	return strings.NewReplacer("by "+source, "by SOURCE", `"source":"`+source+`"`, `"source":"SOURCE"`).Replace(report)
}

// Both builds say the same of the same cards.
func TestBothBuildsGiveTheSameReport(t *testing.T) {
	for cards, want := range map[string]int{"t4": 0, "a100-40": 0, "a100-80": 0, "a6000": 0, "rtx4090": 0, "two": 0, "ecc": 0, "remap-failed": 1, "hot": 0, "lost": 1, "reset": 1,
		"recovery-none": 0, "recovery-reset": 1, "recovery-reboot": 1, "recovery-drain-p2p": 1, "recovery-drain-and-reset": 0, "reset-required": 1, "drain-recommended": 0, "gsp": 1, "timeout": 1, "mig": 0} {
		for _, args := range [][]string{{"--layers", "gpu"}, {"--layers", "gpu", "--gpu-max-temp", "82", "--gpu-min-free", "5GiB", "--gpu-max-ecc", "0"}, {"gpu"}, {"gpu", "--output", "json"}, {"gpu", "fit", "a=40GiB", "b=10GiB+1GiB"},
			{"gpu", "fit", "--all", "A=7GiB", "B=3GiB", "C=60GiB"}} {
			a, aErr, aCode := byNVML(t, "new", cards, args...)
			b, bErr, bCode := bySMI(t, cards, 0, args...)
			if a, b := anyTime(a+aErr, "NVML"), anyTime(b+bErr, "nvidia-smi"); a != b || aCode != bCode {
				t.Errorf("%s %v: NVML, exit %d:\n%s\nnvidia-smi, exit %d:\n%s", cards, args, aCode, a, bCode, b)
			}
			if len(args) == 2 && aCode != want && args[0] == "--layers" {
				t.Errorf("%s: exit %d, want %d:\n%s", cards, aCode, want, a)
			}
		}
	}
}

func TestGPUFaultsInBothBuilds(t *testing.T) {
	for cards, c := range map[string]struct {
		exit   int
		hint   string
		absent bool
	}{
		"no-driver":  {9, "load the NVIDIA driver on the host", true},
		"mismatch":   {18, "the driver was updated under a loaded module", false},
		"unknown":    {255, "the container has lost its device cgroup, as after systemctl daemon-reload: restart the container", false},
		"permission": {4, "may not open the device", false},
		"blocked":    {17, "see dmesg", false},
		"none":       {0, "", true},
	} {
		for _, optional := range []bool{false, true} {
			args := []string{"--layers", "gpu", fmt.Sprintf("--gpu-optional=%v", optional)}
			a, _, aCode := byNVML(t, "new", cards, args...)
			b, _, bCode := bySMI(t, cards, c.exit, args...)
			want := 1
			if optional && c.absent {
				want = 0
			}
			for _, out := range []string{a, b} {
				if !strings.Contains(out, c.hint) || want == 0 && !strings.Contains(out, "falling back to CPU: ") {
					t.Errorf("%s: does not say %q:\n%s", cards, c.hint, out)
				}
			}
			if aCode != want || bCode != want {
				t.Errorf("%s, optional %v: exit %d and %d, want %d", cards, optional, aCode, bCode, want)
			}
		}
	}
}

// A container that was given two MIG instances sees the card, but no memory of
// it: the memory that counts is that of the instances, in both builds.
func TestMIG(t *testing.T) {
	for _, source := range []func(...string) (string, string, int){
		func(args ...string) (string, string, int) { return byNVML(t, "new", "mig", args...) },
		func(args ...string) (string, string, int) { return bySMI(t, "mig", 0, args...) },
	} {
		if out, _, code := source("--gpu-min-free", "4GiB", "--gpu-count", "2", "--layers", "gpu"); code != 0 ||
			!strings.Contains(out, "MIG 0 1000 of 9856 MiB") || !strings.Contains(out, "MIG 1 12 of 4864 MiB") {
			t.Errorf("exit %d: %s", code, out)
		}
		if out, _, code := source("--gpu-min-free", "8GiB", "--layers", "gpu"); code != 1 || !strings.Contains(out, "MIG 1: 4852 MiB free (min 8192 MiB)") {
			t.Errorf("exit %d: %s", code, out)
		}
		if out, _, code := source("gpu", "fit", "a=8GiB", "b=7GiB"); code != 0 || out != "b\n" {
			t.Errorf("exit %d: %s", code, out)
		}
		if out, _, code := source("gpu", "fit", "--all", "EMBED=3GiB", "CHAT=7GiB"); code != 0 ||
			out != "EMBED=MIG-33333333-0000-0000-0000-000000000000\nCHAT=MIG-22222222-0000-0000-0000-000000000000\n" {
			t.Errorf("exit %d: %s", code, out)
		}
	}
}

// What the driver says must be done to a card decides the cause: a reset and a
// reboot are the host's, processes that must end are this container's own.
func TestGPURecoveryAction(t *testing.T) {
	for cards, c := range map[string]struct {
		code        int
		class, says string
	}{
		"recovery-none":            {0, "", "1 GPU by "},
		"recovery-reset":           {1, "host", `GPU 0 NVIDIA A100-SXM4-80GB: recovery action "Reset" (end all that runs on it, then nvidia-smi --gpu-reset)`},
		"recovery-reboot":          {1, "host", `recovery action "Reboot" (reboot the host)`},
		"recovery-drain-p2p":       {1, "self", `recovery action "Drain P2P" (end the processes that use it with other GPUs)`},
		"recovery-drain-and-reset": {0, "", `recovery action "Drain and Reset" (it works at reduced capacity: put nothing new on it, reset it when its work is done)`},
		"reset-required":           {1, "host", `recovery action "Reset"`},
		"drain-recommended":        {0, "", `recovery action "Drain and Reset"`},
		"gsp":                      {1, "host", "Unknown Error (the driver or the card's firmware (GSP) has failed: see dmesg for Xid)"},
		"timeout":                  {1, "host", "Timeout (the driver or the card's firmware (GSP) has failed: see dmesg for Xid)"},
	} {
		for name, source := range map[string]func(...string) (string, string, int){
			"NVML":       func(args ...string) (string, string, int) { return byNVML(t, "new", cards, args...) },
			"nvidia-smi": func(args ...string) (string, string, int) { return bySMI(t, cards, 0, args...) },
		} {
			out, _, code := source("--layers", "gpu", "--output", "json")
			var doc struct {
				Checks []struct {
					Message string
					Cause   struct{ Class string }
				}
			}
			if err := json.Unmarshal([]byte(out), &doc); err != nil || code != c.code || len(doc.Checks) != 1 || doc.Checks[0].Cause.Class != c.class || !strings.Contains(doc.Checks[0].Message, c.says) {
				t.Errorf("%s by %s: exit %d, want %d, %s, %q: %v, %s", cards, name, code, c.code, c.class, c.says, err, out)
			}
			want := "cpu\n"
			if cards == "recovery-none" {
				want = "m\n"
			}
			if out, _, code := source("gpu", "fit", "m=1GiB"); code != 0 || out != want {
				t.Errorf("%s by %s: exit %d, %q fits, want %q", cards, name, code, out, want)
			}
		}
	}
}

// A driver that does not know the newest field is asked again, and no driver
// more often than it takes.
func TestSMIOfAnyAge(t *testing.T) {
	for cards, want := range map[string]int{"recovery-none": 1, "t4": 2} {
		if _, _, code, asked := askSMI(t, cards, 0, "--layers", "gpu"); code != 0 || len(asked) != want {
			t.Errorf("%s: exit %d, asked %d times, want %d: %q", cards, code, len(asked), want, asked)
		}
	}
	dir := t.TempDir()
	script := "#!/bin/sh\necho asked >> " + dir + "/asked\ncase \"$*\" in *retired*) exit 2;; esac\necho '0, GPU-1, Tesla K80, 450.1, 11441, 0, 11441, 0, 40, 50.00, 0'\n"
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, _, code := runWith(t, binary, []string{"PATH=" + dir}, "--layers", "gpu", "--gpu-max-mem", "90"); code != 0 || !strings.Contains(out, "Tesla K80 0 of 11441 MiB") {
		t.Errorf("exit %d: %s", code, out)
	}
	if asked, err := os.ReadFile(dir + "/asked"); err != nil || strings.Count(string(asked), "\n") != 4 {
		t.Errorf("%q, %v", asked, err)
	}
}

// A library that lacks the newer functions must not end the process.
func TestOldNVML(t *testing.T) {
	out, stderr, code := byNVML(t, "old", "t4", "--layers", "gpu", "--gpu-max-mem", "90")
	if code != 0 || !strings.Contains(out, "Tesla T4 1200 of 15360 MiB") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
}

// A call that hangs, in the library and in the tool: the deadline holds.
func TestGPUThatHangs(t *testing.T) {
	for _, cards := range []string{"hang", "hang-init"} {
		out, _, code := byNVML(t, "new", cards, "--layers", "gpu", "--timeout", "300ms")
		if code != 1 || !strings.Contains(out, "gpu: no answer within 300ms") {
			t.Errorf("%s: exit %d: %s", cards, code, out)
		}
		out, stderr, code := byNVML(t, "new", cards, "gpu", "fit", "--timeout", "300ms", "a=1GiB")
		if code != 0 || out != "cpu\n" || !strings.Contains(stderr, "no answer within 300ms") {
			t.Errorf("%s: exit %d: %s%s", cards, code, out, stderr)
		}
	}
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte("#!/bin/sh\n/bin/sleep 1000 & wait\n"), 0o755)
	out, _, code := runWith(t, binary, []string{"PATH=" + dir}, "--layers", "gpu", "--timeout", "300ms")
	if code != 1 || !strings.Contains(out, "no answer within 300ms") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// NVML's library is missing: nvidia-smi serves, as in the static build.
func TestNVMLBuildFallsBack(t *testing.T) {
	bin, err := nvmlBuild()
	if err != nil {
		t.Fatal(err)
	}
	dir := standIn(t, "t4", 0)
	out, _, code := runWith(t, bin, []string{"PATH=" + dir}, "--layers", "gpu")
	if code != 0 || !strings.Contains(out, "1 GPU by nvidia-smi: Tesla T4") {
		t.Errorf("exit %d: %s", code, out)
	}
	out, _, code = runWith(t, bin, []string{"PATH=/nonexistent"}, "--version")
	if code != 0 || !strings.Contains(out, "GPUs by NVML, nvidia-smi") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestGPUFit(t *testing.T) {
	for _, c := range []struct {
		cards string
		args  []string
		want  string
	}{
		{"t4", []string{"llama3:70b=40GiB", "llama3:8b=6GiB"}, "llama3:8b\n"},
		{"t4", []string{"llama3:70b=40GiB"}, "cpu\n"},
		{"t4", []string{"--reserve", "10GiB", "llama3:8b=6GiB"}, "cpu\n"},
		{"t4", []string{"--context", "8GiB", "llama3:8b=6GiB", "phi=1GiB"}, "phi\n"},
		{"t4", []string{"llama3:8b=6GiB+512MiB"}, "llama3:8b 12\n"},
		{"two", []string{"big=18GiB"}, "cpu\n"},
		{"two", []string{"--split", "big=18GiB"}, "big\n"},
		{"lost", []string{"a=1GiB"}, "cpu\n"},
	} {
		out, _, code := bySMI(t, c.cards, 0, append([]string{"gpu", "fit"}, c.args...)...)
		if code != 0 || out != c.want {
			t.Errorf("%s %v: exit %d, %q, want %q", c.cards, c.args, code, out, c.want)
		}
	}
	out, _, code := bySMI(t, "two", 0, "gpu", "fit", "--all", "--output", "json", "A=40GiB", "B=10GiB")
	if want := `{"places":[{"model":"A","gpu":"cpu","need_mib":40960},{"model":"B","gpu":"GPU-00000346-0000-0000-0000-000000000000","need_mib":10240,"gpu_name":"Tesla T4"}],"reserve_mib":1024,"warning":""}` + "\n"; code != 0 || out != want {
		t.Errorf("exit %d: %s", code, out)
	}
	out, _, code = bySMI(t, "t4", 0, "gpu", "fit", "--output", "json", "big=40GiB", "small=6GiB+1GiB")
	var doc struct {
		Model   string
		Batch   int
		Choices []struct {
			Model string
			Fits  bool
			Why   string
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 || doc.Model != "small" || doc.Batch != 6 || len(doc.Choices) != 2 || doc.Choices[0].Why == "" {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}

func TestGPUWatchDrawsBars(t *testing.T) {
	stdout, _, code := byNVML(t, "new", "rtx4090", "gpu")
	if code != 0 || !strings.Contains(stdout, "24564 MiB  20000 MiB") || !strings.Contains(stdout, "consumer") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	bin, _ := nvmlBuild()
	cmd := exec.CommandContext(t.Context(), bin, "gpu", "--watch", "10ms")
	cmd.Env = []string{"LD_LIBRARY_PATH=" + filepath.Dir(bin) + "/new", "FAKE_NVML=../../testdata/nvml/rtx4090.txt"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen []byte
	buf := make([]byte, 4096)
	for bytes.Count(seen, []byte("driver ")) < 3 {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, buf[:n]...)
	}
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 || !bytes.Contains(seen, []byte("100% [##########]")) || bytes.Contains(seen, []byte("\x1b")) {
		t.Errorf("exit %d: %s", code, seen)
	}
}

// A corrupted infoROM is a warning of nvidia-smi's, exit 14, beside figures
// that are as good as any.
func TestCorruptedInfoROM(t *testing.T) {
	const warning = `nvidia-smi: "WARNING: infoROM is corrupted at gpu 0000:00:1E.0"`
	if out, _, code := bySMI(t, "inforom", 14, "--layers", "gpu", "--gpu-max-temp", "80"); code != 0 || !strings.HasPrefix(out, "degraded: ") || !strings.Contains(out, warning) {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, _, code := bySMI(t, "inforom", 14, "--layers", "gpu", "--gpu-max-temp", "60"); code != 1 || !strings.Contains(out, "temperature 61°C (max 60°C)") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, _, code := bySMI(t, "inforom", 14, "gpu", "fit", "a=40GiB", "b=10GiB"); code != 0 || strings.TrimSpace(out) != "b" {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, _, code := bySMI(t, "inforom", 1, "--layers", "gpu"); code != 1 {
		t.Errorf("with another exit code: exit %d: %s", code, out)
	}
	if out, _, code := bySMI(t, "none", 14, "--layers", "gpu"); code != 1 {
		t.Errorf("without a figure: exit %d: %s", code, out)
	}
}

// The entrypoint in docs/gpu.md, in a shell: each server sees the card that
// its model was put on, or none.
func TestEntrypointOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/gpu.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## Several models side by side")
	_, rest, ok := strings.Cut(rest, "```\n")
	script, _, ok2 := strings.Cut(rest, "```\n")
	if !ok || !ok2 || !strings.Contains(script, "gpu fit --all") {
		t.Fatal("docs/gpu.md has no such script")
	}
	for cards, want := range map[string]string{
		"two":  "8080 99 GPU-00000346-0000-0000-0000-000000000000\n8081 99 GPU-00000346-0000-0000-0000-000000000000\n",
		"lost": "8080 0 \n8081 0 \n",
	} {
		dir := standIn(t, cards, 0)
		// A server's last two arguments and the port before them say enough.
		server := "#!/bin/sh\nfor a; do case $a in 808?) port=$a;; esac; last=$a; done\necho \"$port $last $CUDA_VISIBLE_DEVICES\" >> " + dir + "/servers\n"
		for name, text := range map[string]string{"llama-server": server, "entrypoint": script + "\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(binary, filepath.Join(dir, "healthcheck")); err != nil {
			t.Fatal(err)
		}
		// The shell waits for the server in its background, as an init does.
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "exec /bin/sh "+dir+"/entrypoint | /bin/cat")
		cmd.Env = []string{"PATH=" + dir}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", cards, err, out)
		}
		servers, err := os.ReadFile(filepath.Join(dir, "servers"))
		lines := strings.SplitAfter(strings.TrimSuffix(string(servers), "\n")+"\n", "\n")
		slices.Sort(lines)
		if got := strings.Join(lines, ""); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", cards, got, err, want)
		}
	}
}

func TestGPUFitUsage(t *testing.T) {
	for line, want := range map[string]string{
		"gpu fit --all a=1GiB a=2GiB":                   `--all: "a" is named twice`,
		"gpu fit --all a=1GiB+1MiB":                     "--all: no batch is chosen for models side by side",
		"gpu fit --all --split a=1GiB":                  "--all puts each model on one card",
		"gpu fit --all a=1":                             `"1" is not a size`,
		"gpu fit --all":                                 "no model is named",
		"gpu fit --watch 1s a=1GiB":                     "--watch does not go with fit",
		"gpu --all":                                     "--all goes with fit alone",
		"gpu --reserve 2GiB":                            "--reserve goes with fit alone",
		"gpu fit --all" + strings.Repeat(" a=1GiB", 13): "--all: 13 models: at most 12 can be placed at once",
	} {
		stdout, stderr, code := execute(t, nil, words(line)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, want) || !strings.Contains(stderr, "hint: ") {
			t.Errorf("%s: exit %d: %s%s", line, code, stdout, stderr)
		}
	}
}
