//go:build root

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Giving a file to another user needs root: ./test.sh sets the tag,
// ./test.sh quick does not.

// A sample that another user has put there is not used.
func TestSampleOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--layers", "resource", "--cpu-max", "off", "--mem-max", "off", "--disk-max", "off", "--cpu-window", "60ms", "--state-dir", dir}
	execute(t, nil, args...)
	files, err := filepath.Glob(filepath.Join(dir, "healthcheck-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the sample is in %q, %v", files, err)
	}
	if err := os.Chown(files[0], 65534, 65534); err != nil {
		t.Fatal(err)
	}
	out, _, code := execute(t, nil, args...)
	if code != 0 || !strings.Contains(out, "over 60ms") || !strings.Contains(out, "(no sample kept: "+files[0]+" belongs to user 65534)") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
