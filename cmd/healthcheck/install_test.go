package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestInstall(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "healthcheck")
	for range 2 { // over nothing, and over itself
		if _, stderr, code := execute(t, nil, "install", file); code != 0 {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		want, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(want), err)
		}
		if out, err := exec.CommandContext(t.Context(), file, "--version").Output(); err != nil || !strings.HasPrefix(string(out), "healthcheck ") {
			t.Fatalf("%s, %v", out, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"install"}, "install wants the file to write"},
		{[]string{"install", "a", "b"}, "install wants the file to write"},
		{[]string{"install", "--force"}, "install wants the file to write"},
		{[]string{"install", dir}, "is a directory"},
		{[]string{"install", filepath.Join(dir, "none", "x")}, "no such file or directory"},
	} {
		if _, stderr, code := execute(t, nil, c.args...); code != 1 || !strings.Contains(stderr, "error: ") || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "hint: ") {
			t.Errorf("%v: exit %d: %s", c.args, code, stderr)
		}
	}
	if stdout, _, code := execute(t, nil, "install", "--help"); code != 0 || !strings.Contains(stdout, "Usage: healthcheck install FILE") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}
