package probe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HTTPOptions are the settings of HTTP targets: the command line's, which a
// target's fragment may override one by one.
type HTTPOptions struct {
	Method       string
	Header       http.Header
	Status       StatusSet
	Body         *regexp.Regexp // must match somewhere in the body
	JSON         []JSONExpect
	MaxRedirects int
	Proxy        bool // honour HTTP_PROXY and its kin
	UserAgent    string
	TLS          TLSOptions
}

// Bounds on what a server may make the probe read, in bytes. A body is read
// to its end up to healthBody where nothing is expected of it: one that
// breaks off or stalls is a sick server's, one that is endless is left.
const (
	maxHeader   = 64 << 10
	healthBody  = 64 << 10
	maxBody     = 1 << 20
	failureBody = 4 << 10
)

// HTTP makes the check for http and https targets: resolve → connect → TLS →
// request → status → body → JSON.
func HTTP(t Target, o HTTPOptions) (Func, error) {
	if t.URL.Hostname() == "" {
		return nil, errors.New("the URL has no host")
	}
	if p := t.URL.Port(); p != "" && !validPort(p) {
		return nil, errors.New("the port is not between 1 and 65535")
	}
	return newHTTP(t, o, t.URL, "")
}

// Unix makes the check for unix:///path.sock:/health, HTTP over a Unix
// socket; without the second path it only connects.
func Unix(t Target, o HTTPOptions) (Func, error) {
	if t.URL.Host != "" {
		return nil, errors.New("the socket's path must be absolute: unix:///path.sock:/health")
	}
	sock, reqPath, hasPath := strings.Cut(t.URL.Path, ":")
	if !path.IsAbs(sock) || sock == "/" {
		return nil, errors.New("the socket's path must be absolute: unix:///path.sock:/health")
	}
	if !hasPath {
		if err := t.noSettings(); err != nil {
			return nil, err
		}
		return connectOnly(t, "unix", sock), nil
	}
	if !strings.HasPrefix(reqPath, "/") {
		return nil, errors.New("the path behind the socket must begin with /: unix:///path.sock:/health")
	}
	return newHTTP(t, o, &url.URL{Scheme: "http", Host: "localhost", Path: reqPath, RawQuery: t.URL.RawQuery}, sock)
}

// validPort says whether p is a TCP port.
func validPort(p string) bool {
	n, err := strconv.Atoi(p)
	return err == nil && n >= 1 && n <= 65535
}

type httpCheck struct {
	target Target
	opt    HTTPOptions
	url    *url.URL
	sock   string // a Unix socket to dial in place of the URL's host
	action string // the method, as messages begin
}

func newHTTP(t Target, o HTTPOptions, u *url.URL, sock string) (Func, error) {
	o, err := o.with(t.Settings)
	if err != nil {
		return nil, err
	}
	h := &httpCheck{t, o, u, sock, o.Method}
	h.addSecrets()
	return h.run, nil
}

// addSecrets marks the values of headers that may be credentials.
func (h *httpCheck) addSecrets() {
	for name, values := range h.opt.Header {
		if isPlainHeader(name) {
			continue
		}
		for _, v := range values {
			h.target.Secrets.Add(v)
			if _, token, ok := strings.Cut(v, " "); ok {
				h.target.Secrets.Add(token) // Bearer TOKEN
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
		"X-Forwarded-Proto", "X-Forwarded-For", "X-Forwarded-Host":
		return true
	}
	return false
}

// with returns the options with a target's own settings in place.
func (o HTTPOptions) with(settings []Setting) (HTTPOptions, error) {
	o.Header = o.Header.Clone()
	seen := map[string]bool{}
	for _, s := range settings {
		// The first setting of a kind replaces the command line's.
		fresh := !seen[s.Key]
		seen[s.Key] = true
		var err error
		switch s.Key {
		case "status":
			o.Status, err = ParseStatus(s.Value)
		case "body":
			o.Body, err = regexp.Compile(s.Value)
		case "json":
			var e JSONExpect
			if e, err = ParseJSONExpect(s.Value); err == nil {
				if fresh {
					o.JSON = nil
				}
				o.JSON = append(o.JSON[:len(o.JSON):len(o.JSON)], e)
			}
		case "method":
			o.Method, err = ParseMethod(s.Value)
		case "header":
			err = AddHeader(o.Header, s.Value)
		case "ca-cert":
			o.TLS.CACert = s.Value
		case "insecure":
			o.TLS.Insecure, err = strconv.ParseBool(s.Value)
		case "max-redirects":
			o.MaxRedirects, err = strconv.Atoi(s.Value)
			if o.MaxRedirects < 0 {
				err = errors.New("negative")
			}
		default:
			return o, fmt.Errorf("unknown setting %q behind #: HTTP targets know status, body, json, method, header, ca-cert, insecure and max-redirects",
				cutRunes(s.Key, 40))
		}
		if err != nil {
			if s.Key == "header" {
				return o, fmt.Errorf("the setting header behind # is not NAME: VALUE")
			}
			return o, fmt.Errorf("the setting %s=%q behind # is not valid", s.Key, cutRunes(s.Value, 60))
		}
	}
	return o, nil
}

// ParseMethod reads an HTTP method.
func ParseMethod(s string) (string, error) {
	if s == "" || len(s) > 20 || strings.ContainsFunc(s, func(r rune) bool { return !isLetter(r) }) {
		return "", errors.New("not an HTTP method")
	}
	return strings.ToUpper(s), nil
}

// AddHeader reads "Name: value" into h. The error does not repeat it.
func AddHeader(h http.Header, line string) error {
	name, value, ok := strings.Cut(line, ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || !isHeaderName(name) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return errors.New("not of the form NAME: VALUE")
	}
	h.Add(name, value)
	return nil
}

// isHeaderName says whether name is a token (RFC 9110, 5.6.2).
func isHeaderName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !isLetter(r) && !isDigit(r) && !strings.ContainsRune("!#$%&'*+.^_`|~-", r)
	})
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
func isDigit(r rune) bool  { return r >= '0' && r <= '9' }

