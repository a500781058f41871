package resource

import (
	"context"
	"fmt"

	"healthcheck/probe"

	"github.com/shirou/gopsutil/v3/disk"
	"golang.org/x/sys/unix"
)

// Disk checks how full the file system at path is, as df counts it for a user
// who is not root, and its inodes. The call may hang on a dead mount: see
// target.MayHang.
func Disk(path string, limit, inodeLimit Limit) probe.Func {
	return func(ctx context.Context) (probe.Finding, error) {
		u, err := disk.UsageWithContext(ctx, path)
		if err != nil {
			return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: fmt.Errorf("disk %q: %w", path, probe.Bare(err))}
		}
		if u.Free == 0 && u.Fstype == "" { // gopsutil does not know this one
			var st unix.Statfs_t
			if unix.Statfs(path, &st) == nil && uint32(st.Type) == unix.EROFS_SUPER_MAGIC_V1 {
				u.Fstype = "erofs"
			}
		}
		return judgeDisk(*u, limit, inodeLimit)
	}
}

// isImage says whether file systems of a type are made with their content, and
// never written to: they are full by design.
func isImage(fstype string) bool {
	switch fstype {
	case "squashfs", "erofs", "isofs", "cramfs", "romfs":
		return true
	}
	return false
}

func judgeDisk(u disk.UsageStat, limit, inodeLimit Limit) (probe.Finding, error) {
	// Used + Free leaves out what is reserved for root.
	size := float64(u.Used) + float64(u.Free)
	if isImage(u.Fstype) {
		return probe.Finding{Message: fmt.Sprintf("%s at %s, a read-only image (%s): full by design", bytesText(size), u.Path, u.Fstype)}, nil
	}
	if size <= 0 {
		return probe.Finding{Status: probe.Skip, Message: fmt.Sprintf("%q has no size", u.Path)}, nil
	}
	full := figure{percent: 100 * float64(u.Used) / size, of: bytesText(size), size: size, free: float64(u.Free)}
	msg := fmt.Sprintf("%s at %s%s%s", full, u.Path, limit.note(), limit.freeNote(full))
	verdicts := []verdict{limit.percent(full.percent)}
	if limit.wantsFree() {
		verdicts = append(verdicts, limit.freeBytes(full))
	}
	switch {
	case inodeLimit == Limit{}:
	case u.InodesTotal == 0:
		// Btrfs, for one, makes them as they are needed.
		kind := u.Fstype
		if kind == "" {
			kind = "this file system"
		}
		msg += fmt.Sprintf(", no inodes to judge: %s has no fixed number of them", kind)
	default:
		inodes := 100 * float64(u.InodesUsed) / float64(u.InodesTotal)
		msg += fmt.Sprintf(", %.1f%% of %d inodes%s", inodes, u.InodesTotal, inodeLimit.note())
		verdicts = append(verdicts, inodeLimit.percent(inodes))
	}
	return conclude(msg, verdicts...)
}
