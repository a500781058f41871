// Launch runs one program and prints what the kernel counted of it: wall time,
// user and system time in microseconds, peak memory in KiB, page faults, exit
// code. It is a program of its own, and small, since a child's peak memory begins with that
// of the process that starts it.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

func main() {
	path, err := exec.LookPath(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fd := null.Fd()
	begin := time.Now()
	pid, err := syscall.ForkExec(path, os.Args[1:], &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{fd, fd, fd}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	var status syscall.WaitStatus
	var usage syscall.Rusage
	for {
		if _, err = syscall.Wait4(pid, &status, 0, &usage); err != syscall.EINTR {
			break
		}
	}
	wall := time.Since(begin)
	fmt.Println(wall.Microseconds(), usage.Utime.Nano()/1000, usage.Stime.Nano()/1000, usage.Maxrss, usage.Minflt+usage.Majflt, status.ExitStatus())
}
