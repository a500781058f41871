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
	dir := t.TempDir()
	file, err := filepath.Abs("../../testdata/nvidia-smi/" + cards + ".csv")
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >> %s/asked\n/bin/cat %s\nexit %d\n", dir, file, exit)
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := runWith(t, binary, []string{"PATH=" + dir}, args...)
	if asked, err := os.ReadFile(filepath.Join(dir, "asked")); err != nil || strings.Count(string(asked), "\n") != 1 ||
		!strings.HasPrefix(string(asked), "--query-gpu=index,uuid,") || !strings.HasSuffix(string(asked), " --format=csv,noheader,nounits\n") {
		t.Errorf("nvidia-smi was asked %q, %v", asked, err)
	}
	return stdout, stderr, code
}

// anyTime blanks what differs between two runs or two sources by right.
func anyTime(report, source string) string {
	report = regexp.MustCompile(` +[0-9]+ms`).ReplaceAllString(report, " 0ms")
	return strings.NewReplacer("by "+source, "by SOURCE", `"source":"`+source+`"`, `"source":"SOURCE"`).Replace(report)
}

// Both builds say the same of the same cards.
func TestBothBuildsGiveTheSameReport(t *testing.T) {
	for cards, want := range map[string]int{"t4": 0, "a100-40": 0, "a100-80": 0, "a6000": 0, "rtx4090": 0, "two": 0, "ecc": 0, "remap-failed": 1, "hot": 0, "lost": 1, "reset": 1} {
		for _, args := range [][]string{{"--layers", "gpu"}, {"--layers", "gpu", "--gpu-max-temp", "82", "--gpu-min-free", "5GiB", "--gpu-max-ecc", "0"}, {"gpu"}, {"gpu", "--output", "json"}, {"gpu", "fit", "a=40GiB", "b=10GiB+1GiB"}} {
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

// NVML knows the memory of a MIG slice, nvidia-smi does not: where a limit is
// set, not knowing is failing.
func TestMIG(t *testing.T) {
	args := []string{"--gpu-min-free", "8GiB", "--layers", "gpu"}
	if out, _, code := byNVML(t, "new", "mig", args...); code != 0 || !strings.Contains(out, "MIG 0 1000 of 9856 MiB") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, _, code := bySMI(t, "mig", 0, args...); code != 1 || !strings.Contains(out, "free memory is not known from nvidia-smi, and has a limit") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, _, code := bySMI(t, "mig", 0, "--layers", "gpu"); code != 0 {
		t.Errorf("exit %d: %s", code, out)
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
	dir := t.TempDir()
	file, _ := filepath.Abs("../../testdata/nvidia-smi/t4.csv")
	os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte("#!/bin/sh\n/bin/cat "+file+"\n"), 0o755)
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
	out, _, code := bySMI(t, "t4", 0, "gpu", "fit", "--output", "json", "big=40GiB", "small=6GiB+1GiB")
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
