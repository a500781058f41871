// Package kept is what one run keeps for the next: small files in a directory
// that may be shared with enemies, and the moments that they were written at.
package kept

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// MaxFile is how much is read of a file, in bytes.
const MaxFile = 64 << 10

// Dir is where the files are kept.
type Dir struct {
	// Path is the directory; empty keeps nothing.
	Path string
	// LoadFile and SaveFile, if set, do what Load and Save do, in a process of
	// their own and within some time: the directory is on a mount that may hang.
	LoadFile func(path string) ([]byte, error)
	SaveFile func(path string, text []byte) error
}

// Load reads the file about a thing, and returns nothing where there is none.
func (d Dir) Load(thing string) ([]byte, error) {
	if d.LoadFile != nil {
		return d.LoadFile(d.File(thing))
	}
	return Load(d.File(thing))
}

// Save replaces the file about a thing.
func (d Dir) Save(thing string, text []byte) error {
	if d.SaveFile != nil {
		return d.SaveFile(d.File(thing), text)
	}
	return Save(d.File(thing), text)
}

// File is the path of the file about a thing, which for the container itself is
// empty. It names user and mount namespace: containers that share a /dev/shm (a
// Kubernetes pod's) keep files of their own.
func (d Dir) File(thing string) string {
	ns, _ := os.Readlink("/proc/self/ns/mnt") // mnt:[4026531841]
	ns = strings.Trim(strings.TrimPrefix(ns, "mnt:"), "[]")
	name := fmt.Sprintf("healthcheck-%d-%s", os.Geteuid(), ns)
	if thing != "" {
		sum := sha256.Sum256([]byte(thing))
		name += fmt.Sprintf("-%x", sum[:8])
	}
	return filepath.Join(d.Path, name+".json")
}

// Moment is when something was read: CLOCK_BOOTTIME in nanoseconds, immune to a
// clock that is set, and the kernel's boot id that it counts from.
type Moment struct {
	Boot string
	At   int64
}

// Now is this moment.
func Now() (Moment, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return Moment{}, fmt.Errorf("clock: %w", err)
	}
	boot, _ := target.ReadKernel("/proc/sys/kernel/random/boot_id")
	return Moment{strings.TrimSpace(string(boot)), ts.Nano()}, nil
}

// Load reads a file of this user's own. No link is followed, no FIFO waited
// for, and it must be a regular file that nobody else may write. It returns
// nothing where there is no file.
func Load(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		if errors.Is(err, syscall.ELOOP) {
			return nil, fmt.Errorf("%s is a symbolic link", path)
		}
		return nil, fmt.Errorf("%s: %w", path, probe.Bare(err))
	}
	defer f.Close()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case st.Mode&syscall.S_IFMT != syscall.S_IFREG:
		return nil, fmt.Errorf("%s is not a regular file", path)
	case int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s belongs to user %d", path, st.Uid)
	case st.Nlink > 1: // 0: another probe has just replaced it
		return nil, fmt.Errorf("%s has %d links", path, st.Nlink)
	case st.Mode&0o022 != 0:
		return nil, fmt.Errorf("%s is writable by others", path)
	}
	text, _ := io.ReadAll(io.LimitReader(f, MaxFile))
	return text, nil
}

// Save replaces a file as a whole: a new one under a name of its own, then a
// rename, which replaces a link and never follows it.
func Save(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // O_EXCL, 0600: follows no link
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Dir(path), probe.Bare(err))
	}
	tmp := f.Name()
	_, err = f.Write(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("%s: %w", path, probe.Bare(err))
	}
	return nil
}
