package target

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// maxKernelFile bounds a file of /proc or /sys, in bytes: /proc/stat of a
// host with a thousand cores is some 100 KiB.
const maxKernelFile = 4 << 20

// ReadKernel reads a file of /proc or /sys. os.ReadFile takes nine system
// calls for one of them and wakes the network poller, since such files can be
// polled; this takes four and no thread.
func ReadKernel(path string) ([]byte, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, 0, 4096)
	for {
		if len(buf) == maxKernelFile {
			return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("larger than any file of the kernel's")}
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		room := buf[len(buf):min(cap(buf), maxKernelFile)]
		n, err := retry(func() (int, error) { return unix.Read(fd, room) })
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return buf, nil
		}
		buf = buf[:len(buf)+n]
	}
}

// retry repeats a system call that a signal interrupted; the runtime's own
// preemption is one.
func retry(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

// KernelFS is the host's file system for readers of /proc and /sys.
type KernelFS struct{}

func (KernelFS) Open(name string) (fs.File, error)     { return os.DirFS("/").Open(name) }
func (KernelFS) ReadFile(name string) ([]byte, error)  { return ReadKernel("/" + name) }
func (KernelFS) Stat(name string) (fs.FileInfo, error) { return os.Stat("/" + name) }
