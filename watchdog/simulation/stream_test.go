package simulation

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

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
