package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// What the checks that speak a protocol of their own have in common: the
// connection they dial, and the words for a server that speaks another one.

// heard is a connection that remembers how the server began to speak, so that
// 'wrong port' can be told from a server that is ill.
type heard struct {
	net.Conn
	first []byte
}

// heardBytes is how much of a server's first words is kept.
const heardBytes = 64

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if room := heardBytes - len(h.first); room > 0 {
		h.first = append(h.first, p[:min(n, room)]...)
	}
	return n, err
}

// dialHeard is dial, with a connection that is cut when ctx ends.
func dialHeard(ctx context.Context, network, addr string) (*heard, error) {
	conn, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &heard{Conn: conn}, nil
}

// protocolFault says why a session with a server of the given protocol did
// not come about, where the driver's own words do not tell. h may be nil.
func protocolFault(ctx context.Context, t Target, protocol string, h *heard, err error) error {
	cause := why(ctx, err)
	switch {
	case h != nil && foreign(h.first) != "":
		return fmt.Errorf("the server does not speak %s but %s: it sent %s", protocol, foreign(h.first), t.Secrets.quote(string(h.first)))
	case ctx.Err() != nil:
		if h != nil && len(h.first) == 0 {
			return fmt.Errorf("%w: the server said nothing", cause)
		}
		return cause
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return plain(err)
	case h != nil && len(h.first) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return errors.New("the server closed the connection without an answer")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the server closed the connection")
	case h != nil && len(h.first) > 0:
		return fmt.Errorf("the server does not speak %s: it sent %s", protocol, t.Secrets.quote(string(h.first)))
	}
	return plain(err)
}

// foreign recognises protocols by how their servers begin.
func foreign(first []byte) string {
	for prefix, name := range map[string]string{"HTTP/": "HTTP", "SSH-": "SSH", "-ERR": "Redis", "\x15\x03": "TLS",
		"220 ": "SMTP or FTP", "* OK": "IMAP", "AMQP": "AMQP"} {
		if strings.HasPrefix(string(first), prefix) {
			return name
		}
	}
	return ""
}

// addrOf returns host:port of a target's URL, with the default port of its
// protocol, or an error in the user's words.
func (t Target) addrOf(defaultPort string) (string, error) {
	host, port := t.URL.Hostname(), t.URL.Port()
	switch {
	case host == "":
		return "", errors.New("the URL has no host")
	case port == "":
		port = defaultPort
	case !validPort(port):
		return "", errors.New("the port is not between 1 and 65535")
	}
	return net.JoinHostPort(host, port), nil
}

// early returns a context that ends a little before ctx does, so that there is
// time left to call a running query off and to close the session properly.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(end)
	const most = 100 * time.Millisecond
	return context.WithDeadline(ctx, end.Add(-min(most, left/5)))
}

// switchParam reads a yes-or-no query parameter.
func switchParam(name, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "", "false", "0", "disable", "no":
		return false, nil
	case "true", "1", "require", "yes":
		return true, nil
	}
	return false, fmt.Errorf("%s=%q is neither true nor false", name, cutRunes(value, 20))
}
