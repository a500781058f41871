package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is a service manager's end of the socket.
type manager struct{ *net.UnixConn }

func newManager(t *testing.T, address string) manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return manager{conn}
}

// next is the next message; empty: none came within the time.
func (m manager) next(within time.Duration) string {
	m.SetReadDeadline(time.Now().Add(within))
	text := make([]byte, 256)
	n, err := m.Read(text)
	if err != nil {
		return ""
	}
	return string(text[:n])
}

// The service manager hears that the watchdog is ready, that it works, and that
// it stops.
func TestSupervisor(t *testing.T) {
	for _, address := range []string{filepath.Join(t.TempDir(), "notify"), "@healthcheck-test-" + strconv.Itoa(os.Getpid())} {
		m := newManager(t, address)
		f := newFakeEngine(t, 1)
		cmd, _ := daemon(t, f, []string{"NOTIFY_SOCKET=" + address, "WATCHDOG_USEC=100000"}, "--listen", "none")
		var got []string
		for range 4 {
			got = append(got, m.next(30*time.Second))
		}
		if text := strings.Join(got, " "); text != "READY=1 WATCHDOG=1 WATCHDOG=1 WATCHDOG=1" {
			t.Errorf("%s: %s", address, text)
		}
		cmd.Process.Signal(syscall.SIGTERM)
		for text := ""; text != "STOPPING=1"; {
			if text = m.next(30 * time.Second); text == "" {
				t.Fatalf("%s: it does not say that it stops", address)
			}
		}
	}
}

// What is meant for another process, or by another protocol, is left alone.
func TestSupervisorOfOthers(t *testing.T) {
	const socket = "NOTIFY_SOCKET=/x"
	own := "WATCHDOG_PID=" + strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		environ []string
		want    supervisor
	}{
		{nil, supervisor{}},
		{[]string{"WATCHDOG_USEC=1000000"}, supervisor{}},
		{[]string{"NOTIFY_SOCKET=vsock:2:1234", "WATCHDOG_USEC=1000000"}, supervisor{}},
		{[]string{socket}, supervisor{address: "/x"}},
		{[]string{socket, "WATCHDOG_USEC=120000000", own}, supervisor{address: "/x", every: time.Minute}},
		{[]string{socket, "WATCHDOG_USEC=120000000", "WATCHDOG_PID=1"}, supervisor{address: "/x"}},
		{[]string{socket, "WATCHDOG_USEC=0"}, supervisor{address: "/x"}},
		{[]string{socket, "WATCHDOG_USEC=x"}, supervisor{address: "/x"}},
	} {
		if got := newSupervisor(c.environ); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.environ, got, c.want)
		}
	}
}

// A loop that does not turn is not said to.
func TestSupervisorOfAHungLoop(t *testing.T) {
	address := filepath.Join(t.TempDir(), "notify")
	m := newManager(t, address)
	asked := make(chan bool)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		supervisor{address: address, every: time.Millisecond}.keepAlive(ctx, func(time.Time) bool { return <-asked })
	}()
	for _, alive := range []bool{false, false, true} {
		asked <- alive
	}
	asked <- false // the message before it was sent
	cancel()
	close(asked)
	<-ended
	supervisor{address: address}.notify("end")
	for _, want := range []string{"WATCHDOG=1", "end"} {
		if got := m.next(30 * time.Second); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
