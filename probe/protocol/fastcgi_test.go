package protocol

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
)

// fcgiServer is Go's own, which speaks FastCGI 1 as php-fpm does.
func fcgiServer(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	go fcgi.Serve(ln, handler)
	return ln.Addr().String()
}

func TestFastCGI(t *testing.T) {
	addr := fcgiServer(t, func(w http.ResponseWriter, r *http.Request) {
		env := fcgi.ProcessEnv(r)
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/ping", http.StatusFound)
			return
		case "/big":
			io.WriteString(w, strings.Repeat("x", 300_000)+"end")
			return
		}
		if r.URL.Query().Get("code") == "503" {
			w.WriteHeader(503)
		}
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, strings.Join([]string{r.Method, r.URL.RequestURI(), r.Header.Get("X-Token"), r.Host, env["SCRIPT_FILENAME"], env["GATEWAY_INTERFACE"], string(body)}, "|"))
	})
	long := strings.Repeat("t", 70_000) // a variable that fills more than a record
	for target, body := range map[string]string{
		"/ping":   "^GET[|]/ping[|][|]" + addr + "[|]/ping[|]CGI/1.1[|]$",
		"/a?b=c":  "^GET[|]/a[?]b=c[|]",
		"/x%20y":  "[|]/x y[|]CGI",
		"/big":    "xend$",
		"/method": "^PUT[|]",
	} {
		settings := "#body=" + body
		if target == "/method" {
			settings += "&method=put"
		}
		if f, err := probeOnce(t, FastCGI, "fastcgi://"+addr+target+strings.ReplaceAll(settings, "%", "%25"), patience); err != nil || !strings.HasSuffix(f.Message, ": status 200") {
			t.Errorf("%s: %q, %v", target, f.Message, err)
		}
	}
	if _, err := probeOnce(t, FastCGI, "fastcgi://"+addr+"/ping#header=X-Token: "+long+"&body="+"t{1000}", patience); err != nil {
		t.Error(probe.Cut(err.Error(), 200))
	}
	_, err := probeOnce(t, FastCGI, "fastcgi://"+addr+"/ping?code=503", patience)
	wantFailure(t, err, probe.StageStatus, "GET fastcgi://"+addr+"/ping?code=503: status 503, want 200: \"GET|")
	_, err = probeOnce(t, FastCGI, "fastcgi://"+addr+"/moved", patience)
	wantFailure(t, err, probe.StageStatus, "status 302, want 200")
	if _, err := probeOnce(t, FastCGI, "fastcgi://"+addr+"/moved#status=3xx", patience); err != nil {
		t.Error(err)
	}
}

// record is one of a server's.
func record(kind byte, content string) string { return string(fcgiRecord(nil, kind, []byte(content))) }

func TestFastCGIFailing(t *testing.T) {
	const end = "\x00\x00\x00\x00\x00\x00\x00\x00"
	says := func(text string) string {
		return "fastcgi://" + rawServer(t, func(c net.Conn) {
			c.Read(make([]byte, 4096))
			io.WriteString(c, text)
			c.(*net.TCPConn).CloseWrite()
			untilClosed(c)
		}) + "/ping"
	}
	ok := record(fcgiStderr, "a line for the log") + record(fcgiStdout, "Content-Type: text/plain\r\n\r\npo") + record(fcgiStdout, "ng") + record(fcgiStdout, "") + record(fcgiEnd, end)
	if _, err := probeOnce(t, FastCGI, says(ok)+"#body=^pong$", patience); err != nil {
		t.Error(err)
	}
	padded := "\x01\x06\x00\x01\x00\x0c\x04\x00Status: 200\nPAD!" + record(fcgiStdout, "\npong") + record(fcgiEnd, end)
	if _, err := probeOnce(t, FastCGI, says(padded)+"#body=^pong$", patience); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"":                                 "the server closed the connection without an answer",
		"HTTP/1.1 400 Bad Request\r\n\r\n": `does not speak FastCGI but HTTP: it sent "HTTP/1.1`,
		"\x02\x06\x00\x01\x00\x00\x00\x00": "does not speak FastCGI",
		record(fcgiEnd, "\x00\x00\x00\x00\x02\x00\x00\x00"): "it is overloaded",
		record(fcgiEnd, "\x00\x00\x00\x00\x01\x00\x00\x00"): "it cannot multiplex",
		record(fcgiEnd, "\x00\x00\x00\x00\x07\x00\x00\x00"): "protocol status 7",
		record(fcgiEnd, end):                           "the answer is empty",
		record(fcgiStdout, "no header at all\r\n\r\n"): "no CGI header",
		record(fcgiStdout, "Status: fine\r\n\r\n"):     "Status is no number",
		record(fcgiStdout, "A: b\r\n"):                 "closed the connection in the middle of an answer",
		record(fcgiStdout, "A: "+strings.Repeat("b", 65000)) + record(fcgiStdout, strings.Repeat("b", 2000)): "the headers are larger than 65536 bytes",
	} {
		_, err := probeOnce(t, FastCGI, says(text), patience)
		wantFailure(t, err, probe.StageResponse, want)
	}
	_, err := probeOnce(t, FastCGI, says(record(fcgiStdout, "\r\n")+record(fcgiStdout, "pon"))+"#body=pong", patience)
	wantFailure(t, err, probe.StageBody, "then the body broke off after 3 bytes: the server closed the connection")
	_, err = probeOnce(t, FastCGI, "fastcgi://"+rawServer(t, untilClosed)+"/ping", 300*time.Millisecond)
	wantFailure(t, err, probe.StageResponse, "no answer within 300ms: the server said nothing")
	// A log without an end is read until the deadline.
	_, err = probeOnce(t, FastCGI, "fastcgi://"+rawServer(t, func(c net.Conn) {
		for line := []byte(record(fcgiStderr, "x")); ; {
			if _, err := c.Write(line); err != nil {
				return
			}
		}
	})+"/ping", 300*time.Millisecond)
	wantFailure(t, err, probe.StageResponse, "no answer within 300ms")
}

func TestBadFastCGITargets(t *testing.T) {
	for in, want := range map[string]string{
		"fastcgi://h:9000":                 "needs the path",
		"fastcgi://h:99999/ping":           "the port is not between",
		"fastcgi:///run/x.sock":            "over a Unix socket, fastcgi:///run/php-fpm.sock:/ping",
		"fastcgi:///run/x.sock:ping":       "over a Unix socket",
		"fastcgi://u:hunter2@h/ping":       "takes no user",
		"fastcgi://h/ping#insecure":        "is for TLS, and fastcgi has none",
		"fastcgi://h/ping#max-redirects=2": "means nothing to FastCGI",
		"fastcgi://h/ping#stauts=200":      "unknown setting",
		"fcgi://h/ping":                    "another name here",
	} {
		wantBadTarget(t, in, want)
	}
}

// FuzzFastCGI: whatever a server sends, no crash, and no more than it sent.
func FuzzFastCGI(f *testing.F) {
	f.Add([]byte(record(fcgiStdout, "Status: 200\r\n\r\npong") + record(fcgiEnd, "\x00\x00\x00\x00\x00\x00\x00\x00")))
	f.Add([]byte(record(fcgiStderr, "x") + "\x01\x06"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		resp, err := readCGI(newFCGIReader(bytes.NewReader(sent)))
		if err != nil {
			return
		}
		body, _ := io.ReadAll(resp.body)
		if len(body) > len(sent) || resp.status < 100 {
			t.Errorf("status %d and %d bytes of %d", resp.status, len(body), len(sent))
		}
	})
}
