package protocol

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/textproto"
	"net/url"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// exchange is one request and its answer over a connection of its own. It
// stands in for http.Transport, which keeps goroutines and a pool that a
// single request has no use for, and which loses the stage of an abandoned
// dial. Its errors are StageErrors.
type exchange struct{ h *httpCheck }

// roundTrip sends req and returns its answer's head. The connection is closed
// with the body, and cut when ctx ends.
func (x exchange) roundTrip(ctx context.Context, req *request) (*response, error) {
	conn, via, err := x.connect(ctx, req)
	if err != nil {
		return nil, err
	}
	cut := target.InterruptWith(ctx, conn)
	req.last = true
	resp, err := x.talk(ctx, conn, req, via)
	if err != nil {
		cut()
		conn.Close()
		return nil, err
	}
	return resp.owning(conn, func() { cut(); conn.Close() }), nil
}

// talk writes the request and reads the head of the answer.
func (x exchange) talk(ctx context.Context, conn net.Conn, req *request, via proxied) (*response, error) {
	if x.h.opt.HTTP2 {
		return x.talkHTTP2(ctx, conn, req)
	}
	// A server may answer and close before it has read the request: its
	// answer says more than the failed write.
	werr := via.write(conn, req)

	h := &target.Conn{Conn: conn}
	head := &io.LimitedReader{R: h, N: maxHeader}
	resp, err := readResponse(bufio.NewReader(head), req.method)
	if err == nil {
		head.N = math.MaxInt64 // the body has bounds of its own
		return resp, nil
	}
	cause := probe.Cause(ctx, err)
	alert, isAlert := target.TLSAlert(err)
	switch {
	case isAlert:
		return nil, &probe.StageError{Stage: probe.StageTLS, Err: errors.New(alert)}
	case target.Recognize(h.First) != "" && target.Recognize(h.First) != "HTTP":
		cause = fmt.Errorf("the server does not speak HTTP but %s: it sent %s", target.Recognize(h.First), x.h.target.Secrets.QuoteCut(string(h.First)))
	case ctx.Err() != nil || err == errInformational:
	case head.N <= 0:
		cause = fmt.Errorf("the headers are larger than %d bytes", maxHeader)
	case werr != nil && errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &probe.StageError{Stage: probe.StageRequest, Err: probe.Bare(werr), Class: probe.AsTarget}
	case h.Ended != nil && strings.HasPrefix(string(h.First), "HTTP/") && errors.Is(h.Ended, io.EOF):
		cause = errors.New("the server closed the connection in the middle of its answer")
	case h.Ended != nil && strings.HasPrefix(string(h.First), "HTTP/"):
		cause = h.Ended
	case errors.Is(err, io.ErrUnexpectedEOF):
		cause = errors.New("the server closed the connection without an answer")
	default:
		var line textproto.ProtocolError
		var bad badAnswer
		if errors.As(err, &line) || errors.As(err, &bad) {
			text := probe.Cut(probe.Clean(x.h.target.Secrets.Redact(err.Error())), target.EchoBytes)
			if strings.HasPrefix(text, "malformed") {
				text = "the server does not speak HTTP: " + text
			}
			cause = errors.New(text)
		}
	}
	return nil, &probe.StageError{Stage: probe.StageResponse, Err: probe.Bare(cause)}
}

// proxied says how requests go over a connection: the zero value as to the
// server itself.
type proxied struct {
	whole bool   // to a proxy, which wants the whole URL
	auth  string // and these credentials, meant for nobody behind it
}

// write sends req in that form; req itself stays as it is, since a redirect
// may lead it elsewhere.
func (p proxied) write(w io.Writer, req *request) error {
	if p.auth != "" {
		req = req.with("Proxy-Authorization", p.auth)
	}
	return writeRequest(w, req, p.whole)
}

