package protocol

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"github.com/jackc/pgx/v5/pgproto3"
)

// authority signs certificates, in files of a directory of its own.
type authority struct {
	t    *testing.T
	dir  string
	file string // its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.file = filepath.Join(a.dir, "ca.pem")
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(1000 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	must(t, err)
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	must(a.t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return path
}

// issue makes a certificate for a name, and the files of it and of its key.
func (a *authority) issue(name string, validFor time.Duration) (pair tls.Certificate, cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validFor)}, a.cert, &private.PublicKey, a.key)
	must(a.t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	must(a.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", keyDER)
}

// pool trusts it alone.
func (a *authority) pool() *x509.CertPool {
	a.t.Helper()
	text, err := os.ReadFile(a.file)
	must(a.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

const day = 24 * time.Hour

// startTLS is an HTTP server with a certificate for one name.
func (a *authority) startTLS(cfg *tls.Config, h http.HandlerFunc) (port string) {
	a.t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = cfg
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	a.t.Cleanup(srv.Close)
	return portOf(srv.Listener.Addr().String())
}

// A server that wants a client's certificate gets it, in every way to name it.
func TestClientCertificates(t *testing.T) {
	a := newAuthority(t)
	pair, _, _ := a.issue("localhost", 100*day)
	_, cert, key := a.issue("probe", 100*day)
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: a.pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	port := a.startTLS(cfg, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	})
	url := "https://localhost:" + port + "/#body=^probe$&ca-cert=" + a.file
	if _, err := probeOnce(t, HTTP, url+"&client-cert="+cert+"&client-key="+key, patience); err != nil {
		t.Error(err)
	}
	// Both in one file, as the flags have it.
	both := filepath.Join(t.TempDir(), "both.pem")
	one, err := os.ReadFile(cert)
	must(t, err)
	two, err := os.ReadFile(key)
	must(t, err)
	must(t, os.WriteFile(both, append(two, one...), 0o600))
	o := testOptions(t)
	o.TLS.ClientCert, o.TLS.ClientKey = "/nonexistent.pem", "/nonexistent.key"
	if _, err := probeWith(t, HTTP, url+"&client-cert="+both, o, patience); err != nil {
		t.Error(err)
	}
	_, err = probeWith(t, HTTP, url, o, patience)
	wantFailure(t, err, probe.StageTLS, `client certificate "/nonexistent.pem": no such file or directory`)
	_, err = probeOnce(t, HTTP, url+"&client-cert="+cert, patience)
	wantFailure(t, err, probe.StageTLS, "client certificate", "rather than a key")
	_, err = probeOnce(t, HTTP, url+"&client-cert="+cert+"&client-key="+a.dir, patience)
	wantFailure(t, err, probe.StageTLS, "client key", "not a regular file")
	_, err = probeOnce(t, HTTP, url, patience)
	wantFailure(t, err, probe.StageTLS, "certificate required")

	redis := tlsServer(t, cfg, func(c net.Conn) { io.WriteString(c, "+PONG\r\n*1\r\n$6\r\nmaster\r\n") })
	if _, err := probeOnce(t, Redis, "rediss://localhost:"+redis+"?ssl_ca_certs="+a.file+"&ssl_certfile="+cert+"&ssl_keyfile="+key, patience); err != nil {
		t.Error(err)
	}
}

// The name is asked for and verified in place of the host's, and stays with
// the host.
func TestServerName(t *testing.T) {
	a := newAuthority(t)
	one, _, _ := a.issue("one.example", 100*day)
	_, cert, key := a.issue("probe", 100*day)
	var seen []string
	port := a.startTLS(&tls.Config{Certificates: []tls.Certificate{one}, ClientAuth: tls.RequestClientCert}, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, fmt.Sprintf("%s %s %d", r.TLS.ServerName, r.Host, len(r.TLS.PeerCertificates)))
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "https://localhost:"+r.Host[strings.LastIndex(r.Host, ":")+1:]+"/", http.StatusFound)
		}
	})
	text := "https://127.0.0.1:" + port + "/away#ca-cert=" + a.file + "&client-cert=" + cert + "&client-key=" + key
	_, err := probeOnce(t, HTTP, text+"&server-name=one.example&max-redirects=0&status=302", patience)
	must(t, err)
	_, err = probeOnce(t, HTTP, text+"&server-name=two.example", patience)
	wantFailure(t, err, probe.StageTLS, `certificate is for "one.example", not for "two.example"`)
	_, err = probeOnce(t, HTTP, text+"&server-name=one.example", patience)
	wantFailure(t, err, probe.StageTLS, `not for "localhost"`)
	_, err = probeOnce(t, HTTP, text+"&server-name=one.example&insecure=true", patience)
	must(t, err)
	host := "127.0.0.1:" + port
	if want := []string{"one.example " + host + " 1", "one.example " + host + " 1", "one.example " + host + " 1", "localhost localhost:" + port + " 0"}; fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("the server saw %q, want %q", seen, want)
	}
}

