package protocol

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// service is what the checks of HTTP APIs share: qdrant://, ollama:// and
// others each know which paths to ask and how to read the answers.
type service struct {
	target target.Target
	http   *httpCheck
	name   string // the collection, class or model: the target's path
	tls    bool   // the scheme asks for it, so that nothing secret goes in the clear
}

// newService reads scheme(s)://[user:password@]host[:port][/NAME][?params]:
// an s at the end of the scheme asks for TLS. Of the settings behind # it
// knows header. The command line's headers are not sent: they belong to the
// application.
func newService(t target.Target, o Options, defaultPort string, params ...string) (*service, url.Values, error) {
	q, err := t.Params(params...)
	if err != nil {
		return nil, nil, err
	}
	addr, err := t.Addr(defaultPort)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range t.Settings {
		if s.Key != "header" {
			return nil, nil, fmt.Errorf("unknown setting %q behind #: %s knows header, and what every target knows", probe.Cut(s.Key, 40), t.URL.Scheme)
		}
	}
	o.HTTPOptions = HTTPOptions{Header: map[string][]string{}}
	if o, err = o.with(t.Settings); err != nil {
		return nil, nil, err
	}
	u := &url.URL{Scheme: "http", Host: addr, User: t.URL.User}
	// milvus ends in an s of its own.
	if strings.HasSuffix(strings.TrimPrefix(t.URL.Scheme, "milvus"), "s") {
		u.Scheme = "https"
	}
	s := &service{t, &httpCheck{target: t, opt: o, url: u}, strings.Trim(t.URL.Path, "/"), u.Scheme == "https"}
	addHeaderSecrets(t, o.Header)
	return s, q, nil
}

// header sets a header that holds a credential, where there is one.
func (s *service) header(name, prefix, secret string) {
	if secret != "" {
		s.http.opt.Header[name] = []string{prefix + secret}
		s.target.Secrets.Add(secret)
	}
}

// onPort is where the service is, but for its port.
func (s *service) onPort(port string) *url.URL {
	u := *s.http.url
	u.Host = net.JoinHostPort(u.Hostname(), port)
	return &u
}

// noName refuses a path where the kind of service has nothing to name.
func (s *service) noName() error {
	if s.name != "" {
		return fmt.Errorf("a %s target has no path", s.target.URL.Scheme)
	}
	return nil
}

// check returns the Func that runs judge over one connection. What judge
// returns stands behind the target in the message.
//
// Inlined at each of its calls it would take 16 KB more.
//
//go:noinline
func (s *service) check(judge func(*serviceSession) (string, error)) probe.Func {
	return func(ctx context.Context) (probe.Finding, error) {
		c := &serviceSession{service: s, ctx: ctx}
		defer c.close()
		text, err := judge(c)
		if err != nil {
			return probe.Finding{}, err
		}
		f := probe.Finding{Message: s.target.String() + ": " + probe.Clean(probe.Cut(s.target.Secrets.Redact(text), 2*target.EchoBytes))}
		if c.warn {
			f.Status = probe.Warn
		}
		return f, nil
	}
}

// serviceSession asks one question after the other over one connection.
type serviceSession struct {
	*service
	at   *url.URL // where to ask, if not where the service is
	ctx  context.Context
	conn net.Conn
	cut  func() bool
	via  proxied
	// warn says that what judge found is to be looked at, and fails nothing.
	warn bool
	// scan, if set, reads the bodies of answers in place of ask, for pages that
	// are larger than what is kept of one.
	scan func(io.Reader) error
}

func (c *serviceSession) close() {
	if c.conn != nil {
		c.cut()
		c.conn.Close()
		c.conn = nil
	}
}

// serviceReply is an answer, read whole.
type serviceReply struct {
	asked  string
	status int
	body   []byte
}

