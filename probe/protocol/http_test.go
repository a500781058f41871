package protocol

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// testOptions are the command line's defaults.
func testOptions(t *testing.T) Options {
	t.Helper()
	status, err := ParseStatus("200")
	must(t, err)
	return Options{UserAgent: "healthcheck/test", HTTPOptions: HTTPOptions{Method: "GET", Header: http.Header{}, Status: status, MaxRedirects: 10}}
}

var testBase = &url.URL{Scheme: "http", Host: "localhost:5000"}

// probeOnce runs one target under a limit and returns its message or error.
func probeOnce(t *testing.T, make func(target.Target, Options) (probe.Func, error), text string, limit time.Duration) (probe.Finding, error) {
	t.Helper()
	return probeWith(t, make, text, testOptions(t), limit)
}

// probeWith is probeOnce with options of the command line's.
func probeWith(t *testing.T, make func(target.Target, Options) (probe.Func, error), text string, o Options, limit time.Duration) (probe.Finding, error) {
	t.Helper()
	tg, err := target.ParseTarget(text, testBase)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	run, err := build(make, tg, o)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, probe.Timeout(limit))
	defer cancel()
	return run(ctx)
}

// wantFailure asserts the stage and parts of the message of a failure.
func wantFailure(t *testing.T, err error, stage probe.Stage, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("healthy, want a failure at stage %s", stage)
	}
	if got := probe.StageOf(err); got != stage {
		t.Errorf("stage %s, want %s: %v", got, stage, err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

func TestHTTPExpectations(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			fmt.Fprint(w, `{"status":"ok","data":{"db":"up","n":12345678901234567890,"list":[{"x":null},true]}}`)
		case "/bom":
			fmt.Fprint(w, "\xef\xbb\xbf{\"status\":\"ok\"}\r\n")
		case "/garbage":
			fmt.Fprint(w, "{\"status\":\"ok\"}<html>Fatal error")
		case "/two":
			fmt.Fprint(w, "{\"status\":\"ok\"} {}")
		case "/204":
			w.WriteHeader(204)
		case "/503":
			w.WriteHeader(503)
			fmt.Fprint(w, "pool\nexhausted \x1b[31m")
		case "/echo":
			w.WriteHeader(500)
			r.Header.Write(w)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/method":
			fmt.Fprint(w, r.Method, r.Host)
		}
	}))
	defer srv.Close()
	const limit = 5 * time.Second
	for _, ok := range []string{"/bom#json=status=ok", "/ok", "/ok#json=status=ok", "/ok#json=data.db=up&json=data.n=12345678901234567890",
		"/ok#json=data.list.1=true&json=data.list.0.x=null", "/ok#body=%22db%22:.up?", "/204#status=204", "/204#status=2xx", "/503#status=200,500-599",
		"/moved", "/moved#status=302&max-redirects=0", "/method#method=post&body=^POST", "/method#header=Host:%20example.test&body=example.test"} {
		if _, err := probeOnce(t, HTTP, srv.URL+ok, limit); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for text, want := range map[string]struct {
		stage probe.Stage
		text  string
	}{
		"/503":                               {probe.StageStatus, `/503: status 503, want 200: "pool\nexhausted \x1b[31m"`},
		"/204":                               {probe.StageStatus, "status 204, want 200"},
		"/ok#body=absent":                    {probe.StageBody, `the body does not match "absent": "{`},
		"/ok#json=data.db=down":              {probe.StageJSON, `"data.db" is "up", want "down"`},
		"/ok#json=data.nope=1":               {probe.StageJSON, `the body has no "data.nope"`},
		"/ok#json=status.deeper=1":           {probe.StageJSON, `the body has no "status.deeper"`},
		"/ok#json=data.list.7=1":             {probe.StageJSON, "the body has no"},
		"/garbage#json=status=ok":            {probe.StageJSON, `the body is not JSON: behind it stands "<html>Fatal error"`},
		"/two#json=status=ok":                {probe.StageJSON, "the body is not JSON: behind it stands"},
		"/method#json=a=b":                   {probe.StageJSON, `the body is not JSON: "GET`},
		"/loop":                              {probe.StageResponse, "stopped after 10 redirects"},
		"/loop#max-redirects=2":              {probe.StageResponse, "stopped after 2 redirects"},
		"/echo#header=X-Token:%20s3cretword": {probe.StageStatus, "X-Token: ***"},
	} {
		_, err := probeOnce(t, HTTP, srv.URL+text, limit)
		wantFailure(t, err, want.stage, want.text)
	}
}

