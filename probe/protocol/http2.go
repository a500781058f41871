package protocol

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"

	"healthcheck/probe/target"
)

// http2Exchange is one request and its answer over HTTP/2 (RFC 9113).
type http2Exchange struct {
	*framer
	// body is what is still to be sent, as far as the windows allow it: those of
	// the connection and of the stream, and what the latter began with.
	body                       []byte
	whole, stream, streamBegin int64
	in                         []byte // of the answer's body, not yet read
	ended                      bool   // the answer is complete
}

// talkHTTP2 is talk over HTTP/2. Its errors are StageErrors.
func (x exchange) talkHTTP2(ctx context.Context, conn net.Conn, req *request) (*response, error) {
	over := &target.Conn{Conn: conn}
	if req.url.Scheme == "https" {
		over = target.Over(conn)
	}
	e := &http2Exchange{framer: newFramer(over), body: req.body, whole: window, stream: window, streamBegin: window}
	resp, err := e.ask(req)
	if err != nil {
		return nil, target.ProtocolFault(ctx, x.h.target, "HTTP/2", over, err)
	}
	return resp, nil
}

// ask sends the request and reads the head of the answer.
func (e *http2Exchange) ask(req *request) (*response, error) {
	e.writeHeaders(requestFields(req), len(e.body) == 0)
	e.send()
	if err := e.flush(); err != nil {
		return nil, err
	}
	for {
		head, err := e.digest()
		if err != nil {
			return nil, err
		}
		if len(e.in) > 0 {
			return nil, target.Fault("the answer begins with its body")
		}
		if head == nil {
			continue
		}
		resp := &response{header: textproto.MIMEHeader{}, body: e, last: true}
		for _, field := range head {
			if field.name == ":status" {
				resp.status, _ = strconv.Atoi(field.value)
			} else {
				resp.header.Add(field.name, field.value)
			}
		}
		switch {
		case resp.status < 100:
			return nil, target.Fault("the answer has no status")
		case resp.status >= 200 || e.ended: // others are informational
			return resp, nil
		}
	}
}

// requestFields is the request's header. What belongs to a connection is
// forbidden there (RFC 9113, 8.2.2).
func requestFields(req *request) []field {
	host := req.host
	if host == "" {
		host = req.url.Host
	}
	fields := []field{{name: ":method", value: req.method}, {name: ":scheme", value: req.url.Scheme},
		{name: ":authority", value: host}, {name: ":path", value: req.url.RequestURI()}}
	if len(req.body) > 0 {
		fields = append(fields, field{name: "content-length", value: strconv.Itoa(len(req.body))})
	}
	if kind := req.header.Get("Content-Type"); kind != "" {
		fields = append(fields, field{name: "content-type", value: kind})
	}
	return append(fields, metadata(req.header)...)
}

// send adds as much of the body as the windows allow.
func (e *http2Exchange) send() {
	for len(e.body) > 0 && !e.ended {
		n := min(int64(len(e.body)), e.whole, e.stream, maxFrame)
		if n <= 0 {
			return
		}
		flags := byte(0)
		if int(n) == len(e.body) {
			flags = flagEndStream
		}
		e.write(frameData, flags, streamID, e.body[:n])
		e.body, e.whole, e.stream = e.body[n:], e.whole-n, e.stream-n
	}
}

// digest reads one frame and answers it; it returns the fields of headers, if
// it is them.
func (e *http2Exchange) digest() (head []field, err error) {
	in, err := e.read()
	if err != nil {
		return nil, err
	}
	e.conn.Known = true
	switch in.kind {
	case frameSettings:
		if !in.has(flagAck) {
			n := in.beginning(e.streamBegin)
			e.stream, e.streamBegin = e.stream+n-e.streamBegin, n
			e.write(frameSettings, flagAck, 0, nil)
		}
	case framePing:
		e.pong(in)
	case frameWindow:
		n := int64(in.number(0))
		if in.stream == 0 {
			e.whole += n
		} else if in.stream == streamID {
			e.stream += n
		}
	case frameGoAway:
		if in.number(0) < streamID {
			return nil, target.Fault(fmt.Sprintf("the server sends the client away: %s", in.code(4)))
		}
	case frameReset:
		return nil, target.Fault(fmt.Sprintf("the server resets the request: %s", in.code(0)))
	case frameData:
		e.in, e.ended = append(e.in, in.payload...), in.has(flagEndStream)
		if in.length > 0 && !e.ended {
			e.writeNumber(frameWindow, 0, in.length)
			e.writeNumber(frameWindow, streamID, in.length)
		}
	case frameHeaders:
		head, e.ended = in.fields, in.has(flagEndStream)
		if head == nil {
			head = []field{} // which is not none
		}
	}
	if e.whole > maxWindow || e.stream > maxWindow {
		return nil, broken("a window of more than %d bytes", maxWindow)
	}
	e.send()
	if err := e.flush(); err != nil && !e.ended {
		return nil, err
	}
	return head, nil
}

// Read reads the answer's body.
func (e *http2Exchange) Read(p []byte) (int, error) {
	for len(e.in) == 0 {
		if e.ended {
			return 0, io.EOF
		}
		if _, err := e.digest(); err != nil {
			return 0, cutShort(err)
		}
	}
	n := copy(p, e.in)
	e.in = e.in[n:]
	return n, nil
}