// ask sends one request; a body is JSON, and makes it a POST.
func (c *serviceSession) ask(path string, body []byte) (serviceReply, error) {
	r := serviceReply{asked: "GET " + path}
	method := "GET"
	if body != nil {
		method = "POST"
		r.asked = "POST " + path
	}
	at := c.http.url
	if c.at != nil {
		at = c.at
	}
	req, err := newRequest(method, at.Scheme+"://"+at.Host+path, body)
	if err != nil {
		return r, c.fail(r, probe.StageRequest, errors.New("the request cannot be built"))
	}
	req.header = maps.Clone(c.http.opt.Header)
	req.header.Set("User-Agent", c.http.opt.UserAgent)
	if body != nil {
		req.header.Set("Content-Type", "application/json")
	}
	if u := c.http.url.User; u != nil {
		req.header.Set("Authorization", basicAuth(u))
	}
	if c.tls && at.Scheme == "http" { // a port that knows no TLS, of a server that does
		dropSecrets(req.header)
	}
	x := exchange{c.http}
	if c.conn == nil {
		if c.conn, c.via, err = x.connect(c.ctx, req); err != nil {
			c.conn = nil
			return r, c.fail(r, probe.StageOf(err), err)
		}
		c.cut = target.InterruptWith(c.ctx, c.conn)
	}
	resp, err := x.talk(c.ctx, c.conn, req, c.via)
	if err != nil {
		return r, c.fail(r, probe.StageOf(err), err)
	}
	r.status = resp.status
	if r.status != statusOK {
		hurry(c.ctx, c.conn)
		r.body, _ = io.ReadAll(io.LimitReader(resp.body, failureBody))
		c.close() // what is left of the body is not read
		return r, nil
	}
	if c.scan != nil {
		if err = c.scan(resp.body); err != nil {
			err = c.fail(r, probe.StageBody, bodyFault(c.ctx, err))
		}
		c.close()
		return r, err
	}
	r.body, err = io.ReadAll(io.LimitReader(resp.body, maxBody+1))
	switch {
	case err != nil:
		return r, c.fail(r, probe.StageBody, fmt.Errorf("status %d, then the body broke off after %d bytes: %w", r.status, len(r.body), bodyFault(c.ctx, err)))
	case len(r.body) > maxBody:
		return r, c.fail(r, probe.StageBody, fmt.Errorf("the body is larger than %d bytes", maxBody))
	}
	if resp.last {
		c.close()
	}
	return r, nil
}

// fail is the error of one question.
//
// Inlined at each of its calls it would take 4 KB more.
//
//go:noinline
func (c *serviceSession) fail(r serviceReply, stage probe.Stage, err error) error {
	return c.target.Errorf(stage, "%s: %s", r.asked, err)
}

// get asks for a path that must answer 200.
func (c *serviceSession) get(path string) (serviceReply, error) {
	r, err := c.ask(path, nil)
	if err == nil {
		err = c.wantOK(r)
	}
	return r, err
}

// wantOK judges the status of an answer.
func (c *serviceSession) wantOK(r serviceReply) error {
	stage := probe.StageStatus
	switch r.status {
	case statusOK:
		return nil
	case statusUnauthorized, statusForbidden:
		stage = probe.StageAuth
	}
	echo := ""
	if len(bytes.TrimSpace(r.body)) > 0 {
		echo = ": " + c.target.Secrets.QuoteCut(string(r.body))
	}
	return probe.WithClass(c.fail(r, stage, fmt.Errorf("status %d, want 200%s", r.status, echo)), classOf(r.status, r.body))
}

// decode reads an answer's JSON into v.
func (c *serviceSession) decode(r serviceReply, v any) error {
	if err := json.Unmarshal(withoutBOM(r.body), v); err != nil {
		return c.fail(r, probe.StageJSON, fmt.Errorf("not the answer of such a server: %s", c.target.Secrets.Quote(string(r.body))))
	}
	return nil
}

// missing is the error for a collection, class or model that is not there.
func (c *serviceSession) missing(r serviceReply, kind string) error {
	return c.fail(r, probe.StageRequest, fmt.Errorf("no %s %q", kind, probe.Cut(c.name, 80)))
}
