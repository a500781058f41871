//go:build root

package resource

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Giving a file to another user needs root: ./test.sh sets the tag,
// ./test.sh quick does not.

func TestStateOfAnotherUserIsRefused(t *testing.T) {
	dir := t.TempDir()
	must(t, saveState(dir, "s", state{Version: stateVersion, Last: at(0)}))
	must(t, os.Chown(filepath.Join(dir, "s"), 12345, 12345))
	if s, err := loadState(dir, "s"); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") || s.Last != nil {
		t.Errorf("got %v", err)
	}
}

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
