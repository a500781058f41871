package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
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
	// Known is set once the server was found to speak the protocol that it was
	// asked in: what fails then is not that.
	Known bool
	// Ended is what ended the reads, if not this side's own limit: drivers keep
	// it to themselves at times.
	Ended error
	// secure is set where this is TLS on top of another connection.
	secure bool
}

// FirstBytes is how much of them is kept.
const FirstBytes = 64

func (h *Conn) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.Note(p[:n], err)
	return n, err
}

// Note records what a read brought.
func (h *Conn) Note(text []byte, err error) {
	if room := FirstBytes - len(h.First); room > 0 {
		h.First = append(h.First, text[:min(len(text), room)]...)
	}
	if h.Ended == nil && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		h.Ended = err
	}
}

// Over records what comes over conn, which is TLS on top of another: what
// comes below it tells nothing.
func Over(conn net.Conn) *Conn { return &Conn{Conn: conn, secure: true} }

// DialConn is Dial, with a connection that is cut when ctx ends.
func DialConn(ctx context.Context, network, addr string) (*Conn, error) {
	conn, err := Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: conn}, nil
}

// Fault is an error in a protocol's own words, such as a server that sends
// its client away: it is reported as it is.
type Fault string

func (f Fault) Error() string { return string(f) }

// ProtocolFault says why a session with a server of the given protocol did
// not come about, where the driver's error does not say. It is a StageError;
// h may be nil, and records what came above TLS where there is any.
//
// Inlined at each of its calls it would take 8 KB more.
//
//go:noinline
func ProtocolFault(ctx context.Context, t Target, protocol string, h *Conn, err error) error {
	stage, fault := protocolFault(ctx, t, protocol, h, err)
	return &probe.StageError{Stage: stage, Err: fault}
}

func protocolFault(ctx context.Context, t Target, protocol string, h *Conn, err error) (probe.Stage, error) {
	cause := probe.Cause(ctx, err)
	said := h != nil && len(h.First) > 0
	known := h != nil && h.Known
	if h != nil && h.Ended != nil {
		err = fmt.Errorf("%w: %w", err, h.Ended)
	}
	own, isFault := errors.AsType[Fault](err)
	alert, isAlert := TLSAlert(err)
	switch other := ""; {
	case said && !known && foreign(h.First, protocol, &other):
		return probe.StageResponse, fmt.Errorf("the server does not speak %s but %s: it sent %s", protocol, other, t.Secrets.QuoteCut(string(h.First)))
	case isAlert:
		return probe.StageTLS, errors.New(alert)
	case ctx.Err() != nil:
		if h != nil && !said {
			return probe.StageResponse, fmt.Errorf("%w: the server said nothing", cause)
		}
		return probe.StageResponse, cause
	case isFault:
		return probe.StageResponse, own
	case h != nil && h.secure && !said && errors.Is(err, syscall.ECONNRESET):
		// The reset overtakes the alert where the client has spoken already.
		return probe.StageTLS, errors.New("connection reset by peer right after the TLS handshake: the server may want a client certificate")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return probe.StageResponse, probe.Bare(err)
	case errors.Is(err, io.ErrUnexpectedEOF) && said:
		return probe.StageResponse, errors.New("the server closed the connection in the middle of an answer")
	case errors.Is(err, io.EOF) && said:
		return probe.StageResponse, errors.New("the server closed the connection")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return probe.StageResponse, errors.New("the server closed the connection without an answer")
	case said && !known:
		return probe.StageResponse, fmt.Errorf("the server does not speak %s: it sent %s", protocol, t.Secrets.QuoteCut(string(h.First)))
	}
	return probe.StageResponse, probe.Bare(err)
}

// foreign says whether first is how a server of another protocol begins, and
// which.
func foreign(first []byte, protocol string, name *string) bool {
	*name = Recognize(first)
	return *name != "" && *name != protocol && !(*name == "HTTP/2" && protocol == "gRPC")
}

// Recognize names a protocol by how its servers begin; empty for none that is
// known.
func Recognize(first []byte) string {
	for prefix, name := range map[string]string{"HTTP/": "HTTP", "SSH-": "SSH", "-ERR": "Redis", "\x15\x03": "TLS",
		"220 ": "SMTP or FTP", "* OK": "IMAP", "AMQP": "AMQP", "INFO {": "NATS"} {
		if strings.HasPrefix(string(first), prefix) {
			return name
		}
	}
	const settings = 4 // the frame that HTTP/2 begins with (RFC 9113, 3.4)
	switch {
	case len(first) > 7 && first[3] == 0 && first[4] == 10 && IsDigit(rune(first[5])) && (first[6] == '.' || first[7] == '.'):
		return "MySQL" // a packet's number, the version of the protocol, and the server's: 8.0, 10.11
	case len(first) > 8 && first[0] == 0 && first[3] == settings && string(first[5:9]) == "\x00\x00\x00\x00":
		return "HTTP/2"
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
//
// Inlined at each of its calls it would take 4 KB more.
//
//go:noinline
func InterruptWith(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
}

// ValidPort says whether p is a TCP port.
func ValidPort(p string) bool {
	n, err := strconv.Atoi(p)
	return err == nil && n >= 1 && n <= 65535
}