// A header behind # takes the place of the command line's of its name.
func TestHeaderOfOneTarget(t *testing.T) {
	var got http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }))
	defer srv.Close()
	o := testOptions(t)
	o.Header = http.Header{"X-Token": {"common", "twice"}, "X-Other": {"stays"}}
	_, err := probeWith(t, HTTP, srv.URL+"/#header=x-token:own&header=X-Token:more&header=X-New:1", o, patience)
	must(t, err)
	if fmt.Sprint(got["X-Token"], got["X-Other"], got["X-New"]) != "[own more] [stays] [1]" {
		t.Errorf("sent %v", got)
	}
	if fmt.Sprint(o.Header) != "map[X-Other:[stays] X-Token:[common twice]]" {
		t.Errorf("the command line's own are %v now", o.Header)
	}
}

// The status of a failing server is told whether its body comes or not.
func TestStalledFailure(t *testing.T) {
	const start = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\npool exhausted"
	addr := rawServer(t, func(c net.Conn) { readRequest(c); io.WriteString(c, start); untilClosed(c) })
	for text, make := range map[string]makeFunc{"http://" + addr + "/": HTTP, "qdrant://" + addr: Qdrant} {
		ctx, cancel := context.WithCancel(t.Context())
		tg, err := target.ParseTarget(text, testBase)
		must(t, err)
		run, err := make(tg, testOptions(t))
		must(t, err)
		_, err = run(ctx) // without a deadline: it ends by itself
		cancel()
		wantFailure(t, err, probe.StageStatus, `status 503, want 200: "pool exhausted"`)
	}
}

// A credential must not follow a redirect to another host.
func TestRedirectDropsCredentials(t *testing.T) {
	var got http.Header
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }))
	defer other.Close()
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer srv.Close()
	if _, err := probeOnce(t, HTTP, srv.URL+"#header=X-Api-Key:%20abc&header=Accept:%20text/plain", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if got.Get("X-Api-Key") != "" || got.Get("Accept") != "text/plain" {
		t.Errorf("the other host received %v", got)
	}
}

// An inherited proxy must not swallow a probe of the loopback or of a peer.
func TestProxyIsIgnoredUnlessAskedFor(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer srv.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	if _, err := probeOnce(t, HTTP, srv.URL, 5*time.Second); err != nil {
		t.Error(err)
	}
}

// With --proxy the request goes through it, and https through CONNECT. The
// exchange is asked directly: the environment is read once per process, and
// never leads loopback addresses to a proxy.
func TestProxy(t *testing.T) {
	cert, file := certificate(t, []string{"localhost"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.StartTLS()
	defer srv.Close()
	addr := rawServer(t, func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil || req.Method != http.MethodConnect {
			return
		}
		if _, pw, _ := parseBasic(req.Header.Get("Proxy-Authorization")); pw != "proxypw" {
			io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
			return
		}
		up, err := net.Dial("tcp", req.Host)
		if err != nil {
			return
		}
		defer up.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(up, c)
		io.Copy(c, up)
	})
	for user, want := range map[string]string{"u:proxypw@": "", "u:wrong@": "proxy: CONNECT: status 407, want 200"} {
		u, _ := url.Parse(srv.URL)
		tg := target.Target{URL: u, Secrets: &target.Secrets{}}
		h := &httpCheck{target: tg, opt: testOptions(t), url: u}
		h.opt.TLS.CACert = file
		proxy, _ := url.Parse("http://" + user + addr)
		conn, err := exchange{h}.connectProxy(t.Context(), proxy, u)
		if want != "" {
			wantFailure(t, err, probe.StageConnect, want)
			continue
		}
		must(t, err)
		conn, err = h.opt.TLS.Handshake(t.Context(), conn, "localhost")
		must(t, err)
		conn.Close()
	}
}

// through makes a plain proxy the environment's for one test, and notes what
// it was asked.
func through(t *testing.T, serve func(*http.Request) string) *[]string {
	t.Helper()
	var mu sync.Mutex
	asked := &[]string{}
	addr := rawServer(t, func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, pw, _ := parseBasic(req.Header.Get("Proxy-Authorization"))
			mu.Lock()
			*asked = append(*asked, req.Method+" "+req.RequestURI+" "+pw)
			mu.Unlock()
			if req.Method == http.MethodConnect {
				up, err := net.Dial("tcp", req.Host)
				if err != nil {
					return
				}
				defer up.Close()
				io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				go io.Copy(up, r)
				io.Copy(c, up)
				return
			}
			io.WriteString(c, serve(req))
		}
	})
	old := proxyFor
	t.Cleanup(func() { proxyFor = old })
	proxyFor = func(*url.URL) (*url.URL, error) { return url.Parse("http://u:proxypw@" + addr) }
	return asked
}

