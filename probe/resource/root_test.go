//go:build root

package resource

import (
	"os"
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
