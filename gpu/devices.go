package gpu

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// devices opens the driver's control node, as every tool does first: even in
// a scratch image that tells the common failures of containers apart. Without
// a tool the cards are only counted.
func (r Reader) devices() (Snapshot, error) {
	dir := r.Dev
	if dir == "" {
		dir = "/dev"
	}
	path := filepath.Join(dir, "nvidiactl")
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if err != nil {
		errno, _ := errors.AsType[syscall.Errno](err)
		return Snapshot{}, fault(deviceKind(errno), "opening %s: %s", path, errno)
	}
	syscall.Close(fd)
	nodes, err := filepath.Glob(filepath.Join(dir, "nvidia[0-9]*"))
	if err != nil || len(nodes) == 0 {
		return Snapshot{}, fault(NoCards, "%s opens, but there is no %s/nvidia0", path, dir)
	}
	s := Snapshot{Source: dir}
	for i, node := range nodes {
		f, err := os.OpenFile(node, os.O_RDWR|syscall.O_NONBLOCK, 0)
		if err != nil {
			errno, _ := errors.AsType[syscall.Errno](err)
			return s, fault(deviceKind(errno), "opening %s: %s", node, errno)
		}
		f.Close()
		s.Cards = append(s.Cards, Card{Index: i, Name: filepath.Base(node)})
	}
	return s, nil
}

// deviceKind says what the kernel's refusal to open a device node means.
func deviceKind(errno syscall.Errno) Kind {
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR:
		return NotInjected
	case syscall.EPERM:
		return Lost
	case syscall.EACCES:
		return Permission
	case syscall.EIO:
		return Blocked
	case syscall.ENXIO, syscall.ENODEV:
		return NoDriver
	}
	return Broken
}
