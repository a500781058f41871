package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What --ca-cert names is trusted beside the image's own authorities, of which
// an image FROM scratch has none.
func TestAuthoritiesBesideTheSystems(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	url := "https://127.0.0.1:" + port + "/"
	own := filepath.Join(t.TempDir(), "own.pem")
	if err := os.WriteFile(own, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	const other = "testdata/other.pem" // of an authority that has signed nothing here
	none := []string{"SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent"}
	system := []string{"SSL_CERT_FILE=" + own, "SSL_CERT_DIR=/nonexistent"}
	for _, c := range []struct {
		environ []string
		ca      string
		code    int
	}{{none, own, 0}, {system, other, 0}, {none, other, 1}, {none, filepath.Dir(own), 0}} {
		out, _, code := execute(t, c.environ, "--layers", "api", "--api", url, "--ca-cert", c.ca)
		if code != c.code || c.code == 1 && !strings.Contains(out, "certificate signed by an unknown authority") {
			t.Errorf("%s and --ca-cert %s: exit %d:\n%s", c.environ, c.ca, code, out)
		}
	}
	// The name is verified whoever has signed it.
	out, _, code := execute(t, system, "--layers", "api", "--api", url, "--ca-cert", other, "--server-name", "db.internal")
	if code != 1 || !strings.Contains(out, `not for "db.internal"`) {
		t.Errorf("exit %d:\n%s", code, out)
	}
	out, _, code = execute(t, system, "--layers", "api", "--base-url", "https://nowhere.invalid", "--ca-cert", own, "--server-name", "127.0.0.1", "--connect-to", "127.0.0.1:"+port)
	if code != 0 || !strings.Contains(out, "GET https://nowhere.invalid/health: status 200") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

// The flags reach the options of every target.
func TestFlagsOfTLSAndHTTP(t *testing.T) {
	c, err := parseConfig([]string{"--api", "https://x/", "--min-cert-days", "14?7", "--client-cert", "/c", "--client-key", "/k", "--server-name", "n", "--ca-cert", "/ca",
		"--http-version", "2", "--body-file", "/b", "--not-body", "n", "--expect-header", "A: b", "--expect-header", "C", "--db", "db://x/#timeout=7s", "--connect-to", "y:1"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := c.http
	if o.TLS.Expiry.Warn != 14 || o.TLS.Expiry.Fail != 7 || o.TLS.ClientCert != "/c" || o.TLS.ClientKey != "/k" || o.TLS.ServerName != "n" || o.TLS.CACert != "/ca" ||
		!o.HTTP2 || o.SendFile != "/b" || o.NotBody == nil || len(o.ExpectHeader) != 2 || o.Method != "" {
		t.Errorf("%+v", o)
	}
	if got := c.targets["api"][0].Setting("connect-to"); got != "y:1" {
		t.Errorf("connect-to=%q", got)
	}
}

// A body comes from a file, by the flag for each probe anew, or by the variable
// once; one target's limit may be longer than that of the others.
func TestBodiesAndLimits(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Method, text)
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, []byte("{\"a\":1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--layers", "api", "--api", srv.URL, "--expect-body", `^POST {"a":1}`}
	for _, c := range []struct{ environ, args []string }{{[]string{"HEALTHCHECK_BODY_FILE=" + file}, nil}, {nil, []string{"--body-file", file}}, {nil, []string{"--body", `{"a":1}`}}} {
		if out, errs, code := execute(t, c.environ, append(args, c.args...)...); code != 0 {
			t.Errorf("%v: exit %d:\n%s%s", c, code, out, errs)
		}
	}
	silent := faultyServer(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	out, _, code := execute(t, nil, "--layers", "api", "--check-timeout", "100ms", "--cpu-window", "50ms", "--api", "http://"+silent+"/#timeout=300ms", "--api", "http://"+silent+"/")
	if code != 1 || !strings.Contains(out, "no answer within 300ms") || !strings.Contains(out, "no answer within 100ms") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
