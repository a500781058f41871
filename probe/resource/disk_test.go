package resource

import (
	"testing"

	"github.com/shirou/gopsutil/v3/disk"
)

func TestJudgeDisk(t *testing.T) {
	for _, c := range []struct {
		u             disk.UsageStat
		limit, inodes float64
		want          string
		fails         bool
	}{
		{disk.UsageStat{Path: "/", Fstype: "ext2/ext3", Used: 900, Free: 100, InodesTotal: 10, InodesUsed: 9}, 95, 0, "90.0% of 1000 B at / (max 95%)", false},
		{disk.UsageStat{Path: "/", Used: 960, Free: 40}, 95, 0, "96.0% of 1000 B at / (max 95%)", true},
		{disk.UsageStat{Path: "/", Used: 500, Free: 500, InodesTotal: 10, InodesUsed: 9}, 95, 80, "50.0% of 1000 B at / (max 95%), 90.0% of 10 inodes (max 80%)", true},
		{disk.UsageStat{Path: "/", Fstype: "btrfs", Used: 500, Free: 500}, 95, 80, "50.0% of 1000 B at / (max 95%), no inodes to judge: btrfs has no fixed number of them", false},
		{disk.UsageStat{Path: "/", Fstype: "btrfs", Used: 960, Free: 40}, 95, 80, "96.0% of 1000 B at / (max 95%), no inodes to judge: btrfs has no fixed number of them", true},
		{disk.UsageStat{Path: "/", Used: 500, Free: 500}, 95, 80, "50.0% of 1000 B at / (max 95%), no inodes to judge: this file system has no fixed number of them", false},
		{disk.UsageStat{Path: "/snap", Fstype: "squashfs", Used: 1000, InodesTotal: 2, InodesUsed: 2}, 95, 80, "1000 B at /snap, a read-only image (squashfs): full by design", false},
		{disk.UsageStat{Path: "/cd", Fstype: "isofs", Used: 1000}, 95, 0, "1000 B at /cd, a read-only image (isofs): full by design", false},
	} {
		f, err := judgeDisk(c.u, c.limit, c.inodes)
		if f.Message != c.want || (err != nil) != c.fails {
			t.Errorf("%+v: %q, %v; want %q", c.u, f.Message, err, c.want)
		}
	}
}
