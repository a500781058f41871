//go:build amd64

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"
)

// The kernel that test.sh fetches: Debian's for virtual machines, whose package
// is unpacked, not installed.
func guestKernel(t *testing.T) (kernel, brd string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	find := func(pattern string) string {
		found, _ := filepath.Glob(filepath.Join(cache, "healthcheck-testservers/kernel", pattern))
		if len(found) != 1 {
			t.Fatalf("%d files %s: test.sh fetches Debian's kernel", len(found), pattern)
		}
		return found[0]
	}
	return find("boot/vmlinuz-*"), find("lib/modules/*/kernel/drivers/block/brd.ko")
}

// cgroupCase is what happens in the virtual machine: a script that prints what
// a probe says, and patterns that follow each other in it.
type cgroupCase struct {
	name, script string
	want         []string
}

// The functions of the scripts: group PATH FILE=VALUE… makes a control group
// with limits; within PATH COMMAND… runs a command in it; contained PATH
// COMMAND… does, as a container with a control group namespace of its own;
// hold PATH MIB has a process in it hold so much shared memory.
const cgroupFunctions = `
cd /sys/fs/cgroup
busybox() { /busybox "$@"; }
echo +memory +cpu +pids >cgroup.subtree_control
group() {
	dir=$1; shift
	busybox mkdir -p $dir
	for limit; do echo "${limit#*=}" >$dir/${limit%%=*}; done
}
parent() { group "$@"; echo +memory +cpu +pids >$1/cgroup.subtree_control; }
within() { (dir=$1; shift; echo 0 >/sys/fs/cgroup/$dir/cgroup.procs; exec "$@"); echo "exit $?"; }
contained() { dir=$1; shift; within $dir /init namespace "$@"; }
hold() { busybox rm -f /tmp/held; within $1 /busybox dd if=/dev/zero of=/tmp/held bs=1M count=$2 2>/dev/null; }
mem="/healthcheck --layers resource --state-dir none --cpu-max off --disk-max off"
cpu="/healthcheck --layers resource --state-dir none --mem-max off --disk-max off --cpu-window 1s"
`

