package simulation

import (
	"bytes"
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
	kind   string // ping, events, list, inspect, restart, start, stop, version, send, or one of evidence
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

// forEvidence marks the context of a call for evidence: the watchdog decides
// nothing by its answer.
type forEvidence struct{}

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
	case len(parts) == 3 && req.Context().Value(forEvidence{}) != nil:
		r.kind, r.id = "evidence "+parts[2], parts[1]
	case len(parts) == 3 && parts[2] == "json":
		r.kind, r.id = "inspect", parts[1]
	case len(parts) == 3 && req.Method == http.MethodPost && (parts[2] == "restart" || parts[2] == "start" || parts[2] == "stop"):
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
	case "inspect", "restart", "start", "stop", "evidence json", "evidence logs", "evidence top", "evidence stats":
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
		switch r.kind {
		case "evidence json":
			send(reply(200, c.inspectJSON()))
		case "evidence logs": // a frame of the engine's stream
			text := c.name + " says \x1b[31mhunter2\n"
			send(reply(200, append([]byte{1, 0, 0, 0, 0, 0, 0, byte(len(text))}, text...)))
		case "evidence top":
			send(reply(200, []byte(`{"Titles":["PID","CMD"],"Processes":[["1","/app"]]}`)))
		case "evidence stats":
			send(reply(200, []byte(`{"pids_stats":{"current":1}}`)))
		default:
			e.restart(c, r, how, send)
		}
	default:
		e.w.fail("calls", "it asks %s", r.kind)
	}
}

// restart is a call that restarts, starts or stops a container.
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
		case r.kind == "start" && c.state == "running", r.kind == "stop" && c.state != "running" && c.state != "restarting":
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
		if r.kind == "stop" {
			e.w.count("stops")
			start = func() {
				// After a call that nobody waits for any more, as the watchdog was
				// killed or the engine took minutes longer than it was told, it looks
				// like one that somebody stopped.
				c.halted = !r.left()
				c.doubtful = c.doubtful || r.left()
				finish(reply(204, nil))
			}
		}
		c.stop("15", timeout, start)
	})
}
