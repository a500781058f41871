package simulation

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"healthcheck/watchdog/alert"
)

// request is one call of the watchdog to the engine, or to a receiver, that
// waits for its answer.
type request struct {
	life   *life
	kind   string // ping, events, list, inspect, restart, start, version, send
	id     string // of the container
	since  string
	wait   int // the stop timeout asked for; -2: none
	send   alert.Delivery
	ctx    context.Context
	answer chan answer
}

type answer struct {
	resp *http.Response
	err  error
}

func (a answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return a.resp.Status
}

var (
	errKilled = errors.New("the watchdog was killed")
	errReset  = fmt.Errorf("read unix: %w", syscall.ECONNRESET)
	errDown   = fmt.Errorf("dial unix: connect: %w", syscall.ECONNREFUSED)
)

// transport brings the calls of one life of the watchdog to the driver.
type transport struct{ life *life }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	r := &request{life: t.life, ctx: req.Context(), answer: make(chan answer, 1), wait: -2}
	path := req.URL.Path
	if strings.HasPrefix(path, "/v1.") {
		path = path[strings.Index(path[1:], "/")+1:]
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case path == "/_ping":
		r.kind = "ping"
	case path == "/events":
		r.kind, r.since = "events", req.URL.Query().Get("since")
	case path == "/containers/json":
		r.kind = "list"
	case len(parts) == 3 && parts[2] == "json":
		r.kind, r.id = "inspect", parts[1]
	case len(parts) == 3 && req.Method == http.MethodPost && (parts[2] == "restart" || parts[2] == "start"):
		r.kind, r.id = parts[2], parts[1]
		if t := req.URL.Query().Get("t"); t != "" {
			r.wait, _ = strconv.Atoi(t)
		}
	default:
		r.kind = "unknown " + req.Method + " " + path
	}
	a := t.life.ask(r)
	if a.resp != nil {
		a.resp.Request = req
	}
	return a.resp, a.err
}

// ask leaves a request for the driver and waits for its answer.
func (l *life) ask(r *request) answer {
	select {
	case <-l.killed:
		return answer{err: errKilled}
	default:
	}
	l.w.arrive(r)
	var gone <-chan struct{}
	if r.ctx != nil {
		gone = r.ctx.Done()
	}
	select {
	case a := <-r.answer:
		return a
	case <-gone:
		return answer{err: r.ctx.Err()}
	case <-l.killed:
		return answer{err: errKilled}
	}
}

// left says whether nobody waits for the answer any more.
func (r *request) left() bool {
	select {
	case <-r.life.killed:
		return true
	default:
	}
	return r.ctx != nil && r.ctx.Err() != nil
}

func reply(status int, body []byte) answer {
	h := http.Header{"Content-Type": {"application/json"}, "Api-Version": {"1.47"}}
	return answer{resp: &http.Response{StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}}
}

func refused(status int, text string) answer {
	body, _ := json.Marshal(map[string]string{"message": text})
	return reply(status, body)
}

// faults are those that the engine's answers have at the moment.
type faults struct {
	slow   time.Duration
	calls  []callFault
	stream string // what becomes of events: lost, silent, doubled, late, swapped, garbled
	until  time.Time
}

// callFault is what the next calls of a kind get.
type callFault struct {
	kind, how string
	left      int
}

// take is the fault for a call; empty for none.
func (f *faults) take(kind string) (how string) {
	for i := range f.calls {
		if c := &f.calls[i]; c.kind == kind && c.left > 0 {
			c.left--
			return c.how
		}
	}
	return ""
}

// serve answers a request that has arrived.
func (e *engine) serve(r *request) {
	how := e.faults.take(r.kind)
	if how != "" {
		e.w.count("fault: " + r.kind + " " + how)
	}
	delay := e.w.latency(r) + e.faults.slow
	send := func(a answer) {
		e.w.after(e.w.latency(r), func() {
			if e.w.people.killNext == r.kind+" answered" && !r.left() {
				e.w.people.killNow()
			}
			if !r.left() {
				e.w.audit.answered(r, a)
			}
			e.w.say("  answer to %s %.12s: %s", r.kind, r.id, a)
			r.answer <- a
		})
	}
	e.w.after(delay, func() {
		switch {
		case e.down:
			send(answer{err: errDown})
		case how == "500":
			send(refused(500, "a fault of the simulation"))
		case how == "403":
			send(refused(403, "Forbidden"))
		case how == "404":
			send(refused(404, "No such container: "+r.id))
		case how == "reset":
			send(answer{err: errReset})
		case how == "garbage":
			send(reply(200, []byte(`{"Id":"x","State":null,[`)))
		case how == "hang":
		default:
			e.carryOut(r, how, send)
		}
	})
}

// carryOut does what a request asks for.
func (e *engine) carryOut(r *request, how string, send func(answer)) {
	c := e.containers[r.id]
	switch r.kind {
	case "ping":
		send(reply(200, []byte("OK")))
	case "events":
		e.subscribe(r, send)
	case "list":
		var all [][]byte
		for _, c := range e.all() {
			all = append(all, c.summary())
		}
		body := slices.Concat([]byte("["), bytes.Join(all, []byte(",")), []byte("]"))
		if how == "cut" {
			body = body[:len(body)/2]
		}
		send(reply(200, body))
	case "inspect", "restart", "start":
		if c == nil {
			send(refused(404, "No such container: "+r.id))
			return
		}
		if r.kind == "inspect" {
			a := reply(200, c.inspectJSON())
			e.w.audit.look(r, c)
			send(a)
			return
		}
		e.restart(c, r, how, send)
	default:
		e.w.fail("calls", "it asks %s", r.kind)
	}
}