// withProxy is probeOnce with --proxy.
func withProxy(t *testing.T, make func(target.Target, Options) (probe.Func, error), text string) error {
	t.Helper()
	o := testOptions(t)
	o.Proxy = true
	_, err := probeWith(t, make, text, o, patience)
	return err
}

// The proxy's credentials are the proxy's alone, and go with every request.
func TestProxyCredentials(t *testing.T) {
	var got []http.Header
	origin := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.Header.Clone()) }))
	defer origin.Close()
	asked := through(t, func(*http.Request) string {
		return "HTTP/1.1 302 Found\r\nLocation: " + origin.URL + "/secure\r\nContent-Length: 0\r\n\r\n"
	})
	if err := withProxy(t, HTTP, strings.Replace(origin.URL, "https:", "http:", 1)+"/#insecure=true"); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Get("Proxy-Authorization") != "" {
		t.Errorf("the origin received %v", got)
	}
	host := strings.TrimPrefix(origin.URL, "https://")
	if want := "GET http://" + host + "/ proxypw,CONNECT " + host + " proxypw"; strings.Join(*asked, ",") != want {
		t.Errorf("the proxy was asked %q, want %q", *asked, want)
	}
	asked = through(t, func(r *http.Request) string {
		body := `{"result":{"status":"green"}}`
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	})
	if err := withProxy(t, Qdrant, "qdrant://q.example:6333/docs"); err != nil {
		t.Fatal(err)
	}
	if want := "GET http://q.example:6333/readyz proxypw,GET http://q.example:6333/collections/docs proxypw"; strings.Join(*asked, ",") != want {
		t.Errorf("the proxy was asked %q, want %q", *asked, want)
	}
}

// A header's number, switch or address is no secret.
func TestPlainHeaderValues(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		fmt.Fprintf(w, "status 5 is true at 127.0.0.1, %s", r.Header.Get("X-Token"))
	}))
	defer srv.Close()
	_, err := probeOnce(t, HTTP, srv.URL+"/#header=X-Depth:5&header=X-Deep:true&header=X-Client:127.0.0.1&header=X-Token:hunter2hunter2", patience)
	wantFailure(t, err, probe.StageStatus, `"status 5 is true at 127.0.0.1, ***"`)
}

// What a server may make of a header is as secret as the header.
func TestSecretsInHeaders(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pw, _ := r.BasicAuth()
		id, err := r.Cookie("id")
		w.WriteHeader(500)
		must(t, err)
		fmt.Fprint(w, pw, " ", id.Value)
	}))
	defer srv.Close()
	_, err := probeOnce(t, HTTP, srv.URL+"/#header=Authorization:basic%20dTpodW50ZXIyaHVudGVyMg==&header=Cookie:theme=dark;%20id=hunter3hunter3;%20x=1", patience)
	wantFailure(t, err, probe.StageStatus, `"*** ***"`)
}

