package protocol

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
)

// A request says what net/http's own writer would say.
func TestRequestsAreWhatNetHTTPWrites(t *testing.T) {
	read := func(text []byte) string {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			t.Fatalf("%v: %q", err, text)
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintln(req.Method, req.RequestURI, req.Proto, req.Host, req.Header, req.Close, req.ContentLength, req.TransferEncoding, string(body))
	}
	for _, c := range []struct {
		method, url, body string
		header            http.Header
		host              string
	}{
		{"GET", "http://x/", "", nil, ""},
		{"GET", "http://x", "", nil, ""},
		{"GET", "http://u:p@x:81/a%2Fb/ä?b=c%20d&e", "", http.Header{"A": {"b", " c "}, "X-Y": {""}}, "other"},
		{"GET", "http://[fe80::1%25eth0]:80/", "", nil, ""},
		{"HEAD", "http://x/?", "", nil, ""},
		{"POST", "http://x/", "", nil, ""},
		{"POST", "http://x/", "{}", http.Header{"Content-Type": {"application/json"}, "Content-Length": {"7"}, "Transfer-Encoding": {"chunked"}}, ""},
		{"DELETE", "http://x/", "text", nil, ""},
		{"GET", "http://x/", "", http.Header{"A": {"b\r\nC: d"}}, ""},
	} {
		for _, whole := range []bool{false, true} {
			req, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
			must(t, err)
			req.Header = http.Header{"User-Agent": {"test"}}
			for name, values := range c.header {
				req.Header[name] = values
			}
			req.Host, req.Close = c.host, true
			ours, err := newRequest(c.method, c.url, []byte(c.body))
			must(t, err)
			ours.header, ours.host, ours.last = textproto.MIMEHeader(req.Header), c.host, true
			var own, other bytes.Buffer
			must(t, writeRequest(&own, ours, whole))
			if whole {
				must(t, req.WriteProxy(&other))
			} else {
				must(t, req.Write(&other))
			}
			if got, want := read(own.Bytes()), read(other.Bytes()); got != want {
				t.Errorf("%+v:\n%s, want\n%s", c, got, want)
			}
		}
	}
	// What a proxy is asked for.
	var b bytes.Buffer
	must(t, writeRequest(&b, &request{method: "CONNECT", url: &url.URL{Opaque: "x:443"}, host: "x:443"}, false))
	if want := "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
