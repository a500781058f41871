package protocol

import (
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// postgresTLS is how a host is to be spoken to; a nil config is in the clear.
type postgresTLS struct {
	config   *tls.Config
	optional bool // sslmode prefer and allow: in the clear where the server has no TLS
}

// errNoCA is a file of authorities without one.
var errNoCA = errors.New("no certificate authority in sslrootcert")

// newPostgresTLS is what sslmode and its relatives mean for a host.
func newPostgresTLS(settings map[string]string, host string) (postgresTLS, error) {
	mode := cmp.Or(settings["sslmode"], "prefer")
	root := settings["sslrootcert"]
	c := &tls.Config{}
	if settings["sslnegotiation"] == "direct" {
		c.NextProtos = []string{"postgresql"}
		if mode == "prefer" {
			mode = "require"
		}
	}
	switch root {
	case "":
	case "system":
		mode = "verify-full"
	default:
		text, err := target.ReadBounded(root, 1<<20)
		if err != nil {
			return postgresTLS{}, fmt.Errorf("sslrootcert: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return postgresTLS{}, errNoCA
		}
	}
	switch mode {
	case "disable":
		return postgresTLS{}, nil
	case "allow", "prefer":
		c.InsecureSkipVerify = true
	case "require", "verify-ca":
		c.InsecureSkipVerify = true
		if mode == "verify-ca" || root != "" { // libpq verifies where it is given something to do that with
			c.VerifyConnection = func(s tls.ConnectionState) error { return verifyChain(s, c.RootCAs) }
		}
	case "verify-full":
		c.ServerName = host
	default:
		return postgresTLS{}, errors.New("failed to configure TLS (sslmode is invalid)")
	}
	if settings["sslcertmode"] != "disable" {
		if err := addPostgresCert(c, settings); err != nil {
			return postgresTLS{}, err
		}
	}
	if cmp.Or(settings["sslsni"], "1") == "1" && net.ParseIP(host) == nil {
		c.ServerName = host
	}
	return postgresTLS{c, mode == "allow" || mode == "prefer"}, nil
}

// verifyChain verifies a server's certificate, whatever name it is for.
func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

// addPostgresCert adds the client's certificate, where there is one.
func addPostgresCert(c *tls.Config, settings map[string]string) error {
	certFile, keyFile := settings["sslcert"], settings["sslkey"]
	if (certFile == "") != (keyFile == "") {
		return errors.New(`both "sslcert" and "sslkey" are required`)
	}
	if certFile == "" {
		return nil
	}
	key, err := target.ReadBounded(keyFile, 1<<20)
	if err != nil {
		return fmt.Errorf("sslkey: %w", err)
	}
	// libpq reads keys that are encrypted as OpenSSL used to.
	//lint:ignore SA1019 the files are there, whatever their cipher is worth
	if block, _ := pem.Decode(key); block != nil && x509.IsEncryptedPEMBlock(block) {
		//lint:ignore SA1019 as above
		plain, err := x509.DecryptPEMBlock(block, []byte(settings["sslpassword"]))
		if err != nil {
			return errors.New("sslkey is encrypted, and sslpassword does not decrypt it")
		}
		key = pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: plain})
	}
	text, err := target.ReadBounded(certFile, 1<<20)
	if err != nil {
		return fmt.Errorf("sslcert: %w", err)
	}
	pair, err := tls.X509KeyPair(text, key)
	if err != nil {
		return fmt.Errorf("sslcert and sslkey: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return nil
}

// withCert notes in asked whether a server takes the client's certificate.
func withCert(c *tls.Config, asked *bool) *tls.Config {
	c = c.Clone()
	own := c.Certificates
	c.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		for i := range own {
			if info.SupportsCertificate(&own[i]) == nil {
				*asked = true
				return &own[i], nil
			}
		}
		return new(tls.Certificate), nil
	}
	return c
}

// channelBinding identifies the TLS of a connection by the server's certificate
// (RFC 5929, 4.1); nil where it does not.
func channelBinding(conn net.Conn) []byte {
	tc, ok := conn.(*tls.Conn)
	if !ok || len(tc.ConnectionState().PeerCertificates) == 0 {
		return nil
	}
	cert := tc.ConnectionState().PeerCertificates[0]
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
		sum := sha256.Sum256(cert.Raw)
		return sum[:]
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		sum := sha512.Sum384(cert.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		sum := sha512.Sum512(cert.Raw)
		return sum[:]
	}
	return nil
}

// postgresAuth says which ways of authentication require_auth allows; nil is
// any.
type postgresAuth []string

// parsePostgresAuth reads a list of ways, or of those that are not allowed.
func parsePostgresAuth(text string) (postgresAuth, error) {
	all := []string{"password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none"}
	if text == "" {
		return nil, nil
	}
	allowed := postgresAuth{}
	negated := text[0] == '!'
	if negated {
		allowed = slices.Clone(all)
	}
	for part := range strings.SplitSeq(text, ",") {
		way, not := strings.CutPrefix(strings.TrimSpace(part), "!")
		in := slices.Contains(allowed, way)
		if not != negated || in != negated || !slices.Contains(all, way) {
			return nil, fmt.Errorf("require_auth=%q: want some of %s, or all but some, each with a ! before it", probe.Cut(text, 60), strings.Join(all, ", "))
		}
		if negated {
			allowed = slices.DeleteFunc(allowed, func(s string) bool { return s == way })
		} else {
			allowed = append(allowed, way)
		}
	}
	return allowed, nil
}

// check says whether a way is allowed.
func (a postgresAuth) check(way string) error {
	if a == nil || slices.Contains(a, way) {
		return nil
	}
	if way == "none" {
		return authFault("the server asks for no authentication, which require_auth does not allow")
	}
	return authFault("the server asks for %s, which require_auth does not allow", way)
}

// authFault is a login that the client breaks off.
func authFault(format string, args ...any) error {
	return &probe.StageError{Stage: probe.StageAuth, Err: fmt.Errorf(format, args...)}
}
