package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"healthcheck/probe"
)

// Conn is a connection that records the first bytes that came over it, so that
// a wrong port can be told from a server that fails.
type Conn struct {
	net.Conn
	First []byte
}

// FirstBytes is how much of them is kept.
const FirstBytes = 64

func (h *Conn) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if room := FirstBytes - len(h.First); room > 0 {
		h.First = append(h.First, p[:min(n, room)]...)
	}
	return n, err
}

// DialConn is Dial, with a connection that is cut when ctx ends.
func DialConn(ctx context.Context, network, addr string) (*Conn, error) {
	conn, err := Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: conn}, nil
}

// ProtocolFault says why a session with a server of the given protocol did
// not come about, where the driver's error does not say. h may be nil.
func ProtocolFault(ctx context.Context, t Target, protocol string, h *Conn, err error) error {
	cause := probe.Cause(ctx, err)
	switch {
	case h != nil && Recognize(h.First) != "":
		return fmt.Errorf("the server does not speak %s but %s: it sent %s", protocol, Recognize(h.First), t.Secrets.QuoteCut(string(h.First)))
	case ctx.Err() != nil:
		if h != nil && len(h.First) == 0 {
			return fmt.Errorf("%w: the server said nothing", cause)
		}
		return cause
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return probe.Bare(err)
	case h != nil && len(h.First) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return errors.New("the server closed the connection without an answer")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the server closed the connection")
	case h != nil && len(h.First) > 0:
		return fmt.Errorf("the server does not speak %s: it sent %s", protocol, t.Secrets.QuoteCut(string(h.First)))
	}
	return probe.Bare(err)
}

// Recognize names a protocol by how its servers begin; empty for none that is
// known.
func Recognize(first []byte) string {
	for prefix, name := range map[string]string{"HTTP/": "HTTP", "SSH-": "SSH", "-ERR": "Redis", "\x15\x03": "TLS",
		"220 ": "SMTP or FTP", "* OK": "IMAP", "AMQP": "AMQP"} {
		if strings.HasPrefix(string(first), prefix) {
			return name
		}
	}
	return ""
}

// Addr returns host:port of a target's URL, with the default port of its
// protocol, or an error for the user.
func (t Target) Addr(defaultPort string) (string, error) {
	all, err := t.Endpoints(defaultPort)
	switch {
	case err != nil:
		return "", err
	case len(all) > 1:
		return "", errors.New("one host only")
	case all[0].Network != "tcp":
		return "", errors.New("the host is a path")
	}
	return all[0].Address, nil
}

// Endpoint is where one host of a target listens, for Dial.
type Endpoint struct {
	Network, Address string
	Host             string // the name that its certificate is for
}

// Endpoints returns the hosts of a target's URL, in its order, or an error
// for the user. A host that is a path is a Unix socket.
func (t Target) Endpoints(defaultPort string) ([]Endpoint, error) {
	var all []Endpoint
	for text := range strings.SplitSeq(t.URL.Host, ",") {
		u := url.URL{Host: text}
		host, port := u.Hostname(), u.Port()
		switch {
		case host == "":
			return nil, errors.New("the URL has no host")
		case strings.HasPrefix(host, "/"):
			all = append(all, Endpoint{"unix", text, ""})
			continue
		case port == "":
			port = defaultPort
		case !ValidPort(port):
			return nil, errors.New("the port is not between 1 and 65535")
		}
		all = append(all, Endpoint{"tcp", net.JoinHostPort(host, port), host})
	}
	return all, nil
}

// InterruptWith makes conn's reads and writes fail when ctx ends, until the
// function that it returns is called.
func InterruptWith(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
}

// ValidPort says whether p is a TCP port.
func ValidPort(p string) bool {
	n, err := strconv.Atoi(p)
	return err == nil && n >= 1 && n <= 65535
}
