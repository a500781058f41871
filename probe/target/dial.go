package target

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"healthcheck/probe"
)

// Resolver is Go's own, in both builds: the C library's cannot be cancelled.
var Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
	return DialDNS(ctx, network, addr, nameServers())
}}

// nameServers counts the name servers of this machine.
var nameServers = sync.OnceValue(func() (n int) {
	text, _ := ReadBounded("/etc/resolv.conf", 64<<10)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			n++
		}
	}
	return n
})

// DialDNS connects to one of so many name servers. The resolver waits five
// seconds for each (resolv.conf(5)), which is all that a check has: where
// there are others, a silent one is given a third of the time that is left.
func DialDNS(ctx context.Context, network, addr string, servers int) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	end, ok := ctx.Deadline()
	udp, isUDP := conn.(*net.UDPConn)
	if err != nil || !ok || !isUDP || servers < 2 {
		return conn, err
	}
	return impatient{udp, time.Now().Add(time.Until(end) / 3)}, nil
}

// impatient is a packet connection, as the resolver must be able to tell, on
// which nothing is waited for longer than until end.
type impatient struct {
	*net.UDPConn
	end time.Time
}

// SetDeadline is what the resolver calls.
func (c impatient) SetDeadline(t time.Time) error {
	if t.IsZero() || t.After(c.end) {
		t = c.end
	}
	return c.UDPConn.SetDeadline(t)
}

// Dial connects to addr, the way that ctx says. Its errors are StageErrors of
// the stages resolve and connect.
//
// The name localhost is not looked up (RFC 6761, 6.3): a scratch image has no
// /etc/hosts, and where it resolves to ::1 first a server that listens on
// IPv4 alone would seem to be down. Both loopback addresses are tried.
func Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	way := wayOf(ctx)
	if !way.own(network, addr) {
		return dial(ctx, network, addr)
	}
	conn, err := dial(ctx, network, cmp.Or(way.To, addr))
	if err != nil {
		return nil, err
	}
	if err := way.open(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Resolver: Resolver, KeepAlive: -1}
	host, port, err := net.SplitHostPort(addr)
	if network == "udp" && err == nil && isLocalhost(host) {
		addr = "127.0.0.1:" + port // nothing tells on connecting which of the two answers
	}
	if network == "tcp" && err == nil && isLocalhost(host) {
		conn, err4 := d.DialContext(ctx, "tcp4", "127.0.0.1:"+port)
		if err4 == nil {
			return conn, nil
		}
		conn, err6 := d.DialContext(ctx, "tcp6", "[::1]:"+port)
		if err6 == nil {
			return conn, nil
		}
		tried := "127.0.0.1:" + port
		if errors.Is(err4, syscall.ECONNREFUSED) && errors.Is(err6, syscall.ECONNREFUSED) {
			tried += " and [::1]:" + port
		}
		return nil, &probe.StageError{Stage: probe.StageConnect, Err: fmt.Errorf("connect to %s: %w", tried, probe.Bare(probe.Cause(ctx, err4)))}
	}
	conn, err := d.DialContext(ctx, network, addr)
	if err == nil {
		return conn, nil
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return nil, ResolveError(ctx, host, dns)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
		addr = op.Addr.String()
	}
	return nil, &probe.StageError{Stage: probe.StageConnect, Err: fmt.Errorf("connect to %s: %w", addr, probe.Bare(probe.Cause(ctx, err)))}
}

func isLocalhost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// ResolveError says what a failed look-up of name means.
func ResolveError(ctx context.Context, name string, err *net.DNSError) error {
	server := ""
	if err.Server != "" {
		server = " (asked " + err.Server + ")"
	}
	cause := probe.Cause(ctx, err)
	switch {
	case ctx.Err() != nil:
		return &probe.StageError{Stage: probe.StageResolve, Err: fmt.Errorf("resolve %q: %w%s", name, cause, server)}
	case err.IsNotFound:
		return &probe.StageError{Stage: probe.StageResolve, Err: fmt.Errorf("resolve %q: no such host%s", name, server)}
	case err.IsTimeout:
		return &probe.StageError{Stage: probe.StageResolve, Err: fmt.Errorf("resolve %q: the resolver did not answer%s", name, server)}
	}
	return &probe.StageError{Stage: probe.StageResolve, Err: fmt.Errorf("resolve %q: %s%s", name, err.Err, server)}
}

// ReadBounded reads a regular file of at most max bytes, without the mark of
// UTF-8 that some editors put before a text. It does not wait for the writer of
// a FIFO.
func ReadBounded(path string, max int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, probe.Bare(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, probe.Bare(err)
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	// Files under /proc and /sys have no size: read what comes.
	buf := make([]byte, max+1)
	n := 0
	for n < len(buf) {
		k, err := f.Read(buf[n:])
		n += k
		if err != nil || k == 0 {
			break
		}
	}
	if n > max {
		return nil, fmt.Errorf("larger than %d bytes", max)
	}
	return bytes.TrimPrefix(buf[:n], []byte("\xef\xbb\xbf")), nil
}
