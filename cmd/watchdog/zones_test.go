package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// newFakeDaemon answers status and history with one service and one decision,
// due and made at noon UTC of a day in summer.
func newFakeDaemon(t *testing.T, socket string) {
	t.Helper()
	noon := time.Date(2031, 7, 1, 12, 0, 0, 0, time.UTC)
	mux := http.NewServeMux()
	mux.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode([]recovery.ServiceStatus{{Service: "a", Due: noon}})
	})
	mux.HandleFunc("/history", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(store.History{{Time: noon, Service: "a"}})
	})
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
}

// checkZones runs status and history in several time zones.
func checkZones(t *testing.T, root, program, socket string) {
	t.Helper()
	for zone, want := range map[string]string{"Asia/Tokyo": "21:00:00", "Europe/Berlin": "14:00:00", "UTC": "12:00:00", "": "12:00:00"} {
		for _, command := range []string{"status", "history"} {
			cmd := exec.CommandContext(t.Context(), program, command, "--control", socket)
			cmd.Env = []string{"TZ=" + zone}
			if root != "" {
				cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: root}
			}
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
				t.Errorf("TZ=%s %s: %v, no %s in\n%s", zone, command, err, want, out)
			}
		}
	}
}

// Times are local by TZ.
func TestTimesAreLocal(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "control.sock")
	newFakeDaemon(t, socket)
	checkZones(t, "", binary, socket)
}

// The program itself knows the zones, as Go's own copy of them names each: the
// image is empty.
func TestProgramHoldsTheZones(t *testing.T) {
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), "Antarctica/Troll") {
		t.Error("time/tzdata is not linked")
	}
}
