// Cgroup2 is the first program of a small virtual machine, whose kernel has
// control groups of version 2 alone. It prepares the machine, runs the shell
// script /script, and turns the machine off.
//
//	/init                        as process 1
//	/init namespace COMMAND…     runs a command in a control group namespace of
//	                             its own, with a mount of its own, as an engine
//	                             starts a container
package main

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

func main() {
	run := boot
	if len(os.Args) > 1 {
		run = func() error { return namespace(os.Args[2:]) }
	}
	if err := run(); err != nil {
		fmt.Println("init:", err)
	}
	if os.Getpid() == 1 {
		unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
	os.Exit(1)
}

func boot() error {
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/dev/shm"}, {"tmpfs", "/tmp"}, {"cgroup2", "/sys/fs/cgroup"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.dir, err)
		}
	}
	module, err := os.Open("/brd.ko")
	if err != nil {
		return err
	}
	// One disk in memory, of 64 MiB, to swap to.
	if err := unix.FinitModule(int(module.Fd()), "rd_nr=1 rd_size=65536", 0); err != nil {
		return fmt.Errorf("loading brd: %w", err)
	}
	script := exec.Command("/busybox", "sh", "/script")
	script.Stdout, script.Stderr = os.Stdout, os.Stderr
	return script.Run()
}

func namespace(command []string) error {
	if err := unix.Unshare(unix.CLONE_NEWCGROUP | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmounting: %w", err)
	}
	if err := unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mounting: %w", err)
	}
	return unix.Exec(command[0], command, os.Environ())
}