// Neither is a secret printed that a healthy server answers with.
func TestSecretsOfAHealthyServer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"version":"hunter2hunter2"}`) }))
	defer srv.Close()
	f, err := probeOnce(t, Ollama, "ollama"+strings.TrimPrefix(srv.URL, "http")+"?api_key=hunter2hunter2", patience)
	if err != nil || !strings.HasSuffix(f.Message, ": version ***") {
		t.Errorf("%q, %v", f.Message, err)
	}
}

func parseBasic(header string) (user, pw string, ok bool) {
	return (&http.Request{Header: http.Header{"Authorization": {header}}}).BasicAuth()
}

// rawServer answers each connection with serve, on loopback.
func rawServer(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return ln.Addr().String()
}

// untilClosed drains a connection until its peer is gone.
func untilClosed(c net.Conn) { io.Copy(io.Discard, c) }

// readRequest reads up to the empty line.
func readRequest(c net.Conn) {
	var got []byte
	buf := make([]byte, 1024)
	for !strings.Contains(string(got), "\r\n\r\n") {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		got = append(got, buf[:n]...)
	}
}

// forever writes chunk until the peer is gone, every pause.
func forever(c net.Conn, chunk string, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.WriteString(c, chunk); err != nil {
			return
		}
	}
}

const head = "HTTP/1.1 200 OK\r\n"

func TestHTTPAgainstFaultyServers(t *testing.T) {
	for _, c := range []struct {
		name    string
		scheme  string
		serve   func(net.Conn)
		setting string
		stage   probe.Stage // empty: healthy
		text    string
	}{
		{"accepts and says nothing", "http", untilClosed, "", probe.StageResponse, "no answer within 300ms"},
		{"one byte at a time", "http", func(c net.Conn) { readRequest(c); forever(c, "H", 20*time.Millisecond) }, "", probe.StageResponse, ""},
		{"slow headers", "http", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, head)
			forever(c, "X-A: b\r\n", 20*time.Millisecond)
		}, "", probe.StageResponse, "no answer within 300ms"},
		{"endless headers", "http", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, head)
			forever(c, strings.Repeat("X-A: b\r\n", 4096), time.Microsecond)
		}, "", probe.StageResponse, "the headers are larger than"},
		{"endless body", "http", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, head+"\r\n")
			forever(c, strings.Repeat("x", 65536), time.Microsecond)
		}, "", "", ""},
		{"endless body that is looked at", "http", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, head+"\r\n")
			forever(c, strings.Repeat("x", 65536), time.Microsecond)
		}, "#body=y", probe.StageBody, "the body is larger than"},
		{"slow body", "http", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, head+"Content-Length: 1000\r\n\r\n")
			forever(c, "x", 20*time.Millisecond)
		}, "", probe.StageBody, "no answer within 300ms"},
		{"short body", "http", func(c net.Conn) { readRequest(c); io.WriteString(c, head+"Content-Length: 1000\r\n\r\nxyz") },
			"", probe.StageBody, "broke off after 3 bytes: the server closed the connection"},
		{"resets", "http", func(c net.Conn) { readRequest(c); c.(*net.TCPConn).SetLinger(0) }, "", probe.StageResponse, "connection reset by peer"},
		{"closes", "http", func(c net.Conn) { readRequest(c) }, "", probe.StageResponse, "closed the connection without an answer"},
		{"not HTTP", "http", func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1\r\n"); untilClosed(c) }, "", probe.StageResponse, "does not speak HTTP"},
		{"TLS", "http", func(c net.Conn) { readRequest(c); io.WriteString(c, "\x15\x03\x01\x00\x02\x02\x46"); untilClosed(c) }, "", probe.StageResponse, "does not speak HTTP but TLS"},
		{"HTTP/2", "http", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "\x00\x00\x00\x04\x00\x00\x00\x00\x00\r\n")
			untilClosed(c)
		}, "", probe.StageResponse, "does not speak HTTP but HTTP/2"},
		{"MySQL", "http", func(c net.Conn) { io.WriteString(c, "\x4a\x00\x00\x00\x0a8.0.36\x00"); untilClosed(c) }, "", probe.StageResponse, "does not speak HTTP but MySQL"},
		{"TLS handshake ends", "https", func(c net.Conn) { c.Read(make([]byte, 16)); c.(*net.TCPConn).CloseWrite(); untilClosed(c) }, "", probe.StageTLS, "TLS handshake: the server closed the connection"},
		{"TLS handshake hangs", "https", untilClosed, "", probe.StageTLS, "TLS handshake: no answer within 300ms"},
		{"no TLS", "https", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); untilClosed(c) }, "", probe.StageTLS, "does not speak TLS"},
		{"redirects to itself for ever", "http", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
		}, "", probe.StageResponse, "stopped after 10 redirects"},
		{"redirects to a file", "http", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n")
		}, "", probe.StageResponse, `unsupported scheme "file"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr := rawServer(t, c.serve)
			limit := 5 * time.Second
			if strings.Contains(c.text, "300ms") || c.name == "one byte at a time" {
				limit = 300 * time.Millisecond
			}
			_, err := probeOnce(t, HTTP, c.scheme+"://"+addr+"/"+c.setting, limit)
			if c.stage == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantFailure(t, err, c.stage, c.text)
		})
	}
}