// restart is a call that restarts or starts a container.
func (e *engine) restart(c *container, r *request, how string, send func(answer)) {
	boot := e.boots
	c.do(func(done func()) {
		finish := func(a answer) {
			done()
			switch {
			case e.boots != boot:
				send(answer{err: errReset})
			case how != "lost":
				send(a)
			}
		}
		switch {
		case e.containers[c.id] == nil:
			finish(refused(404, "No such container: "+c.id))
			return
		case c.state == "paused":
			finish(refused(409, "Container "+c.name+" is paused. Unpause the container before stopping or killing"))
			return
		case r.kind == "start" && c.state == "running":
			finish(reply(304, nil))
			return
		}
		start := func() {
			if how == "half-way" {
				finish(refused(500, "it was stopped and not started"))
				return
			}
			if c.state == "running" || e.boots != boot {
				finish(reply(204, nil))
				return
			}
			c.count = 0
			e.w.count("restarts")
			if err := c.begin(); err != nil {
				status := 500
				if err != errJoin {
					status = 404
				}
				finish(refused(status, err.Error()))
				return
			}
			finish(reply(204, nil))
		}
		if r.kind == "start" {
			if how == "long" {
				e.w.after(40*time.Second, start)
				return
			}
			start()
			return
		}
		timeout := 10 * time.Second
		if r.wait >= 0 {
			timeout = time.Duration(r.wait) * time.Second
		}
		if how == "long" {
			timeout += 2 * time.Minute
		}
		c.stop("15", timeout, start)
	})
}

// stream is a subscription to the engine's events.
type stream struct {
	e      *engine
	r      *request
	lines  chan []byte
	closed chan struct{}
	rest   []byte
	held   *message // to be swapped with the next one
	last   time.Time
	ended  bool
}

func (e *engine) subscribe(r *request, send func(answer)) {
	s := &stream{e: e, r: r, lines: make(chan []byte, 4*ringLength), closed: make(chan struct{})}
	seconds, nanos, _ := strings.Cut(r.since, ".")
	sec, _ := strconv.ParseInt(seconds, 10, 64)
	ns, _ := strconv.ParseInt(cmp.Or(nanos, "0"), 10, 64)
	since := time.Unix(sec, ns)
	a := reply(200, nil)
	a.resp.ContentLength, a.resp.Body = -1, s
	send(a)
	boot := e.boots
	e.w.after(longestLatency, func() { // behind the answer
		if s.r.left() || e.boots != boot {
			s.end()
			return
		}
		from := len(e.ring)
		for from > 0 && !e.ring[from-1].at.Before(since) {
			from--
		}
		old := slices.Clone(e.ring[from:])
		e.streams = append(e.streams, s)
		for _, m := range old {
			s.bring(m)
		}
	})
}

// bring lets an event arrive after a while, as the faults of the moment want.
func (s *stream) bring(m message) {
	w := s.e.w
	takes := 2*time.Millisecond + time.Duration(w.hash("event", len(m.line), m.at.UnixNano())%uint64(3*time.Millisecond))
	times := 1
	if f := &s.e.faults; f.stream != "" && time.Now().Before(f.until) {
		chance := w.hash("stream", f.stream, m.at.UnixNano()) % 100
		w.count("fault: event " + f.stream)
		switch {
		case f.stream == "lost" && chance < 50, f.stream == "silent":
			return
		case f.stream == "doubled":
			times = 3
		case f.stream == "late":
			takes += time.Duration(chance) * 50 * time.Millisecond
		case f.stream == "garbled" && chance < 30:
			m.line, m.c = []byte("\x00{]garbage\n"), nil
		case f.stream == "swapped" && s.held == nil:
			s.held = &m
			return
		}
	}
	at := time.Now().Add(takes)
	if !at.After(s.last) {
		at = s.last.Add(1)
	}
	for range times {
		s.last = at
		w.at(at, func() { s.deliver(m) })
		at = at.Add(1)
	}
	if h := s.held; h != nil {
		s.held, s.last = nil, at
		w.at(at, func() { s.deliver(*h) })
	}
}

func (s *stream) deliver(m message) {
	if s.ended || s.r.left() || len(s.lines) == cap(s.lines) {
		return
	}
	s.lines <- m.line
	if m.c != nil {
		s.e.w.say("  event %s of %s", m.act, m.c.name)
		s.e.w.audit.heard(m)
	} else {
		s.ended = true // what comes behind it is not read
	}
}

// end closes the stream on the engine's side.
func (s *stream) end() {
	s.ended = true
	close(s.lines)
	s.e.streams = slices.DeleteFunc(s.e.streams, func(o *stream) bool { return o == s })
}

// Read gives the watchdog what has arrived.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		select {
		case line, ok := <-s.lines:
			if !ok {
				return 0, io.ErrUnexpectedEOF
			}
			s.rest = line
		case <-s.closed:
			return 0, io.ErrClosedPipe
		case <-s.r.ctx.Done():
			return 0, s.r.ctx.Err()
		case <-s.r.life.killed:
			return 0, errKilled
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Close is the watchdog's end of it.
func (s *stream) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}
