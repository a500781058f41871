package target

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
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

// Dial connects to addr. Its errors are StageErrors of the stages resolve and
// connect.
//
// The name localhost is not looked up (RFC 6761, 6.3): a scratch image has no
// /etc/hosts, and where it resolves to ::1 first a server that listens on
// IPv4 alone would seem to be down. Both loopback addresses are tried.
func Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Resolver: Resolver, KeepAlive: -1}
	host, port, err := net.SplitHostPort(addr)
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

// TLSOptions say whom a TLS client trusts.
type TLSOptions struct {
	CACert   string // path of a PEM file to trust in place of the system's
	Insecure bool   // accept any certificate
}

// Config builds the client's configuration. It reads the CA file, if any.
func (o TLSOptions) Config(serverName string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: serverName, InsecureSkipVerify: o.Insecure, MinVersion: tls.VersionTLS12}
	if o.CACert == "" {
		return cfg, nil
	}
	pem, err := ReadBounded(o.CACert, 1<<20)
	if err != nil {
		return nil, fmt.Errorf("CA certificate %q: %w", o.CACert, err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA certificate %q: no PEM certificate in it", o.CACert)
	}
	return cfg, nil
}

// Handshake makes conn a TLS connection to serverName. Errors are of the
// stage tls; conn is closed then.
func (o TLSOptions) Handshake(ctx context.Context, conn net.Conn, serverName string) (net.Conn, error) {
	cfg, err := o.Config(serverName)
	if err != nil {
		conn.Close()
		return nil, &probe.StageError{Stage: probe.StageTLS, Err: err, Class: probe.Config}
	}
	return HandshakeConfig(ctx, conn, cfg)
}

// HandshakeConfig is Handshake with a configuration that exists already.
func HandshakeConfig(ctx context.Context, conn net.Conn, cfg *tls.Config) (net.Conn, error) {
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &probe.StageError{Stage: probe.StageTLS, Err: TLSFault(ctx, err), Class: tlsClass(ctx, err)}
	}
	return tc, nil
}

// tlsClass tells a handshake that broke off, which the target may mend by
// itself, from one that a person must.
func tlsClass(ctx context.Context, err error) probe.Class {
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return probe.AsTarget
	}
	return probe.Config
}

// TLSFault describes the common failures of a handshake.
func TLSFault(ctx context.Context, err error) error {
	if cause := probe.Cause(ctx, err); ctx.Err() != nil {
		return fmt.Errorf("TLS handshake: %w", cause)
	}
	if inv, ok := errors.AsType[x509.CertificateInvalidError](err); ok && inv.Reason == x509.Expired && inv.Cert != nil {
		const day = "2006-01-02 15:04 MST"
		if time.Now().Before(inv.Cert.NotBefore) {
			return fmt.Errorf("certificate not valid before %s", inv.Cert.NotBefore.UTC().Format(day))
		}
		return fmt.Errorf("certificate expired on %s", inv.Cert.NotAfter.UTC().Format(day))
	}
	if alert, ok := TLSAlert(err); ok {
		return errors.New(alert)
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok && name.Certificate != nil {
		if c := name.Certificate; len(c.DNSNames) == 0 && len(c.IPAddresses) == 0 && c.Subject.CommonName != "" {
			return fmt.Errorf("certificate names %s in its common name alone, which no longer counts (RFC 6125): it needs a subject alternative name for %q", certNames(c), name.Host)
		}
		return fmt.Errorf("certificate is for %s, not for %q", certNames(name.Certificate), name.Host)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return errors.New("certificate signed by an unknown authority (--ca-cert names one; an image FROM scratch has none)")
	}
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return errors.New("no CA certificates in this image (--ca-cert names one)")
	}
	if rec, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("the server does not speak TLS: it sent %q", rec.RecordHeader[:])
	}
	if errors.Is(err, syscall.ECONNRESET) {
		return errors.New("TLS handshake: connection reset by peer")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("TLS handshake: the server closed the connection")
	}
	return fmt.Errorf("TLS handshake: %s", strings.TrimPrefix(err.Error(), "tls: "))
}

// TLSAlert is what a peer says that ends a TLS session, such as 'certificate
// required', which it may say after the handshake (RFC 8446, 6.2).
func TLSAlert(err error) (string, bool) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" {
		return "", false
	}
	return "the server ends the TLS session: " + strings.TrimPrefix(op.Err.Error(), "tls: "), true
}

// certNames lists what a certificate is for, bounded.
func certNames(c *x509.Certificate) string {
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 && c.Subject.CommonName != "" {
		names = []string{c.Subject.CommonName}
	}
	if len(names) == 0 {
		return "no name"
	}
	return fmt.Sprintf("%q", probe.Cut(strings.Join(names, ", "), 80))
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
