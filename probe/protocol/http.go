package protocol

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Bounds on what a server may make the probe read, in bytes. A body is read
// to its end up to healthBody where nothing is expected of it: one that
// breaks off or stalls is a failing server's, one that is endless is left unread.
const (
	maxHeader   = 64 << 10
	healthBody  = 64 << 10
	maxBody     = 1 << 20
	failureBody = 4 << 10
)

// failurePatience is how long the body of an answer is waited for whose status
// tells enough: the words of a failing server are welcome, and may never come.
const failurePatience = 250 * time.Millisecond

// hurry bounds the reads of an answer's body by failurePatience. The limit
// that ctx sets stays: it is the earlier one, or cuts off the connection.
func hurry(ctx context.Context, conn net.Conn) {
	end := time.Now().Add(failurePatience)
	if limit, ok := ctx.Deadline(); ctx.Err() == nil && (!ok || end.Before(limit)) {
		conn.SetReadDeadline(end)
	}
}

// HTTP makes the check for http and https targets: resolve → connect → TLS →
// request → status → headers → body → JSON.
func HTTP(t target.Target, o Options) (probe.Func, error) {
	if _, err := t.Addr("80"); err != nil {
		return nil, err
	}
	return newHTTP(t, o, t.URL, "")
}

type httpCheck struct {
	target target.Target
	opt    Options
	url    *url.URL
	sock   string // a Unix socket to dial in place of the URL's host
	action string // the method, as messages begin
	// send, if set, asks in another protocol than HTTP, whose answers are alike;
	// redirects are not followed then.
	send func(*http.Request) (*http.Response, error)
}

func newHTTP(t target.Target, o Options, u *url.URL, sock string) (probe.Func, error) {
	h, err := newHTTPCheck(t, o, u, sock)
	if err != nil {
		return nil, err
	}
	return h.run, nil
}

func newHTTPCheck(t target.Target, o Options, u *url.URL, sock string) (*httpCheck, error) {
	o, err := o.with(t.Settings)
	if err != nil {
		return nil, err
	}
	if o.Method == "" {
		o.Method = http.MethodGet
		if o.Send != "" || o.SendFile != "" {
			o.Method = http.MethodPost
		}
	}
	h := &httpCheck{target: t, opt: o, url: u, sock: sock, action: o.Method}
	addHeaderSecrets(t, o.Header)
	return h, nil
}

// addHeaderSecrets marks the values of headers that may be credentials.
func addHeaderSecrets(t target.Target, header http.Header) {
	for name, values := range header {
		if isPlainHeader(name) {
			continue
		}
		for _, v := range values {
			if target.IsPlain(v) {
				continue
			}
			t.Secrets.Add(v)
			if kind, token, ok := strings.Cut(v, " "); ok {
				t.Secrets.Add(token) // Bearer TOKEN
				if text, err := base64.StdEncoding.DecodeString(token); err == nil && strings.EqualFold(kind, "Basic") {
					_, password, _ := strings.Cut(string(text), ":")
					t.Secrets.Add(password)
				}
			}
			if name == "Cookie" {
				for cookie := range strings.SplitSeq(v, ";") {
					if _, value, ok := strings.Cut(cookie, "="); ok && !target.IsPlain(value) {
						t.Secrets.Add(value)
					}
				}
			}
		}
	}
}

// isPlainHeader says whether a header, in its canonical form, holds no
// secret; the value of any other header is taken for one.
func isPlainHeader(name string) bool {
	switch name {
	case "Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Cache-Control", "Connection",
		"Content-Type", "Host", "Origin", "Pragma", "Range", "Referer", "User-Agent",
		"X-Forwarded-Proto", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "Forwarded", "Via",
		"X-Real-Ip", "X-Request-Id", "X-Correlation-Id", "X-Requested-With", "Traceparent", "Date":
		return true
	}
	return false
}

// fail is the error of one request.
//
// Inlined at each of its calls it would take 4 KB more.
//
//go:noinline
func (h *httpCheck) fail(s probe.Stage, format string, args ...any) error {
	return h.target.Failf(h.action, s, format, args...)
}

