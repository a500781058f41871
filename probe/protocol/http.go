package protocol

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net"
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
	send func(context.Context, *request) (*response, error)
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
		o.Method = "GET"
		if o.Send != "" || o.SendFile != "" {
			o.Method = "POST"
		}
	}
	h := &httpCheck{target: t, opt: o, url: u, sock: sock, action: o.Method}
	addHeaderSecrets(t, o.Header)
	return h, nil
}

// addHeaderSecrets marks the values of headers that may be credentials.
func addHeaderSecrets(t target.Target, header map[string][]string) {
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
	req, err := newRequest(h.opt.Method, h.url.String(), body)
	if err != nil {
		return probe.Finding{}, h.fail(probe.StageRequest, "the request cannot be built")
	}
	req.header = maps.Clone(h.opt.Header)
	if req.header.Get("Content-Type") == "" && len(body) > 0 && json.Valid(body) {
		req.header.Set("Content-Type", "application/json")
	}
	if host := req.header.Get("Host"); host != "" {
		req.host = host
		req.header.Del("Host")
	}
	if req.header.Get("User-Agent") == "" {
		req.header.Set("User-Agent", h.opt.UserAgent)
	}
	if user := h.url.User; user != nil && req.header.Get("Authorization") == "" {
		req.header.Set("Authorization", basicAuth(user))
	}
	send := h.follow
	if h.send != nil {
		send = h.send
	}
	resp, err := send(ctx, req)
	if err != nil {
		return probe.Finding{}, h.fail(probe.StageOf(err), "%s", err)
	}
	defer resp.close()
	return h.judge(ctx, resp)
}

// follow sends req and what redirects ask for, and returns the last answer.
func (h *httpCheck) follow(ctx context.Context, req *request) (*response, error) {
	var jar cookieJar
	for hops := 0; ; hops++ {
		resp, err := exchange{h}.roundTrip(ctx, jar.on(req))
		if err != nil {
			return nil, err
		}
		jar.take(req.url, resp, h.target.Secrets)
		next, err := h.redirect(req, resp)
		if next == nil && err == nil {
			return resp, nil
		}
		resp.close()
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
func (h *httpCheck) redirect(req *request, resp *response) (*request, error) {
	method, again := req.method, false
	switch resp.status {
	case statusMovedPermanently, statusFound, statusSeeOther:
		if method != "HEAD" {
			method = "GET"
		}
	case statusTemporaryRedirect, statusPermanentRedirect:
		again = true
	default:
		return nil, nil
	}
	location := resp.header.Get("Location")
	if h.opt.MaxRedirects == 0 || location == "" {
		return nil, nil
	}
	u, err := req.url.Parse(location)
	var next *request
	if err == nil {
		next, err = newRequest(method, u.String(), nil)
	}
	if err != nil {
		return nil, &probe.StageError{Stage: probe.StageResponse, Err: fmt.Errorf("redirected to a malformed URL: %s", h.target.Secrets.Quote(location))}
	}
	next.header = maps.Clone(req.header)
	if again {
		next.body = req.body
	} else {
		next.header.Del("Content-Type")
	}
	if u.Host == req.url.Host && (u.Scheme == req.url.Scheme || u.Scheme == "https") {
		next.host = req.host
		return next, nil
	}
	dropSecrets(next.header)
	return next, nil
}

// dropSecrets removes the headers that may be credentials.
func dropSecrets(header textproto.MIMEHeader) {
	for name := range header {
		if !isPlainHeader(textproto.CanonicalMIMEHeaderKey(name)) {
			delete(header, name)
		}
	}
}
