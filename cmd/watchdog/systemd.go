package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// supervisor is the service manager that started the program, systemd or one
// that speaks its protocol (sd_notify(3)); the zero value is none.
type supervisor struct {
	address string
	// every is how often it wants to hear that the loop turns; 0: never.
	every time.Duration
}

// newSupervisor reads what the service manager has put into the environment.
func newSupervisor(environ []string) supervisor {
	get := lookup(environ)
	s := supervisor{address: get("NOTIFY_SOCKET")}
	if !strings.HasPrefix(s.address, "/") && !strings.HasPrefix(s.address, "@") {
		return supervisor{} // none, or a kind of socket that is not understood
	}
	usec, err := strconv.ParseInt(get("WATCHDOG_USEC"), 10, 64)
	if pid := get("WATCHDOG_PID"); err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		s.every = time.Duration(usec) * time.Microsecond / 2 // as sd_watchdog_enabled(3) advises
	}
	return s
}

// The messages of the protocol.
const (
	notifyReady    = "READY=1"
	notifyStopping = "STOPPING=1"
	notifyAlive    = "WATCHDOG=1"
)

// notify sends a message. Nobody waits for it: a service manager that is gone
// is no trouble of the containers'.
func (s supervisor) notify(message string) {
	if s.address == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.address, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	conn.Write([]byte(message))
}

// keepAlive tells the service manager again and again that the program works,
// for as long as alive says so, until ctx ends.
func (s supervisor) keepAlive(ctx context.Context, alive func(now time.Time) bool) {
	if s.every == 0 {
		return
	}
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if alive(now) {
				s.notify(notifyAlive)
			}
		}
	}
}
