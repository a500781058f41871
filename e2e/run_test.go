package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// This file begins and ends a run: the directory that holds everything of it,
// and the reaper that cleans up where the run itself cannot.

// runDir holds all that the run writes: the built programs, the servers'
// directories, the tests' temporary files. It is TMPDIR of every process of
// the run, which is how the reaper recognises them.
var runDir string

// label marks everything that these tests leave with the engine with this
// process's id, so that the next run can clean up after one that was killed,
// and leaves alone what belongs to one that still runs.
const labelKey = "healthcheck.e2e"

var label = fmt.Sprintf("%s=%d", labelKey, os.Getpid())

// The reaper is this test binary again, told by these variables whose run it
// cleans up after.
const (
	reaperPid = "HEALTHCHECK_E2E_REAPER_PID"
	reaperDir = "HEALTHCHECK_E2E_REAPER_DIR"
)

func TestMain(m *testing.M) {
	if pid := os.Getenv(reaperPid); pid != "" {
		io.Copy(io.Discard, os.Stdin) // ends with the run, however that ends
		reap(pid, os.Getenv(reaperDir))
		os.Exit(0)
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "healthcheck-e2e-")
		if err != nil {
			panic(err)
		}
		// The servers have users of their own.
		if err := os.Chmod(dir, 0o711); err != nil {
			panic(err)
		}
		finish, err := startReaper(dir)
		if err != nil {
			fmt.Fprintf(os.Stderr, "starting the reaper: %v\n", err)
			return 1
		}
		defer finish()
		runDir, bin = dir, filepath.Join(dir, "bin")
		os.Setenv("TMPDIR", dir)
		for _, b := range [][2]string{{"..", "./cmd/healthcheck"}, {"..", "./cmd/demo"}, {"..", "./cmd/watchdog"}, {".", "./hungfs"}, {".", "./testapp"}} {
			cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin+"/", b[1])
			cmd.Dir, cmd.Env = b[0], append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "building %s: %v\n%s", b[1], err, out)
				return 1
			}
		}
		sweep("")
		defer stopServers()
		return m.Run()
	}())
}

// startReaper starts the process that cleans up after this run. It has a
// session of its own, so that what ends the run does not end it too. finish
// lets it begin and waits for its end.
func startReaper(dir string) (finish func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), reaperPid+"="+strconv.Itoa(os.Getpid()), reaperDir+"="+dir)
	cmd.Stdin, cmd.Stderr = r, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() { w.Close(); cmd.Wait() }, nil
}

// reap removes everything of a run that has ended.
func reap(pid, dir string) {
	killRun(dir)
	sweep(pid)
	for _, point := range mountsUnder(dir) {
		syscall.Unmount(point, syscall.MNT_DETACH)
	}
	os.RemoveAll(dir)
}

// killRun ends the processes of a run that are left: those that have its
// directory in their environment or among their arguments, as the shims of an
// engine of the run's own do. Some need another round, since they start others.
func killRun(dir string) {
	for range 50 {
		var left []int
		for _, pid := range processes() {
			if pid != os.Getpid() && ofRun(pid, dir) {
				left = append(left, pid)
			}
		}
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		<-time.After(100 * time.Millisecond) // the dead need a moment to go
	}
}

func processes() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ofRun says whether a process has the run's directory, or one below it, as
// TMPDIR or among its arguments.
func ofRun(pid int, dir string) bool {
	environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	arguments, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.Contains(string(environ), "TMPDIR="+dir+"\x00") || strings.Contains(string(environ), "TMPDIR="+dir+"/") || strings.Contains(string(arguments), dir+"/")
}

// mountsUnder lists the mount points below dir, the innermost first.
func mountsUnder(dir string) (points []string) {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			points = append(points, f[4])
		}
	}
	slices.Reverse(points)
	return points
}

// runName is what the projects and images of this run are called: the sweep
// knows them by it.
func runName(name string) string { return fmt.Sprintf("healthcheck-e2e-%d-%s", os.Getpid(), name) }

// owner finds the process id of the run in a label or a name.
var owner = regexp.MustCompile(`healthcheck[.-]e2e[=-]([0-9]+)`)

// sweep removes what runs that have ended left with the engine: the given
// one, and those whose process is gone.
func sweep(ended string) {
	images := []string{"image", "ls", "-a", "--format", "{{.ID}} {{.Repository}}"}
	for _, list := range [][]string{
		{"container", "ls", "-a", "--format", "{{.ID}} {{.Labels}} {{.Names}}"},
		images, images, // one that others are built from goes after them
		{"network", "ls", "--format", "{{.ID}} {{.Labels}} {{.Name}}"},
		{"volume", "ls", "--format", "{{.Name}} {{.Labels}}"},
	} {
		kind := list[0]
		out, _ := exec.Command("docker", list...).Output()
		for line := range strings.Lines(string(out)) {
			id, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			if kind == "image" { // whose list does not show labels
				out, _ := exec.Command("docker", "image", "inspect", "--format", labelKey+`={{with .Config}}{{index .Config.Labels "`+labelKey+`"}}{{end}}`, id).Output()
				rest += string(out)
			}
			m := owner.FindStringSubmatch(rest)
			if m == nil {
				continue
			}
			if _, err := os.Stat("/proc/" + m[1]); err == nil && m[1] != ended {
				continue
			}
			if kind == "network" { // which has nothing to force
				exec.Command("docker", kind, "rm", id).Run()
			} else {
				exec.Command("docker", kind, "rm", "-f", id).Run()
			}
		}
	}
}

// A run that is killed leaves nothing: no container, image, process, mount or
// file. The run is this test binary again, told to wait in the middle of
// everything.
func TestRunThatIsKilled(t *testing.T) {
	if os.Getenv(waitInTheMiddle) != "" {
		name := newContainer(t)
		mountHung(t)
		fmt.Printf("ready %s %s\n", name, runDir)
		select {}
	}
	t.Parallel()
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestRunThatIsKilled$", "-test.v")
	cmd.Env = append(os.Environ(), waitInTheMiddle+"=1", "TMPDIR="+t.TempDir())
	log := &logBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var name, dir string
	eventually(t, "the run is in the middle", func() (string, bool) {
		for line := range strings.Lines(log.String()) {
			if n, _ := fmt.Sscanf(line, "ready %s %s", &name, &dir); n == 2 {
				return line, true
			}
		}
		return log.String(), false
	})
	if len(mountsUnder(dir)) == 0 {
		t.Errorf("no mount under %s", dir)
	}
	cmd.Process.Kill()
	cmd.Wait()
	ofTheRun := fmt.Sprintf("label=%s=%d", labelKey, cmd.Process.Pid)
	eventually(t, "nothing is left", func() (string, bool) {
		left := docker(t, "ps", "-aq", "--filter", ofTheRun) + docker(t, "image", "ls", "-q", "--filter", ofTheRun) + strings.Join(mountsUnder(dir), " ")
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			left += " " + dir
		}
		for _, pid := range processes() {
			if ofRun(pid, dir) {
				left += fmt.Sprintf(" process %d", pid)
			}
		}
		return left, left == ""
	})
}

// waitInTheMiddle tells the test binary to be the run that is killed.
const waitInTheMiddle = "HEALTHCHECK_E2E_WAIT"