// StatusSet is a set of HTTP status codes, as ranges.
type StatusSet struct {
	text   string
	ranges [][2]int
}

// ParseStatus reads codes (200), ranges (200-299) and classes (2xx),
// separated by commas.
func ParseStatus(s string) (StatusSet, error) {
	set := StatusSet{text: s}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.ToLower(strings.TrimSpace(part))
		lo, hi, isRange := strings.Cut(part, "-")
		if len(part) == 3 && strings.HasSuffix(part, "xx") {
			lo, hi = part[:1]+"00", part[:1]+"99"
		} else if !isRange {
			hi = lo
		}
		a, err1 := strconv.Atoi(lo)
		b, err2 := strconv.Atoi(hi)
		if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
			return set, errors.New("not an HTTP status")
		}
		set.ranges = append(set.ranges, [2]int{a, b})
	}
	return set, nil
}

func (s StatusSet) has(code int) bool {
	return slices.ContainsFunc(s.ranges, func(r [2]int) bool { return code >= r[0] && code <= r[1] })
}

func (s StatusSet) String() string { return s.text }

// JSONExpect is a member that a JSON body must have, with its value as text.
type JSONExpect struct{ Path, Want string }

// ParseJSONExpect reads PATH=VALUE, where PATH walks objects (and, by number,
// arrays) with dots.
func ParseJSONExpect(s string) (JSONExpect, error) {
	p, want, ok := strings.Cut(s, "=")
	if !ok || p == "" {
		return JSONExpect{}, errors.New("not of the form PATH=VALUE")
	}
	return JSONExpect{p, want}, nil
}

func (h *httpCheck) fail(s Stage, format string, args ...any) error {
	return h.target.fail(h.action, s, format, args...)
}

func (h *httpCheck) run(ctx context.Context) (Finding, error) {
	req, err := http.NewRequestWithContext(ctx, h.opt.Method, h.url.String(), nil)
	if err != nil {
		return Finding{}, h.fail(StageRequest, "the request cannot be built")
	}
	req.Header = h.opt.Header.Clone()
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
	resp, err := h.follow(req)
	if err != nil {
		return Finding{}, h.fail(stageOf(err), "%s", err)
	}
	defer resp.Body.Close()
	return h.judge(ctx, resp)
}

