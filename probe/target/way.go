package target

import (
	"context"
	"fmt"
	"net"
	"strings"

	"healthcheck/probe"
)

// Way is how the connections of one check are made, whatever its protocol. It
// goes along in the context, since every protocol dials for itself and some
// libraries do.
type Way struct {
	// Host and Port are the target's own; no port means any.
	Host, Port string
	// To is the host:port that is dialled for them; empty for themselves.
	To string
	// Proxy is the version of the PROXY protocol that a connection begins with; 0
	// for none.
	Proxy int
}

type wayKey struct{}

// Along returns a context whose dials go that way.
func (w Way) Along(ctx context.Context) context.Context {
	if w == (Way{}) {
		return ctx
	}
	return context.WithValue(ctx, wayKey{}, w)
}

// wayOf is the way of ctx; the zero one where it has none.
func wayOf(ctx context.Context) Way {
	w, _ := ctx.Value(wayKey{}).(Way)
	return w
}

// own says whether an address is the target's own: a redirect may lead
// elsewhere.
func (w Way) own(network, addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	return network == "unix" || err == nil && strings.EqualFold(host, w.Host) && (w.Port == "" || port == w.Port)
}

// open begins a connection as the PROXY protocol wants it (HAProxy's
// specification of it, versions 1 and 2). Version 2 says LOCAL, which is meant
// for checks of the proxy's own; version 1 has no such word for TCP that all
// servers take, so that it names the two ends.
func (w Way) open(conn net.Conn) error {
	var head string
	switch w.Proxy {
	case 0:
		return nil
	case 1:
		head = "PROXY UNKNOWN\r\n"
		from, ok1 := conn.LocalAddr().(*net.TCPAddr)
		to, ok2 := conn.RemoteAddr().(*net.TCPAddr)
		if ok1 && ok2 {
			family := "TCP6"
			if to.IP.To4() != nil {
				family = "TCP4"
			}
			head = fmt.Sprintf("PROXY %s %s %s %d %d\r\n", family, from.IP, to.IP, from.Port, to.Port)
		}
	case 2:
		head = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	}
	if _, err := conn.Write([]byte(head)); err != nil {
		return &probe.StageError{Stage: probe.StageConnect, Err: fmt.Errorf("PROXY protocol: %w", probe.Bare(err))}
	}
	return nil
}
