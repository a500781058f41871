package protocol

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// post is the options of a command line without --method.
func post(t *testing.T) Options {
	t.Helper()
	o := testOptions(t)
	o.Method = ""
	return o
}

func TestRequestBodies(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code, ok := map[string]int{"/302": 302, "/307": 307}[r.URL.Path]; ok {
			http.Redirect(w, r, "/end", code)
			return
		}
		text, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("Content-Type"), text)
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "body")
	must(t, os.WriteFile(file, []byte(`{"model":"m"}`), 0o600))
	for settings, want := range map[string]string{
		`/#send={"a":1,"b":"x\n"}`:                `^POST application/json {"a":1,"b":"x\\n"}$`,
		"/#send=a=b":                              "^POST  a=b$",
		"/#send=a=b&header=Content-Type:text/csv": "^POST text/csv a=b$",
		"/#send=a&method=PUT":                     "^PUT  a$",
		"/#send-file=" + file:                     `^POST application/json {"model":"m"}$`,
		"/307#send-file=" + file:                  `^POST application/json {"model":"m"}$`,
		"/302#send-file=" + file:                  "^GET  $",
		"/":                                       "^GET  $",
	} {
		o := post(t)
		var err error
		o.Body, err = regexp.Compile(want)
		must(t, err)
		if _, err := probeWith(t, HTTP, srv.URL+settings, o, patience); err != nil {
			t.Errorf("%s: %v", settings, err)
		}
	}
	// The flags', and a target's own in their place.
	o := post(t)
	o.SendFile = "/nonexistent/body"
	_, err := probeWith(t, HTTP, srv.URL, o, patience)
	wantFailure(t, err, probe.StageRequest, "POST "+srv.URL+`: body "/nonexistent/body": no such file or directory`)
	_, err = probeWith(t, HTTP, srv.URL+"/#send=own&body=own", o, patience)
	must(t, err)
	must(t, os.WriteFile(file, make([]byte, maxBody+1), 0o600))
	_, err = probeOnce(t, HTTP, srv.URL+"/#send-file="+file, patience)
	wantFailure(t, err, probe.StageRequest, "larger than 1048576 bytes")
	// The body belongs to no check of an API of its own.
	if _, err := probeWith(t, Ollama, "ollama"+strings.TrimPrefix(srv.URL, "http"), o, patience); err == nil || strings.Contains(err.Error(), "nonexistent") {
		t.Error(err)
	}
}

func TestWhatMustNotBe(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("X-Ready", "maybe")
		w.Header().Add("X-Ready", "yes")
		fmt.Fprint(w, "status: degraded, queue: 7")
	}))
	defer srv.Close()
	for _, ok := range []string{"#not-body=broken", "#expect-header=x-ready", "#expect-header=X-Ready: ^yes$", "#expect-header=X-Ready:maybe&expect-header=Content-Type: ^text/plain"} {
		if _, err := probeOnce(t, HTTP, srv.URL+ok, patience); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for text, want := range map[string]struct {
		stage probe.Stage
		text  string
	}{
		"#not-body=degraded|broken":   {probe.StageBody, `the body matches "degraded|broken": "degraded, queue: 7"`},
		"#expect-header=X-Gone":       {probe.StageResponse, `the answer has no header "X-Gone"`},
		"#expect-header=X-Ready:^no$": {probe.StageResponse, `the header "X-Ready" does not match "^no$": "maybe, yes"`},
	} {
		_, err := probeOnce(t, HTTP, srv.URL+text, patience)
		wantFailure(t, err, want.stage, want.text)
	}
}

func TestJSONComparisons(t *testing.T) {
	const doc = `{"n":3,"big":1e3,"text":"12","null":null,"list":[{"s":"ok","n":1},{"s":"ok","n":2}],"empty":[],"a.b":{"c=d":"x"},"*":"star","e":{}}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, doc) }))
	defer srv.Close()
	run := func(expect string) error {
		e, err := ParseJSONExpect(expect)
		must(t, err)
		o := testOptions(t)
		o.JSON = []JSONExpect{e}
		_, err = probeWith(t, HTTP, srv.URL, o, patience)
		return err
	}
	for _, ok := range []string{"n=3", "n!=4", "n>=3", "n<=3", "n>2", "n<3.5", "big>=1000", "text>11", "null", "null=null", "list", "!gone", "!list.7", "!n.deeper",
		"list.#=2", "list.#>=1", "e.#=0", "list.*.s=ok", "list.*.n>0", "list.1.n=2", `a\.b.c\=d=x`, `\*=star`, "empty.#=0", "!empty.*"} {
		if err := run(ok); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for expect, want := range map[string]string{
		"n>3":         `"n" is "3", want > 3`,
		"n!=3":        `"n" is "3", want anything but "3"`,
		"list.0.s>=1": `"list.0.s" is "ok", want >= 1`,
		"null>=0":     `"null" is "null", want >= 0`,
		"gone":        `the body has no "gone": "{`,
		"gone>=1":     `the body has no "gone", want >= 1: "{`,
		"!n":          `"n" is "3", want none`,
		"list.*.n<2":  `"list.1.n" is "2", want < 2`,
		"list.*.x=1":  `the body has no "list.0.x", want "1"`,
		"empty.*=1":   `the body has no "empty.*", want "1"`,
		"n.#=1":       `the body has no "n.#", want "1"`,
		"a.b=1":       `the body has no "a.b", want "1"`,
	} {
		wantFailure(t, run(expect), probe.StageJSON, want)
	}
	for _, bad := range []string{"", "=1", "!", "!a=1", "a>b", "a>=", "a!b", ">=1"} {
		if e, err := ParseJSONExpect(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, e)
		}
	}
}