// follow sends req and what redirects ask for, and returns the last answer.
// http.Client would do it, and link http.Transport with all of its HTTP/2:
// 0.6 MB that nothing else here uses.
func (h *httpCheck) follow(req *http.Request) (*http.Response, error) {
	for hops := 0; ; hops++ {
		resp, err := exchange{h}.roundTrip(req)
		if err != nil {
			return nil, err
		}
		next, err := h.redirect(req, resp)
		if next == nil && err == nil {
			return resp, nil
		}
		resp.Body.Close()
		if err == nil && hops == h.opt.MaxRedirects {
			err = &StageError{StageResponse, fmt.Errorf("stopped after %d redirects", h.opt.MaxRedirects)}
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
	method := req.Method
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if method != http.MethodHead {
			method = http.MethodGet
		}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	location := resp.Header.Get("Location")
	if h.opt.MaxRedirects == 0 || location == "" {
		return nil, nil
	}
	u, err := req.URL.Parse(location)
	if err != nil {
		return nil, &StageError{StageResponse, fmt.Errorf("redirected to a malformed URL: %s", h.target.Secrets.quote(location))}
	}
	next, err := http.NewRequestWithContext(req.Context(), method, u.String(), nil)
	if err != nil {
		return nil, &StageError{StageResponse, fmt.Errorf("redirected to a malformed URL: %s", h.target.Secrets.quote(location))}
	}
	next.Header = req.Header.Clone()
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

// exchange is one request and its answer over a connection of its own. It
// stands in for http.Transport, which keeps goroutines and a pool that a
// single request has no use for, and which loses the stage of an abandoned
// dial. Its errors are StageErrors.
type exchange struct{ h *httpCheck }

// roundTrip sends req and returns its answer's head. The connection is closed
// with the body, and cut when the request's context ends.
func (x exchange) roundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	conn, viaProxy, err := x.connect(ctx, req)
	if err != nil {
		return nil, err
	}
	cut := cutWith(ctx, conn)
	req.Close = true
	resp, err := x.talk(ctx, conn, req, viaProxy)
	if err != nil {
		cut()
		conn.Close()
		return nil, err
	}
	resp.Body = &closing{resp.Body, func() { cut(); conn.Close() }}
	return resp, nil
}

// cutWith makes conn's reads and writes fail when ctx ends, until the
// function that it returns is called.
func cutWith(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
}

// closing is a body that takes its connection along.
type closing struct {
	io.ReadCloser
	also func()
}

// Close does not read the rest of the body, which may have no end: the
// connection is not used again.
func (c *closing) Close() error {
	c.also()
	return nil
}

// talk writes the request and reads the head of the answer.
func (x exchange) talk(ctx context.Context, conn net.Conn, req *http.Request, viaProxy bool) (*http.Response, error) {
	write := req.Write
	if viaProxy {
		write = req.WriteProxy
	}
	// A server may answer and close before it has read the request: its
	// answer tells more than the failed write.
	werr := write(conn)

	head := &io.LimitedReader{R: conn, N: maxHeader}
	buf := bufio.NewReader(head)
	for range 5 { // informational answers come before the real one
		resp, err := http.ReadResponse(buf, req)
		if err == nil && resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		if err == nil {
			head.N = math.MaxInt64 // the body has bounds of its own
			return resp, nil
		}
		cause := why(ctx, err)
		switch {
		case ctx.Err() != nil:
		case head.N <= 0:
			cause = fmt.Errorf("the headers are larger than %d bytes", maxHeader)
		case werr != nil && errors.Is(err, io.ErrUnexpectedEOF):
			return nil, &StageError{StageRequest, plain(werr)}
		case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
			cause = errors.New("the server closed the connection without an answer")
		case strings.Contains(err.Error(), "malformed"):
			cause = errors.New("the server does not speak HTTP: " + cutRunes(Clean(x.h.target.Secrets.Redact(err.Error())), echoBytes))
		}
		return nil, &StageError{StageResponse, plain(cause)}
	}
	return nil, &StageError{StageResponse, errors.New("the server sends informational answers without end")}
}

// connect returns the connection that req goes over, with TLS where it asks
// for that, and whether it leads to a proxy that wants the whole URL.
func (x exchange) connect(ctx context.Context, req *http.Request) (conn net.Conn, viaProxy bool, err error) {
	u := req.URL
	if !isHTTP(u.Scheme) {
		return nil, false, &StageError{StageResponse, fmt.Errorf("redirected to the unsupported scheme %q", cutRunes(u.Scheme, 20))}
	}
	var proxy *url.URL
	if x.h.opt.Proxy {
		if proxy, err = http.ProxyFromEnvironment(req); err != nil {
			return nil, false, &StageError{StageConnect, errors.New("the proxy's URL in the environment is malformed")}
		}
	}
	switch {
	case x.h.sock != "":
		conn, err = dial(ctx, "unix", x.h.sock)
	case proxy == nil:
		conn, err = dial(ctx, "tcp", hostPort(u))
	case !isHTTP(proxy.Scheme):
		err = &StageError{StageConnect, fmt.Errorf("a proxy of scheme %q is not supported", cutRunes(proxy.Scheme, 20))}
	default:
		conn, err = x.connectProxy(ctx, proxy, u)
		viaProxy = u.Scheme == "http"
		if viaProxy && proxy.User != nil {
			req.Header.Set("Proxy-Authorization", basicAuth(proxy.User))
		}
	}
	if err != nil || u.Scheme != "https" {
		return conn, viaProxy, err
	}
	conn, err = x.h.opt.TLS.handshake(ctx, conn, u.Hostname())
	return conn, false, err
}

// connectProxy connects to a proxy and, for an https URL, through it.
func (x exchange) connectProxy(ctx context.Context, proxy, u *url.URL) (net.Conn, error) {
	x.h.target.Secrets.AddUser(proxy.User)
	conn, err := dial(ctx, "tcp", hostPort(proxy))
	if err == nil && proxy.Scheme == "https" {
		conn, err = x.h.opt.TLS.handshake(ctx, conn, proxy.Hostname())
	}
	if err != nil {
		return nil, &StageError{stageOf(err), fmt.Errorf("proxy: %w", err)}
	}
	if u.Scheme == "http" {
		return conn, nil
	}
	defer cutWith(ctx, conn)()
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: hostPort(u)}, Host: hostPort(u), Header: http.Header{}}
	if proxy.User != nil {
		ask.Header.Set("Proxy-Authorization", basicAuth(proxy.User))
	}
	if err = ask.Write(conn); err == nil {
		var resp *http.Response
		// The server speaks only after the client: nothing is read too far.
		if resp, err = http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxHeader)), ask); err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("CONNECT: status %d, want 200", resp.StatusCode)
		}
	}
	if err != nil {
		conn.Close()
		return nil, &StageError{StageConnect, fmt.Errorf("proxy: %w", plain(why(ctx, err)))}
	}
	return conn, nil
}

