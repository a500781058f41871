//go:build root

package kept

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Giving a file to another user needs root: ./test.sh sets the tag,
// ./test.sh quick does not.

func TestStateOfAnotherUserIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	must(t, Save(path, []byte("good")))
	must(t, os.Chown(path, 12345, 12345))
	if text, err := Load(path); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") || text != nil {
		t.Errorf("%q, %v", text, err)
	}
}
