package resource

import (
	"context"
	"fmt"

	"healthcheck/probe"

	"github.com/shirou/gopsutil/v3/disk"
)

// Disk checks how full the file system at path is, as df counts it for a user
// who is not root, and its inodes. It fails above the limits, in percent;
// zero is no limit. The call may hang on a dead mount: see target.MayHang.
func Disk(path string, limit, inodeLimit float64) probe.Func {
	return func(ctx context.Context) (probe.Finding, error) {
		u, err := disk.UsageWithContext(ctx, path)
		if err != nil {
			return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: fmt.Errorf("disk %q: %w", path, probe.Bare(err))}
		}
		return judgeDisk(*u, limit, inodeLimit)
	}
}

func judgeDisk(u disk.UsageStat, limit, inodeLimit float64) (probe.Finding, error) {
	// Used + Free leaves out what is reserved for root.
	size := float64(u.Used) + float64(u.Free)
	if size <= 0 {
		return probe.Finding{Status: probe.Skip, Message: fmt.Sprintf("%q has no size", u.Path)}, nil
	}
	percent := 100 * float64(u.Used) / size
	msg := fmt.Sprintf("%.1f%% of %s at %s%s", percent, bytesText(size), u.Path, Limit{Percent: limit}.note())
	if u.InodesTotal > 0 && inodeLimit > 0 {
		inodes := 100 * float64(u.InodesUsed) / float64(u.InodesTotal)
		msg += fmt.Sprintf(", %.1f%% of %d inodes%s", inodes, u.InodesTotal, Limit{Percent: inodeLimit}.note())
		if inodes > inodeLimit {
			return judge(inodes, inodeLimit, msg)
		}
	}
	return judge(percent, limit, msg)
}