func basicAuth(u *url.Userinfo) string {
	pw, _ := u.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+pw))
}

// hostPort is the address of a URL, with its scheme's own port by default.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// judge looks at the answer: status, then body, then JSON.
func (h *httpCheck) judge(ctx context.Context, resp *http.Response) (Finding, error) {
	if !h.opt.Status.has(resp.StatusCode) {
		echo := ""
		if body, _ := io.ReadAll(io.LimitReader(resp.Body, failureBody)); len(bytes.TrimSpace(body)) > 0 {
			echo = ": " + h.target.Secrets.quote(string(body))
		}
		return Finding{}, h.fail(StageStatus, "status %d, want %s%s", resp.StatusCode, h.opt.Status, echo)
	}
	expects := h.opt.Body != nil || len(h.opt.JSON) > 0
	limit := int64(healthBody)
	if expects {
		limit = maxBody
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return Finding{}, h.fail(StageBody, "status %d, then the body broke off after %d bytes: %s", resp.StatusCode, len(body), bodyFault(ctx, err))
	}
	if expects && int64(len(body)) > limit {
		return Finding{}, h.fail(StageBody, "the body is larger than %d bytes", limit)
	}
	if h.opt.Body != nil && !h.opt.Body.Match(body) {
		return Finding{}, h.fail(StageBody, "the body does not match %q: %s", cutRunes(h.opt.Body.String(), 100), h.target.Secrets.quote(string(body)))
	}
	if len(h.opt.JSON) > 0 {
		if err := h.judgeJSON(body); err != nil {
			return Finding{}, err
		}
	}
	return Finding{Message: fmt.Sprintf("%s %s: status %d", h.action, h.target, resp.StatusCode)}, nil
}

func bodyFault(ctx context.Context, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server closed the connection")
	}
	return plain(why(ctx, err))
}

func (h *httpCheck) judgeJSON(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber() // 1.0 and 12345678901234567890 are compared as written
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return h.fail(StageJSON, "the body is not JSON: %s", h.target.Secrets.quote(string(body)))
	}
	for _, e := range h.opt.JSON {
		got, ok := walk(doc, e.Path)
		if !ok {
			return h.fail(StageJSON, "the body has no %q, want %q: %s", cutRunes(e.Path, 80), cutRunes(e.Want, 80), h.target.Secrets.quote(string(body)))
		}
		if got != e.Want {
			return h.fail(StageJSON, "%q is %s, want %q", cutRunes(e.Path, 80), h.target.Secrets.quote(got), cutRunes(e.Want, 80))
		}
	}
	return nil
}

// walk follows a dotted path through a decoded document and returns what it
// found as text: strings as they are, everything else as JSON.
func walk(doc any, dotted string) (string, bool) {
	for key := range strings.SplitSeq(dotted, ".") {
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[key]
			if !ok {
				return "", false
			}
			doc = next
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return "", false
			}
			doc = v[i]
		default:
			return "", false
		}
	}
	if s, ok := doc.(string); ok {
		return s, true
	}
	text, err := json.Marshal(doc)
	return string(text), err == nil
}
