package target

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"healthcheck/probe"
)

// TLSOptions say whom a TLS client trusts, and who it is.
type TLSOptions struct {
	CACert   string // path of a PEM file, or of a directory of such, to trust beside the system's
	Insecure bool   // accept any certificate
	// ClientCert and ClientKey are paths of PEM files; without a key it is in the
	// certificate's.
	ClientCert, ClientKey string
	// ServerName takes the place of the target's host, in what is asked for and
	// in what is verified; empty: that host.
	ServerName string
	// Expiry, if set, judges how long the certificate is still valid.
	Expiry *Expiry
}

// Elsewhere are the options for another host than the target's: neither the
// name nor the client's certificate is meant for it.
func (o TLSOptions) Elsewhere() TLSOptions {
	o.ServerName, o.ClientCert, o.ClientKey = "", "", ""
	return o
}

// Files are the paths that Config reads.
func (o TLSOptions) Files() []string { return []string{o.CACert, o.ClientCert, o.ClientKey} }

// Config builds the client's configuration. It reads the files, if any.
func (o TLSOptions) Config(serverName string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: cmp.Or(o.ServerName, serverName), InsecureSkipVerify: o.Insecure, MinVersion: tls.VersionTLS12}
	var verify verifier
	if o.CACert != "" {
		pool, err := o.pool()
		if err != nil {
			return nil, fmt.Errorf("CA certificate %q: %w", o.CACert, err)
		}
		if !o.Insecure {
			cfg.InsecureSkipVerify = true // verify does it
			verify = trusting(pool, cfg.ServerName)
		}
	}
	if o.ClientCert != "" {
		pair, err := o.clientPair()
		if err != nil {
			return nil, err
		}
		// A server that names other authorities is told of it all the same: it
		// says what it thinks of it.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	watch(cfg, verify, o.Expiry)
	return cfg, nil
}

// verifier verifies a server's certificate, and returns its chains.
type verifier func(tls.ConnectionState) ([][]*x509.Certificate, error)

// trusting verifies by a pool, and by the system's authorities where that does
// not do: to read those takes longer than the rest of a probe.
func trusting(pool *x509.CertPool, name string) verifier {
	return func(s tls.ConnectionState) ([][]*x509.Certificate, error) {
		o := x509.VerifyOptions{Roots: pool, DNSName: name, Intermediates: x509.NewCertPool()}
		for _, c := range s.PeerCertificates[1:] {
			o.Intermediates.AddCert(c)
		}
		chains, err := s.PeerCertificates[0].Verify(o)
		if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
			o.Roots = nil
			if more, again := s.PeerCertificates[0].Verify(o); again == nil {
				return more, nil
			}
		}
		if err != nil {
			// As crypto/tls wraps what it finds itself: drivers tell it by that.
			return nil, &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return chains, nil
	}
}

// watch makes handshakes with cfg verify the certificate, and judge how long it
// is valid; either may be nil. What cfg verifies already comes first.
func watch(cfg *tls.Config, verify verifier, e *Expiry) {
	if verify == nil && e == nil {
		return
	}
	before := cfg.VerifyConnection
	cfg.VerifyConnection = func(s tls.ConnectionState) (err error) {
		if before != nil {
			if err = before(s); err != nil {
				return err
			}
		}
		chains := s.VerifiedChains
		if verify != nil {
			if chains, err = verify(s); err != nil {
				return err
			}
		}
		return e.see(chains, s.PeerCertificates)
	}
}

// maxPEM bounds a file of certificates, in bytes, maxPEMs those of a directory.
const maxPEM, maxPEMs = 1 << 20, 1000

// pool is the authorities of the file or directory.
func (o TLSOptions) pool() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	files := []string{o.CACert}
	if st, err := os.Stat(o.CACert); err == nil && st.IsDir() {
		files, err = pemFiles(o.CACert)
		if err != nil {
			return nil, err
		}
	}
	found := false
	for _, file := range files {
		pem, err := ReadBounded(file, maxPEM)
		if err != nil && len(files) > 1 {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		} else if err != nil {
			return nil, err
		}
		found = pool.AppendCertsFromPEM(pem) || found
	}
	if !found {
		return nil, errors.New("no PEM certificate in it")
	}
	return pool, nil
}

// pemFiles are the files of a directory. The hidden ones of a Kubernetes volume
// lead to the same files again.
func pemFiles(dir string) (files []string, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, probe.Bare(err)
	}
	defer f.Close()
	names, err := f.Readdirnames(maxPEMs + 1)
	if err != nil && err != io.EOF {
		return nil, probe.Bare(err)
	}
	if len(names) > maxPEMs {
		return nil, fmt.Errorf("more than %d files", maxPEMs)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); !strings.HasPrefix(name, ".") && err == nil && st.Mode().IsRegular() {
			files = append(files, path)
		}
	}
	return files, nil
}

// clientPair is the client's certificate with its key.
func (o TLSOptions) clientPair() (pair tls.Certificate, err error) {
	cert, err := ReadBounded(o.ClientCert, maxPEM)
	if err != nil {
		return pair, fmt.Errorf("client certificate %q: %w", o.ClientCert, err)
	}
	key := cert
	if o.ClientKey != "" {
		if key, err = ReadBounded(o.ClientKey, maxPEM); err != nil {
			return pair, fmt.Errorf("client key %q: %w", o.ClientKey, err)
		}
	}
	if pair, err = tls.X509KeyPair(cert, key); err != nil {
		// The errors of crypto/tls name what is missing, and repeat nothing.
		return pair, fmt.Errorf("client certificate %q: %s", o.ClientCert, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return pair, nil
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
	if soon, ok := errors.AsType[expiring](err); ok {
		return soon
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