func (h *httpCheck) run(ctx context.Context) (probe.Finding, error) {
	body := []byte(h.opt.Send)
	if h.opt.SendFile != "" {
		var err error
		if body, err = target.ReadBounded(h.opt.SendFile, maxBody); err != nil {
			return probe.Finding{}, h.fail(probe.StageRequest, "body %q: %s", h.opt.SendFile, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, h.opt.Method, h.url.String(), bytes.NewReader(body))
	if err != nil {
		return probe.Finding{}, h.fail(probe.StageRequest, "the request cannot be built")
	}
	req.Header = h.opt.Header.Clone()
	if req.Header.Get("Content-Type") == "" && len(body) > 0 && json.Valid(body) {
		req.Header.Set("Content-Type", "application/json")
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", h.opt.UserAgent)
	}
	if user := h.url.User; user != nil && req.Header.Get("Authorization") == "" {
		pw, _ := user.Password()
		req.SetBasicAuth(user.Username(), pw)
	}
	send := h.follow
	if h.send != nil {
		send = h.send
	}
	resp, err := send(req)
	if err != nil {
		return probe.Finding{}, h.fail(probe.StageOf(err), "%s", err)
	}
	defer resp.Body.Close()
	return h.judge(ctx, resp)
}

// follow sends req and what redirects ask for, and returns the last answer.
// http.Client would do it, and link http.Transport with all of its HTTP/2:
// 0.6 MB that nothing else here uses.
func (h *httpCheck) follow(req *http.Request) (*http.Response, error) {
	var jar cookieJar
	for hops := 0; ; hops++ {
		resp, err := exchange{h}.roundTrip(jar.on(req))
		if err != nil {
			return nil, err
		}
		jar.take(req.URL, resp, h.target.Secrets)
		next, err := h.redirect(req, resp)
		if next == nil && err == nil {
			return resp, nil
		}
		resp.Body.Close()
		if err == nil && hops == h.opt.MaxRedirects {
			err = &probe.StageError{Stage: probe.StageResponse, Err: fmt.Errorf("stopped after %d redirects", h.opt.MaxRedirects)}
		}
		if err != nil {
			return nil, err
		}
		req = next
	}
}

// redirect returns the request that resp asks for, or nil where it is the
// answer itself: by its status, for lack of a Location, or since a limit of
// zero wants the 3xx to be judged. 307 and 308 keep the method, the others
// make it GET, as browsers do (RFC 9110, 15.4). A request that leaves the
// host takes no header along that may be a credential.
func (h *httpCheck) redirect(req *http.Request, resp *http.Response) (*http.Request, error) {
	method, again := req.Method, false
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if method != http.MethodHead {
			method = http.MethodGet
		}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		again = true
	default:
		return nil, nil
	}
	location := resp.Header.Get("Location")
	if h.opt.MaxRedirects == 0 || location == "" {
		return nil, nil
	}
	u, err := req.URL.Parse(location)
	if err != nil {
		return nil, &probe.StageError{Stage: probe.StageResponse, Err: fmt.Errorf("redirected to a malformed URL: %s", h.target.Secrets.Quote(location))}
	}
	next, err := http.NewRequestWithContext(req.Context(), method, u.String(), nil)
	if err != nil {
		return nil, &probe.StageError{Stage: probe.StageResponse, Err: fmt.Errorf("redirected to a malformed URL: %s", h.target.Secrets.Quote(location))}
	}
	next.Header = req.Header.Clone()
	if again && req.GetBody != nil {
		next.Body, _ = req.GetBody() // of bytes in memory: it does not fail
		next.GetBody, next.ContentLength = req.GetBody, req.ContentLength
	} else {
		next.Header.Del("Content-Type")
	}
	if u.Host == req.URL.Host && (u.Scheme == req.URL.Scheme || u.Scheme == "https") {
		next.Host = req.Host
		return next, nil
	}
	for name := range next.Header {
		if !isPlainHeader(textproto.CanonicalMIMEHeaderKey(name)) {
			next.Header.Del(name)
		}
	}
	return next, nil
}