func TestConnectFailures(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)

	_, err = probeOnce(t, HTTP, "http://"+addr+"/", 5*time.Second)
	wantFailure(t, err, probe.StageConnect, "connect to "+addr+": connection refused")
	_, err = probeOnce(t, TCP, "tcp://localhost:"+port, 5*time.Second)
	wantFailure(t, err, probe.StageConnect, "connect to 127.0.0.1:"+port, "connection refused")
	_, err = probeOnce(t, Unix, "unix:///nonexistent/app.sock:/health", 5*time.Second)
	wantFailure(t, err, probe.StageConnect, "no such file or directory")
}

// localhost may resolve to ::1 first while the server listens on IPv4 only,
// and the other way round.
func TestLocalhostMeansBothFamilies(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		host := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network]
		ln, err := net.Listen(network, host)
		must(t, err)
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		if _, err := probeOnce(t, TCP, "tcp://localhost:"+port, 5*time.Second); err != nil {
			t.Errorf("%s: %v", network, err)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "app.sock")
	ln, err := net.Listen("unix", sock)
	must(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.EscapedPath()) })}
	go srv.Serve(ln)
	defer srv.Close()
	for _, text := range []string{"unix://" + sock, "unix://" + sock + ":/health", "unix://" + sock + ":/health#body=^/health$", "unix://" + sock + ":/a%2Fb#body=^/a%252Fb$"} {
		if _, err := probeOnce(t, Unix, text, 5*time.Second); err != nil {
			t.Error(err)
		}
	}
	_, err = probeOnce(t, Unix, "unix://"+sock+":/health#body=nope", 5*time.Second)
	wantFailure(t, err, probe.StageBody, "GET unix://"+sock+":/health")
}

// certificate makes a self-signed one for names, valid in between, and the
// PEM file that trusts it.
func certificate(t *testing.T, names []string, from, to time.Time) (tls.Certificate, string) {
	t.Helper()
	return selfSigned(t, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature})
}

// selfSigned signs a template with a key of its own.
func selfSigned(t *testing.T, tmpl *x509.Certificate) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	must(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func TestCertificates(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name     string
		names    []string
		from, to time.Time
		trust    bool
		extra    string
		text     string
	}{
		{"good", []string{"localhost"}, now.Add(-time.Hour), now.Add(time.Hour), true, "", ""},
		{"expired", []string{"localhost"}, now.Add(-48 * time.Hour), now.Add(-24 * time.Hour), true, "", "certificate expired on "},
		{"not yet", []string{"localhost"}, now.Add(24 * time.Hour), now.Add(48 * time.Hour), true, "", "certificate not valid before "},
		{"another name", []string{"db.internal"}, now.Add(-time.Hour), now.Add(time.Hour), true, "", `certificate is for "db.internal", not for "localhost"`},
		{"unknown authority", []string{"localhost"}, now.Add(-time.Hour), now.Add(time.Hour), false, "", "signed by an unknown authority"},
		{"insecure", []string{"db.internal"}, now.Add(-48 * time.Hour), now.Add(-24 * time.Hour), false, "&insecure=true", ""},
		{"missing CA file", []string{"localhost"}, now.Add(-time.Hour), now.Add(time.Hour), false, "&ca-cert=/nonexistent.pem", "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert, file := certificate(t, c.names, c.from, c.to)
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			srv.Config.ErrorLog = nil
			srv.StartTLS()
			defer srv.Close()
			_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
			text := "https://localhost:" + port + "/#status=200"
			if c.trust {
				text += "&ca-cert=" + file
			}
			_, err := probeOnce(t, HTTP, text+c.extra, 5*time.Second)
			if c.text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantFailure(t, err, probe.StageTLS, c.text)
		})
	}
}