// A directory is trusted file by file.
func TestDirectoryOfAuthorities(t *testing.T) {
	a := newAuthority(t)
	must(t, os.WriteFile(filepath.Join(a.dir, "README"), []byte("not a certificate"), 0o600))
	must(t, os.MkdirAll(filepath.Join(a.dir, "..data"), 0o700))
	empty := t.TempDir()
	must(t, os.WriteFile(filepath.Join(empty, "README"), []byte("not a certificate"), 0o600))
	pair, _, _ := a.issue("localhost", 100*day)
	port := a.startTLS(&tls.Config{Certificates: []tls.Certificate{pair}}, func(http.ResponseWriter, *http.Request) {})
	if _, err := probeOnce(t, HTTP, "https://localhost:"+port+"/#ca-cert="+a.dir, patience); err != nil {
		t.Error(err)
	}
	_, err := probeOnce(t, HTTP, "https://localhost:"+port+"/#ca-cert="+empty, patience)
	wantFailure(t, err, probe.StageTLS, "no PEM certificate in it")
}

func TestCertificateThatExpiresSoon(t *testing.T) {
	a := newAuthority(t)
	pair, _, _ := a.issue("localhost", 10*day+time.Hour)
	port := a.startTLS(&tls.Config{Certificates: []tls.Certificate{pair}}, func(http.ResponseWriter, *http.Request) {})
	text := "https://localhost:" + port + "/#ca-cert=" + a.file
	global := testOptions(t)
	global.TLS.Expiry = &target.Expiry{Warn: 14}
	for _, c := range []struct {
		settings string
		o        Options
		status   probe.Status
		says     string
	}{
		{"&cert-days=14", testOptions(t), probe.Warn, "GET https://localhost:" + port + "/: status 200: certificate expires on "},
		{"&cert-days=14", testOptions(t), probe.Warn, ", in 10 days, want at least 14 days"},
		{"&cert-days=10", testOptions(t), "", ""},
		{"&cert-days=14?7", testOptions(t), probe.Warn, "want at least 14 days"},
		{"&cert-days=14?11", testOptions(t), probe.Fail, ", in 10 days, want at least 11 days"},
		{"&cert-days=?11&insecure=true", testOptions(t), probe.Fail, "want at least 11 days"},
		{"", global, probe.Warn, "want at least 14 days"},
		{"&cert-days=10", global, "", ""},
	} {
		f, err := probeWith(t, HTTP, text+c.settings, c.o, patience)
		if c.status == probe.Fail {
			wantFailure(t, err, probe.StageTLS, c.says)
			continue
		}
		if err != nil || f.Status != c.status || !strings.Contains(f.Message, c.says) {
			t.Errorf("%q: %s %q, %v", c.settings, f.Status, f.Message, err)
		}
	}
	if got := causeOf(t, text+"&cert-days=?11", false); got.Class != probe.Config {
		t.Errorf("%+v", got)
	}
	// Where no TLS is spoken, nothing was judged.
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	f, err := probeOnce(t, HTTP, plain.URL+"/#status=404&cert-days=14", patience)
	if err != nil || f.Status != probe.Warn || !strings.Contains(f.Message, "no certificate seen") {
		t.Errorf("%s %q, %v", f.Status, f.Message, err)
	}
}

