//go:build root

package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// Mounting needs root: ./test.sh sets the tag, ./test.sh quick does not.

// A state that cannot be saved is logged once, and the work goes on in memory.
func TestStateFileThatCannotBeWritten(t *testing.T) {
	full := t.TempDir()
	if err := syscall.Mount("tmpfs", full, "tmpfs", 0, "size=4k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(full, syscall.MNT_DETACH) })
	if err := os.WriteFile(full+"/filler", make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	readOnly := t.TempDir()
	if err := syscall.Mount("tmpfs", readOnly, "tmpfs", syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(readOnly, syscall.MNT_DETACH) })
	for dir, part := range map[string]string{full: "no space left on device", readOnly: "read-only file system"} {
		f := newFakeEngine(t, 3)
		cmd, log := killable(t, f, dir+"/state.json")
		f.awaitSubscriber(t)
		for _, id := range f.order {
			f.makeUnhealthy(id)
			<-f.restarts
		}
		eventually(t, "all recover", func() bool { return strings.Count(log.String(), "recovered in ") == 3 })
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if n := strings.Count(log.String(), "the state cannot be saved; it is kept in memory"); n != 1 || !strings.Contains(log.String(), part) {
			t.Errorf("logged %d times:\n%s", n, log)
		}
	}
}

// In an empty root, as in an image FROM scratch, the time zones are known.
func TestZonesInAnEmptyRoot(t *testing.T) {
	root := t.TempDir()
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/watchdog", data, 0o700); err != nil {
		t.Fatal(err)
	}
	newFakeDaemon(t, root+"/control.sock")
	checkZones(t, root, "/watchdog", "/control.sock")
}
