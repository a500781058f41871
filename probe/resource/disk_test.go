package resource

import (
	"testing"

	"healthcheck/probe"

	"github.com/shirou/gopsutil/v3/disk"
)

func TestJudgeDisk(t *testing.T) {
	for _, c := range []struct {
		u             disk.UsageStat
		limit, inodes Limit
		want          string
		status        probe.Status
	}{
		{disk.UsageStat{Path: "/", Fstype: "ext2/ext3", Used: 900, Free: 100, InodesTotal: 10, InodesUsed: 9}, Limit{Max: 95}, Limit{}, "90.0% of 1000 B at / (max 95%)", ""},
		{disk.UsageStat{Path: "/", Used: 960, Free: 40}, Limit{Max: 95}, Limit{}, "96.0% of 1000 B at / (max 95%)", probe.Fail},
		{disk.UsageStat{Path: "/", Used: 500, Free: 500, InodesTotal: 10, InodesUsed: 9}, Limit{Max: 95}, Limit{Max: 80}, "50.0% of 1000 B at / (max 95%), 90.0% of 10 inodes (max 80%)", probe.Fail},
		{disk.UsageStat{Path: "/", Fstype: "btrfs", Used: 500, Free: 500}, Limit{Max: 95}, Limit{Max: 80}, "50.0% of 1000 B at / (max 95%), no inodes to judge: btrfs has no fixed number of them", ""},
		{disk.UsageStat{Path: "/", Fstype: "btrfs", Used: 960, Free: 40}, Limit{Max: 95}, Limit{Max: 80}, "96.0% of 1000 B at / (max 95%), no inodes to judge: btrfs has no fixed number of them", probe.Fail},
		{disk.UsageStat{Path: "/", Used: 500, Free: 500}, Limit{Max: 95}, Limit{Max: 80}, "50.0% of 1000 B at / (max 95%), no inodes to judge: this file system has no fixed number of them", ""},
		{disk.UsageStat{Path: "/snap", Fstype: "squashfs", Used: 1000, InodesTotal: 2, InodesUsed: 2}, Limit{Max: 95}, Limit{Max: 80}, "1000 B at /snap, a read-only image (squashfs): full by design", ""},
		{disk.UsageStat{Path: "/cd", Fstype: "isofs", Used: 1000}, Limit{Max: 95}, Limit{}, "1000 B at /cd, a read-only image (isofs): full by design", ""},
		{disk.UsageStat{Path: "/", Used: 900, Free: 100, InodesTotal: 10, InodesUsed: 9}, Limit{Max: 95, Warn: 85}, Limit{}, "90.0% of 1000 B at / (max 95%, warning above 85%)", probe.Warn},
		{disk.UsageStat{Path: "/", Used: 500, Free: 500, InodesTotal: 10, InodesUsed: 9}, Limit{Max: 95, Warn: 85}, Limit{Warn: 80}, "50.0% of 1000 B at / (max 95%, warning above 85%), 90.0% of 10 inodes (warning above 80%)", probe.Warn},
		{disk.UsageStat{Path: "/", Used: 900, Free: 100}, Limit{Max: 95, MinFree: 101}, Limit{}, "90.0% of 1000 B at / (max 95%), 100 B free (min 101 B)", probe.Fail},
		{disk.UsageStat{Path: "/", Used: 900, Free: 100}, Limit{MinFree: 100, WarnFree: 101}, Limit{}, "90.0% of 1000 B at /, 100 B free (min 100 B, warning below 101 B)", probe.Warn},
		{disk.UsageStat{Path: "/", Used: 900, Free: 100}, Limit{MinFree: 100}, Limit{}, "90.0% of 1000 B at /, 100 B free (min 100 B)", ""},
		{disk.UsageStat{Path: "/", Used: 100, Free: 900}, Limit{WarnFree: 1001}, Limit{}, "10.0% of 1000 B at /, 900 B free (warning below 1001 B), which is more than there is", probe.Warn},
	} {
		f, err := judgeDisk(c.u, c.limit, c.inodes)
		status := f.Status
		if err != nil {
			status = probe.Fail
		}
		if f.Message != c.want || status != c.status {
			t.Errorf("%+v: %s %q, %v; want %s %q", c.u, status, f.Message, err, c.status, c.want)
		}
	}
}