// A limit of days takes the place of nothing that verifies the certificate.
func TestCertDaysVerifyAsWell(t *testing.T) {
	signer, stranger := newAuthority(t), newAuthority(t)
	pair, _, _ := signer.issue("localhost", 100*day)
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}}
	port := tlsServer(t, cfg, untilClosed)
	postgres := portOf(rawServer(t, func(c net.Conn) {
		io.ReadFull(c, make([]byte, len(sslRequest)))
		io.WriteString(c, "S")
		tc := tls.Server(c, cfg)
		b := pgproto3.NewBackend(tc, tc)
		if _, err := b.ReceiveStartupMessage(); err == nil {
			b.Send(&pgproto3.AuthenticationOk{})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			b.Flush()
			b.Receive()
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			b.Flush()
		}
		untilClosed(c)
	}))
	for text, make := range map[string]makeFunc{
		"postgres://u@127.0.0.1:" + postgres + "/d?sslmode=verify-ca&sslrootcert=CA#": Postgres,
		"postgres://u@127.0.0.1:" + postgres + "/d?sslmode=require&sslrootcert=CA#":   Postgres,
		"postgres://u@127.0.0.1:" + postgres + "/d?sslmode=require#ca-cert=CA&":       Postgres,
		"postgres://u@localhost:" + postgres + "/d?sslmode=verify-full#ca-cert=CA&":   Postgres,
		"https://localhost:" + port + "/#ca-cert=CA&":                                 HTTP,
		"rediss://localhost:" + port + "#ca-cert=CA&":                                 Redis,
		"grpcs://localhost:" + port + "#ca-cert=CA&":                                  GRPC,
		"mongodb://localhost:" + port + "/?tls=true#ca-cert=CA&":                      MongoDB,
	} {
		_, err := probeOnce(t, make, strings.Replace(text, "CA", stranger.file, 1)+"cert-days=1", patience)
		wantFailure(t, err, probe.StageTLS, "certificate signed by an unknown authority")
		if strings.HasPrefix(text, "postgres:") {
			// The one that is right is judged by its days, too.
			text = strings.Replace(text, "CA", signer.file, 1)
			if f, err := probeOnce(t, make, text+"cert-days=1", patience); err != nil || f.Status != "" {
				t.Errorf("%s: %q %v", text, f.Message, err)
			}
			f, err := probeOnce(t, make, text+"cert-days=200", patience)
			if err != nil || f.Status != probe.Warn {
				t.Errorf("%s: %s %q %v", text, f.Status, f.Message, err)
			}
		}
	}
}

// The connection goes elsewhere, and all that is said is said as before.
func TestConnectTo(t *testing.T) {
	var hosts []string
	a := newAuthority(t)
	pair, _, _ := a.issue("app.example", 100*day)
	port := a.startTLS(&tls.Config{Certificates: []tls.Certificate{pair}}, func(w http.ResponseWriter, r *http.Request) {
		hosts = append(hosts, r.Host)
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "https://gone.invalid/", http.StatusFound)
		}
	})
	_, err := probeOnce(t, HTTP, "https://app.example/#connect-to=localhost:"+port+"&ca-cert="+a.file, patience)
	must(t, err)
	_, err = probeOnce(t, HTTP, "https://app.example/away#connect-to=localhost:"+port+"&ca-cert="+a.file, patience)
	wantFailure(t, err, probe.StageResolve, `resolve "gone.invalid"`)
	if fmt.Sprint(hosts) != "[app.example app.example]" {
		t.Errorf("the server was asked as %q", hosts)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	closed := ln.Addr().String()
	ln.Close()
	for text, make := range map[string]makeFunc{"redis://cache.example?db=1": Redis, "postgres://u@db.example/app?sslmode=disable": Postgres, "mysql://u@db.example/app": MySQL,
		"tcp://db.example:1": TCP, "mongodb://db.example": MongoDB, "grpc://app.example:1": GRPC, "qdrant://db.example": Qdrant} {
		_, err := probeOnce(t, make, text+"#connect-to="+closed, patience)
		wantFailure(t, err, probe.StageConnect, "connect to "+closed+": connection refused")
	}
	// Whose fault it is depends on where it was dialled.
	if got := causeOf(t, "http://app.example/#connect-to=127.0.0.1:1", false); got != (probe.FailureCause{Class: probe.Self}) {
		t.Errorf("%+v", got)
	}
	if got := causeOf(t, "http://localhost/#connect-to=web.invalid:8080", false); got != (probe.FailureCause{Class: probe.Dependency, Host: "web.invalid", Port: "8080"}) {
		t.Errorf("%+v", got)
	}
}

