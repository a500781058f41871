//go:build root

package resource

import (
	"os/exec"
	"strings"
	"testing"
)

// Mounting needs root: ./test.sh sets the tag, ./test.sh quick does not.

// Real file systems that are full by design, and one without inodes.
func TestFileSystemsThatAreNotFull(t *testing.T) {
	for kind, c := range map[string]struct{ options, source, want string }{
		"squashfs": {"loop,ro", "../../testdata/filesystems/squashfs.img", "a read-only image (squashfs): full by design"},
		"erofs":    {"loop,ro", "../../testdata/filesystems/erofs.img", "a read-only image (erofs): full by design"},
		"tmpfs":    {"size=1m,nr_inodes=0", "none", "no inodes to judge: tmpfs has no fixed number of them"},
	} {
		dir := t.TempDir()
		if out, err := exec.Command("mount", "-t", kind, "-o", c.options, c.source, dir).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", kind, err, out)
		}
		t.Cleanup(func() { exec.Command("umount", dir).Run() })
		if f, err := Disk(dir, Limit{Max: 95}, Limit{Max: 80})(t.Context()); err != nil || !strings.Contains(f.Message, c.want) {
			t.Errorf("%s: %q, %v", kind, f.Message, err)
		}
	}
}
