package protocol

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"

	"golang.org/x/net/http2"
)

// HTTP/2 as its own servers speak it: over TLS, and without.
func TestHTTP2(t *testing.T) {
	long := strings.Repeat("0123456789", 60_000) // more than a window each way
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Done")
		switch r.URL.Path {
		case "/echo":
			w.Write(text)
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
		case "/503":
			w.WriteHeader(503)
			io.WriteString(w, "pool exhausted")
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		default:
			fmt.Fprintf(w, "%s %s %s %s %q", r.Proto, r.Method, r.Host, r.Header.Get("User-Agent"), r.Header["X-A"])
		}
		w.Header().Set("X-Done", "yes")
	})
	tls := httptest.NewUnstartedServer(handler)
	tls.EnableHTTP2 = true
	tls.StartTLS()
	defer tls.Close()
	clear := httptest.NewUnstartedServer(handler)
	clear.Config.Protocols = &http.Protocols{}
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	defer clear.Close()
	sock := filepath.Join(t.TempDir(), "a.sock")
	ln, err := net.Listen("unix", sock)
	must(t, err)
	go clear.Config.Serve(ln)
	file := filepath.Join(t.TempDir(), "long")
	must(t, os.WriteFile(file, []byte(long), 0o600))
	for base, make := range map[string]makeFunc{tls.URL: HTTP, clear.URL: HTTP, "unix://" + sock + ":": Unix} {
		host := "localhost"
		if u, err := url.Parse(base); err == nil && u.Scheme != "unix" {
			host = u.Host
		}
		settings := "#http-version=2"
		if strings.HasPrefix(base, "https") {
			settings += ",insecure"
		}
		for path, expect := range map[string]string{
			"/": "^HTTP/2.0 GET " + host + " healthcheck/test ..a. .b..$", "/moved": "^HTTP/2.0 GET", "/early": "^$", "/echo": "^" + long + "$",
		} {
			o := post(t)
			o.Header = http.Header{"X-A": {"a", "b"}}
			if path == "/echo" {
				o.SendFile = file
				expect = "^0123456789.*0123456789$"
			}
			o.Body, err = regexp.Compile(strings.ReplaceAll(expect, "..a. .b..", `\["a" "b"\]`))
			must(t, err)
			if _, err := probeWith(t, make, base+path+settings, o, patience); err != nil {
				t.Errorf("%s%s: %v", base, path, err)
			}
		}
		_, err := probeOnce(t, make, base+"/503"+settings, patience)
		wantFailure(t, err, probe.StageStatus, `status 503, want 200: "pool exhausted"`)
	}
	// Servers of the other version.
	old := httptest.NewServer(handler)
	defer old.Close()
	_, err = probeOnce(t, HTTP, old.URL+"/#http-version=2", patience)
	wantFailure(t, err, probe.StageResponse, "the server does not speak HTTP/2 but HTTP")
	// An API's own checks keep to what it speaks.
	o := testOptions(t)
	o.HTTP2 = true
	_, err = probeWith(t, Qdrant, "qdrant"+strings.TrimPrefix(old.URL, "http")+"/docs", o, patience)
	wantFailure(t, err, probe.StageJSON, "GET /collections/docs: not the answer of such a server")
	oldTLS := httptest.NewUnstartedServer(handler)
	oldTLS.Config.ErrorLog = log.New(io.Discard, "", 0)
	oldTLS.StartTLS()
	defer oldTLS.Close()
	_, err = probeOnce(t, HTTP, oldTLS.URL+"/#insecure,http-version=2", patience)
	wantFailure(t, err, probe.StageTLS, "no application protocol")
	silent := rawServer(t, untilClosed)
	_, err = probeOnce(t, HTTP, "http://"+silent+"/#http-version=2", 300*time.Millisecond)
	wantFailure(t, err, probe.StageResponse, "no answer within 300ms")
}

// Servers that break HTTP/2, or off.
func TestHTTP2AgainstFaultyServers(t *testing.T) {
	head := func(f *http2.Framer, end bool, texts ...string) {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields(texts...), EndHeaders: true, EndStream: end})
	}
	for name, c := range map[string]struct {
		serve func(f *http2.Framer, call int32)
		stage probe.Stage // empty: healthy
		want  string
	}{
		"sent away": {func(f *http2.Framer, _ int32) { f.WriteGoAway(0, http2.ErrCodeNo, nil) }, probe.StageResponse, "the server sends the client away: NO_ERROR"},
		"reset":     {func(f *http2.Framer, _ int32) { f.WriteRSTStream(1, http2.ErrCodeInternal) }, probe.StageResponse, "the server resets the request: INTERNAL_ERROR"},
		"reset in the middle": {func(f *http2.Framer, _ int32) {
			head(f, false, ":status", "200")
			f.WriteData(1, false, []byte("abc"))
			f.WriteRSTStream(1, http2.ErrCodeInternal)
		}, probe.StageBody, "the body broke off after 3 bytes: the server resets the request"},
		"a body first": {func(f *http2.Framer, _ int32) { f.WriteData(1, false, []byte("abc")) }, probe.StageResponse, "the answer begins with its body"},
		"no status":    {func(f *http2.Framer, _ int32) { head(f, true, "a", "b") }, probe.StageResponse, "the answer has no status"},
		"large headers": {func(f *http2.Framer, _ int32) {
			block := fields(":status", "200", "a", strings.Repeat("x", maxHeader))
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1<<14]})
			for block = block[1<<14:]; len(block) > 0; block = block[min(1<<14, len(block)):] {
				f.WriteContinuation(1, len(block) <= 1<<14, block[:min(1<<14, len(block))])
			}
		}, probe.StageResponse, "the headers are larger than 65536 bytes"},
		"pings and windows": {func(f *http2.Framer, _ int32) {
			f.WritePing(false, [8]byte{1})
			f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			f.WriteWindowUpdate(0, 1<<20)
			head(f, false, ":status", "103")
			f.WriteGoAway(1, http2.ErrCodeNo, nil)
			head(f, false, ":status", "200")
			f.WriteData(1, false, []byte("abc"))
			head(f, true, "x-trailer", "1")
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := post(t)
			o.Send, o.HTTP2 = "a", true
			_, err := probeWith(t, HTTP, "http://"+grpcServer(t, c.serve)+"/", o, patience)
			if c.stage == "" {
				must(t, err)
				return
			}
			wantFailure(t, err, c.stage, c.want)
		})
	}
}
