package target

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadKernel(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, 4095, 4096, 4097, 100_000} {
		path := filepath.Join(dir, "file")
		want := []byte(strings.Repeat("x", size))
		must(t, os.WriteFile(path, want, 0o600))
		if got, err := ReadKernel(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "big"), make([]byte, maxKernelFile+1), 0o600))
	if _, err := ReadKernel(filepath.Join(dir, "big")); err == nil {
		t.Error("no bound")
	}
	if _, err := ReadKernel(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := ReadKernel(dir); err == nil {
		t.Error("a directory was read")
	}
	want, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if got, err := (KernelFS{}).ReadFile("proc/self/mountinfo"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestKernelFS(t *testing.T) {
	st, err := fs.Stat(KernelFS{}, "proc/self")
	if err != nil || !st.IsDir() {
		t.Error(st, err)
	}
}
