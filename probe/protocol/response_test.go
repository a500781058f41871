package protocol

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// answer is what the checks see of an answer.
type answer struct {
	status int
	header map[string][]string
	body   string
	last   bool
	err    error // of the head or of the body
}

func (a answer) String() string {
	head := fmt.Sprintf("status %d, %q, last %t", a.status, a.header, a.last)
	if a.err != nil && a.status == 0 {
		head = "no answer"
	}
	return fmt.Sprintf("%s, %d bytes %.200q, failed %t", head, len(a.body), a.body, a.err != nil)
}

// framing are the fields that net/http takes out of a header, or puts into one:
// what they say is in how the body is read.
var framing = []string{"Connection", "Content-Length", "Trailer", "Transfer-Encoding"}

func readOwn(sent io.Reader, method string) (a answer) {
	r, err := readResponse(bufio.NewReader(sent), method)
	if err != nil {
		return answer{err: err}
	}
	body, err := io.ReadAll(io.LimitReader(r.body, maxBody+1))
	return seen(r.status, r.header, body, r.last, err)
}

func readNetHTTP(sent io.Reader, method string) answer {
	buf := bufio.NewReader(sent)
	for range maxInformational {
		r, err := http.ReadResponse(buf, &http.Request{Method: method})
		if err != nil {
			return answer{err: err}
		}
		if r.StatusCode/100 == 1 && r.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if p := r.Header["Pragma"]; len(p) > 0 && p[0] == "no-cache" && len(r.Header["Cache-Control"]) == 1 && r.Header["Cache-Control"][0] == "no-cache" {
			delete(r.Header, "Cache-Control") // net/http made it up
		}
		return seen(r.StatusCode, textproto.MIMEHeader(r.Header), body, r.Close, err)
	}
	return answer{err: errInformational}
}

func seen(status int, header textproto.MIMEHeader, body []byte, last bool, err error) answer {
	header = maps.Clone(header)
	for _, name := range framing {
		delete(header, name)
	}
	if p := header["Pragma"]; len(p) > 0 && p[0] == "no-cache" && len(header["Cache-Control"]) == 1 && header["Cache-Control"][0] == "no-cache" {
		delete(header, "Cache-Control")
	}
	return answer{status, header, string(body), last, err}
}

// stricter says whether an error is one of those that net/http does not know:
// the doc comment of readResponse lists them.
func stricter(err error) bool {
	for _, text := range []string{
		`malformed HTTP status code "+`, `malformed HTTP status code "-0`, `malformed HTTP version "HTTP/0.`, "a chunk of ",
	} {
		if strings.HasPrefix(err.Error(), text) {
			return true
		}
	}
	return false
}

// compare reads the same bytes with net/http and without.
func compare(t *testing.T, sent []byte, method string) {
	t.Helper()
	want := readNetHTTP(bytes.NewReader(sent), method)
	for how, r := range map[string]io.Reader{"at once": bytes.NewReader(sent), "by bytes": iotest.OneByteReader(bytes.NewReader(sent))} {
		got := readOwn(r, method)
		if got.err != nil && stricter(got.err) {
			continue
		}
		if got.String() != want.String() {
			t.Errorf("%s to %s, %s:\n%s: %v\nnet/http:\n%s: %v", method, how, fmt.Sprintf("%.1000q", sent), got, got.err, want, want.err)
		}
	}
}

// ambiguous are answers that could be read in more than one way, and others at
// the edges; ok are those that are taken.
var ambiguous = []struct {
	sent string
	ok   bool
}{
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", true},
	{"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc", true}, // is no Content-Length
	{"HTTP/1.1 200 OK\r\n Content-Length: 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n X: y\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nX: a\r\n\tb\r\nContent-Length: 3\r\n\r\nabc", true},
	{"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", true},
	{"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\n: empty\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nX\x80: a\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nPragma: no-cache\r\n\r\n", true},
	{"HTTP/1.1 200\r\n\r\nuntil closed", true},
	{"HTTP/1.1  200  OK\r\n\r\n", true},
	{"HTTP/1.1 2000 OK\r\n\r\n", false},
	{"HTTP/1.1 20 OK\r\n\r\n", false},
	{"HTTP/1.1 +20 OK\r\n\r\n", false},
	{"HTTP/1.1 -01 OK\r\n\r\n", false},
	{"HTTP/1.1 -00 OK\r\n\r\n", false},
	{"HTTP/1.1\t200 OK\r\n\r\n", false},
	{"HTTP/2 200 OK\r\n\r\n", false},
	{"HTTP/2.0 200 OK\r\n\r\n", true},
	{"HTTP/0.9 200 OK\r\n\r\n", false},
	{"HTTP/1.10 200 OK\r\n\r\n", false},
	{"http/1.1 200 OK\r\n\r\n", false},
	{"ICY 200 OK\r\n\r\n", false},
	{"\r\nHTTP/1.1 200 OK\r\n\r\n", false},
	{"", false},
	{"HTTP/1.1 200 OK\r\n", false},
	{"HTTP/1.1 200 OK\r\nX: a", false},
	{"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true},
	{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", true},
	{"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na", true},
	{"HTTP/1.1 200 OK\r\nConnection: clo\u017fe\r\nContent-Length: 1\r\n\r\na", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chun\u212aed\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b;c\" \r\nabc\r\n0;x\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3 ;a\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1_0\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;\rx\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\n\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX y\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: y\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: a, content-length\r\n\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000003\r\nabc\r\n0\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000003\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3fffffffffffffff\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 4000)+"\r\na\r\n", 4) + "0\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 4000)+"\r\na\r\n", 5) + "0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 4096) + "\r\na\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n", false},
	{"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc", true},
	{"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", true},
	{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", true},
	{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nabc", true},
	{strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 5) + "HTTP/1.1 200 OK\r\n\r\n", false},
}

// What is at the edges is read as net/http reads it, or refused.
func TestAmbiguousAnswers(t *testing.T) {
	for _, c := range ambiguous {
		compare(t, []byte(c.sent), "GET")
		compare(t, []byte(c.sent), "HEAD")
		if got := readOwn(strings.NewReader(c.sent), "GET"); (got.err == nil) != c.ok {
			t.Errorf("%.1000q: %v, %v", c.sent, got, got.err)
		}
	}
}

// A read that fails is the answer's error, wherever that is.
func TestAnswersThatBreakOff(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range ambiguous {
		if !c.ok {
			continue
		}
		for n := range min(len(c.sent), 200) {
			r := io.MultiReader(strings.NewReader(c.sent[:n]), iotest.ErrReader(broken))
			want := readNetHTTP(io.MultiReader(strings.NewReader(c.sent[:n]), iotest.ErrReader(broken)), "GET")
			got := readOwn(r, "GET")
			if got.String() != want.String() || errors.Is(want.err, broken) && !errors.Is(got.err, broken) {
				t.Errorf("%.1000q:\n%s: %v\nnet/http:\n%s: %v", c.sent[:n], got, got.err, want, want.err)
			}
		}
	}
}

// FuzzResponse: the same bytes give the same answer, or are the same failure, as
// with net/http.
func FuzzResponse(f *testing.F) {
	for _, c := range ambiguous {
		f.Add([]byte(c.sent), false)
	}
	files, err := filepath.Glob("../../testdata/replies/*/*.http")
	if err != nil || len(files) == 0 {
		f.Fatal(err, files)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		must(f, err)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, sent []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		compare(t, sent, method)
	})
}