// What a server compresses unasked is read as it was meant, and a bomb is no
// more than its bound.
func TestCompressedBodies(t *testing.T) {
	compress := func(encoding, text string) []byte {
		var b bytes.Buffer
		var w io.WriteCloser
		switch encoding {
		case "gzip":
			z := gzip.NewWriter(&b)
			z.Name, z.Comment, z.Extra = "name", "comment", []byte("extra")
			w = z
		case "deflate":
			w = zlib.NewWriter(&b)
		default:
			w, _ = flate.NewWriter(&b, 9)
		}
		io.WriteString(w, text)
		w.Close()
		return b.Bytes()
	}
	bomb := strings.Repeat("0", 16<<20)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := `{"status":"ok"}`
		encoding := strings.Trim(r.URL.Path, "/")
		body := compress(encoding, text)
		switch encoding {
		case "bomb":
			encoding, body = "gzip", compress("gzip", bomb)
		case "raw":
			encoding = "deflate"
		case "garbage":
			encoding, body = "gzip", []byte(text)
		case "short":
			encoding, body = "gzip", compress("gzip", text)[:30]
		case "503":
			encoding, body = "gzip", compress("gzip", "pool exhausted")
		}
		w.Header().Set("Content-Encoding", encoding)
		if r.URL.Path == "/503" {
			w.WriteHeader(503)
		}
		w.Write(body)
	}))
	defer srv.Close()
	for _, path := range []string{"/gzip", "/deflate", "/raw"} {
		if _, err := probeOnce(t, HTTP, srv.URL+path+"#json=status=ok&body=^{", patience); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for path, want := range map[string]string{
		"/br": `the body cannot be read: its encoding "br" is not supported`, "/bomb": "the body is larger than 1048576 bytes",
		"/garbage": "the body cannot be read: it is not gzip, as its encoding says", "/short": "then the body broke off after",
	} {
		_, err := probeOnce(t, HTTP, srv.URL+path+"#body=ok", patience)
		wantFailure(t, err, probe.StageBody, want)
	}
	// Nobody looks at it.
	_, err := probeOnce(t, HTTP, srv.URL+"/br", patience)
	must(t, err)
	_, err = probeOnce(t, HTTP, srv.URL+"/503", patience)
	wantFailure(t, err, probe.StageStatus, `status 503, want 200: "pool exhausted"`)
}

// Cookies go back to who has set them, as long as redirects are followed.
func TestCookiesAlongRedirects(t *testing.T) {
	var seen []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, "other:"+r.Header.Get("Cookie"))
	}))
	defer other.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Path+":"+r.Header.Get("Cookie"))
		h := w.Header()
		switch r.URL.Path {
		case "/login":
			h.Add("Set-Cookie", "session=hunter2hunter2; Path=/; HttpOnly")
			h.Add("Set-Cookie", "admin=1; path=/admin")
			h.Add("Set-Cookie", "tls=1; Secure")
			h.Add("Set-Cookie", "gone=x; Path=/")
			http.Redirect(w, r, "/next", http.StatusFound)
		case "/next":
			h.Add("Set-Cookie", "session=hunter3hunter3; Path=/")
			h.Add("Set-Cookie", "gone=; Max-Age=0; Path=/")
			http.Redirect(w, r, "/admin/home", http.StatusFound)
		case "/away":
			h.Add("Set-Cookie", "session=hunter2hunter2")
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+"/", http.StatusFound)
		case "/admin/home":
			w.WriteHeader(500)
			io.WriteString(w, r.Header.Get("Cookie"))
		}
	}))
	defer srv.Close()
	_, err := probeOnce(t, HTTP, srv.URL+"/login#header=Cookie:theme=dark", patience)
	wantFailure(t, err, probe.StageStatus, `status 500, want 200: "***; admin=1; session=***"`)
	_, err = probeOnce(t, HTTP, srv.URL+"/away", patience)
	must(t, err)
	want := []string{"/login:theme=dark", "/next:theme=dark; session=hunter2hunter2; gone=x", "/admin/home:theme=dark; admin=1; session=hunter3hunter3", "/away:", "other:"}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("the servers saw\n%q, want\n%q", seen, want)
	}
}

// Settings that no HTTP target takes.
func TestBadHTTPSettings(t *testing.T) {
	for in, want := range map[string]string{
		"http://x#http-version=3":    `http-version="3"`,
		"http://x#expect-header=a b": `expect-header="a b"`,
		"http://x#not-body=(":        `not-body="("`,
		"http://x#send-file=":        `send-file=""`,
		"http://x#json=a>b":          `json="a>b"`,
		"qdrant://x#send=a":          `unknown setting "send"`,
		"grpc://x:1#http-version=2":  `unknown setting "http-version"`,
	} {
		tg, err := target.ParseTarget(in, testBase)
		must(t, err)
		if _, err = New(tg, testOptions(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}