// Forty MiB are 62.5 % of 64; the processes themselves take a little more.
var cgroupCases = []cgroupCase{
	{"the group's own limit", `
group own memory.max=64M
hold own 40
within own $mem
contained own $mem
contained own $mem --mem-max 50`, []string{
		`healthy: `, `ok   memory .* 6[2-9]\.\d% of 64\.0 MiB \(max 90%\), container limit\n`, `exit 0\n`,
		`healthy: `, `ok   memory .* 6[2-9]\.\d% of 64\.0 MiB \(max 90%\), container limit\n`, `exit 0\n`,
		`unhealthy: `, `FAIL memory .*  \[self\]  6[2-9]\.\d% of 64\.0 MiB \(max 50%\), container limit\n`, `exit 1\n$`,
	}},
	// What limits a pod is out of its containers' sight where they have a
	// namespace of their own.
	{"limits of groups above", `
parent pod memory.max=64M
group pod/container memory.max=128M
hold pod/container 40
within pod/container $mem
contained pod/container $mem
parent wide memory.max=128M
group wide/container memory.max=64M
within wide/container $mem`, []string{
		`6[2-9]\.\d% of 64\.0 MiB`, `exit 0\n`, `3[1-4]\.\d% of 128\.0 MiB`, `exit 0\n`, ` \d\.\d% of 64\.0 MiB`, `exit 0\n$`,
	}},
	{"memory.high", `
group high memory.max=64M memory.high=48M
hold high 40
within high $mem`, []string{`8[3-9]\.\d% of 48\.0 MiB \(max 90%\), container limit \(memory\.high\)\n`, `exit 0\n$`}},
	{"the kernel kills", `
group small memory.max=16M
within small $mem --state-dir /dev/shm
hold small 40
busybox rm /tmp/held
within small $mem --state-dir /dev/shm`, []string{
		`of 16\.0 MiB \(max 90%\), container limit\n`, `exit 0\n`, `exit 137\n`,
		`of 16\.0 MiB \(max 90%\), container limit, 1 killed for lack of memory since last probe\n`, `exit 0\n$`,
	}},
	{"cpu.max", `
group half cpu.max="50000 100000"
within half /busybox sh -c 'while :; do :; done' >/dev/null &
within half $cpu --cpu-max 50
contained half $cpu --cpu-max 50
echo 1 >half/cgroup.kill
wait
parent fifth cpu.max="20000 100000"
group fifth/container cpu.max="100000 100000"
within fifth/container $cpu`, []string{
		`FAIL cpu .*  \[self\]  \d+\.\d% of 0\.5 cores over 1s \(max 50%\), container limit\n`, `exit 1\n`,
		`FAIL cpu .*  \[self\]  \d+\.\d% of 0\.5 cores over 1s \(max 50%\), container limit\n`, `exit 1\n`,
		`ok   cpu .*% of 0\.2 cores over 1s`, `exit 0\n$`,
	}},
	{"pids.max", `
group few pids.max=20
within few /busybox sleep 1000 >/dev/null &
within few $mem --pids-max 5
within few $mem --pids-max 90
echo 1 >few/cgroup.kill
wait`, []string{
		`FAIL pids .*  \[self\]  \d+\.0% of 20 tasks \(max 5%\), container limit\n`, `exit 1\n`,
		`ok   pids .* \d+\.0% of 20 tasks \(max 90%\), container limit\n`, `exit 0\n`,
	}},
	// What a group may swap counts as room, and what it has swapped as use.
	{"swap", `
busybox mkswap /dev/ram0 >/dev/null
busybox swapon /dev/ram0
group swaps memory.max=32M memory.swap.max=32M
hold swaps 40
within swaps $mem
group none memory.max=32M memory.swap.max=0
hold none 20
within none $mem`, []string{
		`6[2-9]\.\d% of 64\.0 MiB \(max 90%\), container limit with swap\n`, `exit 0\n`,
		`6[2-9]\.\d% of 32\.0 MiB \(max 90%\), container limit\n`, `exit 0\n$`,
	}},
}

// A real kernel with control groups of version 2 alone runs the probe: what the
// recorded trees of files say is what such a kernel does.
func TestControlGroupsVersion2(t *testing.T) {
	kernel, brd := guestKernel(t)
	dir := t.TempDir()
	initrd := filepath.Join(dir, "initrd")
	if out, code := output(t, append(os.Environ(), "CGO_ENABLED=0"), "go", "build", "-o", filepath.Join(dir, "init"), "./cgroup2"); code != 0 {
		t.Fatal(out)
	}
	script := cgroupFunctions
	for _, c := range cgroupCases {
		script += fmt.Sprintf("echo '== %s'\n%s\nbusybox rm -f /tmp/held\n", strings.ReplaceAll(c.name, "'", ""), c.script)
	}
	var archive bytes.Buffer
	w := cpio.NewWriter(&archive)
	add := func(name string, data []byte) {
		if err := w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeReg | 0o755, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		w.Write(data)
	}
	for name, path := range map[string]string{"init": filepath.Join(dir, "init"), "healthcheck": filepath.Join(bin, "healthcheck"), "busybox": "/bin/busybox", "brd.ko": brd} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		add(name, data)
	}
	add("script", []byte(script))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(initrd, archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 loglevel=0 panic=-1").CombinedOutput()
	text := strings.ReplaceAll(string(out), "\r\n", "\n")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	_, text, _ = strings.Cut(text, "== ")
	sections := strings.Split(text, "== ")
	if len(sections) != len(cgroupCases) {
		t.Fatalf("%d sections, want %d:\n%s", len(sections), len(cgroupCases), text)
	}
	for i, c := range cgroupCases {
		_, got, _ := strings.Cut(sections[i], "\n")
		t.Run(c.name, func(t *testing.T) {
			if !regexp.MustCompile("(?s)" + strings.Join(c.want, ".*?")).MatchString(got) {
				t.Errorf("%s\nprinted\n%s\nwant\n%s", c.script, got, strings.Join(c.want, "\n"))
			}
		})
	}
}