// connect returns the connection that req goes over, with TLS where it asks
// for that, and how requests go over it.
func (x exchange) connect(ctx context.Context, req *request) (conn net.Conn, via proxied, err error) {
	u := req.url
	if !target.IsHTTP(u.Scheme) {
		return nil, via, &probe.StageError{Stage: probe.StageResponse, Err: fmt.Errorf("redirected to the unsupported scheme %q", probe.Cut(u.Scheme, 20))}
	}
	var proxy *url.URL
	if x.h.opt.Proxy {
		if proxy, err = proxyFor(u); err != nil {
			return nil, via, &probe.StageError{Stage: probe.StageConnect, Err: err, Class: probe.Config}
		}
	}
	switch {
	case x.h.opt.HTTP2 && proxy != nil && u.Scheme == "http":
		err = &probe.StageError{Stage: probe.StageRequest, Err: errors.New("HTTP/2 without TLS does not go through a proxy")}
	case x.h.sock != "":
		conn, err = target.Dial(ctx, "unix", x.h.sock)
	case proxy == nil:
		conn, err = target.Dial(ctx, "tcp", hostPort(u))
	case !target.IsHTTP(proxy.Scheme):
		err = &probe.StageError{Stage: probe.StageConnect, Err: fmt.Errorf("a proxy of scheme %q is not supported", probe.Cut(proxy.Scheme, 20)), Class: probe.Config}
	default:
		conn, err = x.connectProxy(ctx, proxy, u)
		via.whole = u.Scheme == "http"
		if via.whole && proxy.User != nil {
			via.auth = basicAuth(proxy.User)
		}
	}
	if err != nil || u.Scheme != "https" {
		return conn, via, err
	}
	options := x.h.opt.TLS
	if u.Hostname() != x.h.url.Hostname() {
		options = options.Elsewhere() // a redirect leads there
	}
	if !x.h.opt.HTTP2 {
		conn, err = options.Handshake(ctx, conn, u.Hostname())
		return conn, via, err
	}
	cfg, err := options.Config(u.Hostname())
	if err != nil {
		conn.Close()
		return nil, via, &probe.StageError{Stage: probe.StageTLS, Err: err, Class: probe.Config}
	}
	cfg.NextProtos = []string{"h2"}
	conn, err = target.HandshakeConfig(ctx, conn, cfg)
	return conn, via, err
}

// proxyFor is a variable for the tests alone: the environment never leads
// loopback addresses to a proxy.
var proxyFor = proxyFromEnvironment

// connectProxy connects to a proxy and, for an https URL, through it.
func (x exchange) connectProxy(ctx context.Context, proxy, u *url.URL) (net.Conn, error) {
	x.h.target.Secrets.AddUser(proxy.User)
	conn, err := target.Dial(ctx, "tcp", hostPort(proxy))
	if err == nil && proxy.Scheme == "https" {
		conn, err = x.h.opt.TLS.Elsewhere().Handshake(ctx, conn, proxy.Hostname())
	}
	if err != nil {
		return nil, &probe.StageError{Stage: probe.StageOf(err), Err: fmt.Errorf("proxy: %w", err)}
	}
	if u.Scheme == "http" {
		return conn, nil
	}
	defer target.InterruptWith(ctx, conn)()
	ask := &request{method: "CONNECT", url: &url.URL{Opaque: hostPort(u)}, host: hostPort(u), header: textproto.MIMEHeader{}}
	if proxy.User != nil {
		ask.header.Set("Proxy-Authorization", basicAuth(proxy.User))
	}
	if err = writeRequest(conn, ask, false); err == nil {
		var resp *response
		// The server speaks only after the client: nothing is read too far.
		if resp, err = readResponse(bufio.NewReader(io.LimitReader(conn, maxHeader)), ask.method); err == nil && resp.status != statusOK {
			err = fmt.Errorf("CONNECT: status %d, want 200", resp.status)
		}
	}
	if err != nil {
		conn.Close()
		return nil, &probe.StageError{Stage: probe.StageConnect, Err: fmt.Errorf("proxy: %w", probe.Bare(probe.Cause(ctx, err)))}
	}
	return conn, nil
}

// hostPort is the address of a URL, with its scheme's own port by default.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func basicAuth(u *url.Userinfo) string {
	pw, _ := u.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+pw))
}
