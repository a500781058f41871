package target

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Mount is one line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type Mount struct {
	Root, Point, Type, Options string
}

// ParseMountinfo reads the mounts of /proc/self/mountinfo, in its order; lines
// that are none are left out.
func ParseMountinfo(text string) []Mount {
	var mounts []Mount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 3 {
			continue
		}
		mounts = append(mounts, Mount{unescapeMount(f[3]), unescapeMount(f[4]), g[0], g[2]})
	}
	return mounts
}

// unescapeMount undoes the kernel's octal escapes for blanks and backslashes.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// MayHang says whether looking at one of paths may block in the kernel for
// ever, so that not even SIGKILL ends it: it lies on a file system that asks
// another program or host. What looks at it must run in a process of its own.
// The root's own file system is exempt: the program itself was just loaded
// from it.
//
// It touches nothing on such a mount: it follows symbolic links by itself and
// looks every step up in the mount table first.
func MayHang(paths ...string) bool {
	mounts := mountTable()
	if !slices.ContainsFunc(mounts, Mount.slow) {
		return false
	}
	for _, path := range paths {
		if path == "" {
			continue
		}
		if !filepath.IsAbs(path) {
			// os.Getwd may look at the directory itself.
			buf := make([]byte, unix.PathMax)
			n, err := unix.Getcwd(buf)
			if err != nil || n < 1 {
				continue
			}
			path = filepath.Join(string(buf[:n-1]), path)
		}
		if path != "/" && mayHang(mounts, path, os.Readlink) {
			return true
		}
	}
	return false
}

// mountTable is that of this process, read once.
var mountTable = sync.OnceValue(func() []Mount {
	text, err := ReadKernel("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return ParseMountinfo(string(text))
})

func mayHang(mounts []Mount, path string, readlink func(string) (string, error)) bool {
	const maxLinks = 40 // the kernel's own limit (path_resolution(7))
	for range maxLinks {
		next, moved := "", false
		for i := 1; i <= len(path) && !moved; i++ {
			if i < len(path) && path[i] != '/' {
				continue
			}
			prefix := filepath.Clean(path[:i])
			if slowMount(mounts, prefix) {
				return true
			}
			to, err := readlink(prefix)
			if errors.Is(err, fs.ErrNotExist) {
				return false
			}
			if err == nil {
				if !filepath.IsAbs(to) {
					to = filepath.Join(filepath.Dir(prefix), to)
				}
				next, moved = filepath.Join(to, path[i:]), true
			}
		}
		if !moved {
			return false
		}
		path = next
	}
	return false
}

// slowMount says whether the mount that holds path, links aside, is of a kind
// that asks somebody else.
func slowMount(mounts []Mount, path string) bool {
	best := Mount{}
	for _, m := range mounts {
		// The last of several mounts on one point is the one that is seen.
		if (path == m.Point || strings.HasPrefix(path, strings.TrimSuffix(m.Point, "/")+"/")) && len(m.Point) >= len(best.Point) {
			best = m
		}
	}
	return best.slow()
}

// slow says whether a mount other than the root's is of a kind that asks
// somebody else.
func (m Mount) slow() bool {
	if m.Point == "/" {
		return false
	}
	kind, _, _ := strings.Cut(m.Type, ".") // fuse.sshfs
	switch kind {
	case "fuse", "fuseblk", "virtiofs", "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "lustre",
		"gpfs", "ocfs2", "gfs2", "beegfs", "orangefs", "coda", "autofs", "panfs", "vboxsf", "glusterfs":
		return true
	}
	return false
}