func TestTimeLimitsOfOneTarget(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	f, err := probeOnce(t, HTTP, srv.URL+"/#max-time=1h&warn-time=1h", patience)
	if err != nil || f.Status != "" {
		t.Errorf("%s %q, %v", f.Status, f.Message, err)
	}
	f, err = probeOnce(t, HTTP, srv.URL+"/#warn-time=1ns", patience)
	if err != nil || f.Status != probe.Warn || !strings.Contains(f.Message, ": status 200: the answer took ") || !strings.HasSuffix(f.Message, ", want at most 1ns") {
		t.Errorf("%s %q, %v", f.Status, f.Message, err)
	}
	_, err = probeOnce(t, HTTP, srv.URL+"/#max-time=1ns", patience)
	wantFailure(t, err, probe.StageLimit, srv.URL+"/: the answer took ", ", want at most 1ns")
}

// Settings that mean nothing to a kind of target are errors.
func TestSettingsOfEveryTarget(t *testing.T) {
	for in, want := range map[string]string{
		"tcp://x:1#ca-cert=/a":                      "the setting ca-cert behind # is for TLS, and tcp has none",
		"redis://x#insecure":                        "is for TLS, and redis has none",
		"qdrant://x#client-cert=/a":                 "is for TLS, and qdrant has none",
		"https://x#client-key=/a":                   "a client-key without its client-cert",
		"https://x#insecure=maybe":                  `insecure="maybe"`,
		"https://x#ca-cert=":                        `ca-cert=""`,
		"https://x#cert-days=7?14":                  `cert-days="7?14"`,
		"https://x#cert-days=0":                     `cert-days="0"`,
		"https://x#cert-days=?":                     `cert-days="?"`,
		"https://x#server-name=a/b":                 `server-name="a/b"`,
		"https://x#connect-to=10.0.0.7":             `connect-to="10.0.0.7"`,
		"https://x#connect-to=x:0":                  `connect-to="x:0"`,
		"unix:///a.sock:/#connect-to=x:1":           "connect-to is for targets with one host and port",
		"postgres://u@a,b/db#connect-to=x:1":        "connect-to is for targets with one host and port",
		"postgres://u@/db?host=/run#connect-to=x:1": "connect-to is for targets with one host and port",
		"milvus://x/docs#connect-to=x:1":            "connect-to is for targets with one host and port",
		"dns://x#proxy-protocol=1":                  "proxy-protocol is for TCP and Unix sockets",
		"udp://x:1#send=a,proxy-protocol=1":         "proxy-protocol is for TCP and Unix sockets",
		"postgres://u@x/db#insecure":                "the setting insecure behind # means nothing to postgres, where sslmode decides",
		"tcp://x:1#proxy-protocol=3":                `proxy-protocol="3"`,
		"http://x#timeout=5":                        `timeout="5"`,
		"http://x#max-time=-1s":                     `max-time="-1s"`,
		"http://x#warn-time=":                       `warn-time=""`,
	} {
		tg, err := target.ParseTarget(in, testBase)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if _, err = New(tg, testOptions(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}
