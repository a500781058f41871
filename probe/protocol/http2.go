package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"

	"healthcheck/probe/target"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Exchange is one request and its answer over HTTP/2 (RFC 9113). It needs
// the frames alone, which gRPC does too, and not the client of net/http.
type http2Exchange struct {
	conn *target.Conn
	f    *http2.Framer
	out  bytes.Buffer // frames to send
	// body is what is still to be sent, as far as the windows allow it: those of
	// the connection and of the stream, and what the latter began with.
	body                       []byte
	whole, stream, streamBegin int64
	in                         []byte // of the answer's body, not yet read
	ended                      bool   // the answer is complete
}

// window is what a peer may send before it is told more (RFC 9113, 6.9.2), and
// http2Frame what any peer takes in one frame.
const window, http2Frame = 65535, 1 << 14

// talkHTTP2 is talk over HTTP/2. Its errors are StageErrors.
func (x exchange) talkHTTP2(ctx context.Context, conn net.Conn, req *request) (*response, error) {
	e := &http2Exchange{conn: &target.Conn{Conn: conn}, whole: window, stream: window, streamBegin: window}
	if req.url.Scheme == "https" {
		e.conn = target.Over(conn)
	}
	e.body = req.body
	resp, err := e.ask(req)
	if err != nil {
		return nil, target.ProtocolFault(ctx, x.h.target, "HTTP/2", e.conn, err)
	}
	return resp, nil
}

// ask sends the request and reads the head of the answer.
func (e *http2Exchange) ask(req *request) (*response, error) {
	e.out.WriteString(http2.ClientPreface)
	e.f = http2.NewFramer(&e.out, e.conn)
	e.f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	e.f.MaxHeaderListSize = maxHeader
	e.f.SetMaxReadFrameSize(http2Frame)
	e.f.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	e.f.WriteHeaders(http2.HeadersFrameParam{StreamID: streamID, BlockFragment: requestBlock(req, len(e.body)), EndHeaders: true, EndStream: len(e.body) == 0})
	e.send()
	if _, err := e.conn.Write(e.out.Bytes()); err != nil {
		return nil, err
	}
	for {
		head, err := e.next()
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
		for _, field := range head.Fields {
			if field.Name == ":status" {
				resp.status, _ = strconv.Atoi(field.Value)
			} else if !field.IsPseudo() {
				resp.header.Add(field.Name, field.Value)
			}
		}
		switch {
		case head.Truncated:
			return nil, target.Fault(fmt.Sprintf("the headers are larger than %d bytes", maxHeader))
		case resp.status < 100:
			return nil, target.Fault("the answer has no status")
		case resp.status >= 200 || e.ended: // others are informational
			return resp, nil
		}
	}
}

// requestBlock is the request's header block. What belongs to a connection is
// forbidden there (RFC 9113, 8.2.2).
func requestBlock(req *request, length int) []byte {
	host := req.host
	if host == "" {
		host = req.url.Host
	}
	fields := []hpack.HeaderField{{Name: ":method", Value: req.method}, {Name: ":scheme", Value: req.url.Scheme},
		{Name: ":authority", Value: host}, {Name: ":path", Value: req.url.RequestURI()}}
	if length > 0 {
		fields = append(fields, hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(length)})
	}
	if kind := req.header.Get("Content-Type"); kind != "" {
		fields = append(fields, hpack.HeaderField{Name: "content-type", Value: kind})
	}
	return headerBlock(append(fields, metadata(req.header)...))
}

// headerBlock encodes fields; literals are enough for one request.
func headerBlock(fields []hpack.HeaderField) []byte {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range fields {
		enc.WriteField(f)
	}
	return block.Bytes()
}

// send writes as much of the body as the windows allow.
func (e *http2Exchange) send() {
	for len(e.body) > 0 && !e.ended {
		n := min(int64(len(e.body)), e.whole, e.stream, http2Frame)
		if n <= 0 {
			return
		}
		e.f.WriteData(streamID, int(n) == len(e.body), e.body[:n])
		e.body, e.whole, e.stream = e.body[n:], e.whole-n, e.stream-n
	}
}

// next reads one frame and answers it; it returns that of headers, if it is one.
func (e *http2Exchange) next() (head *http2.MetaHeadersFrame, err error) {
	frame, err := e.f.ReadFrame()
	if err != nil {
		return nil, err
	}
	e.conn.Known = true
	e.out.Reset()
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if frame.IsAck() {
			break
		}
		if v, ok := frame.Value(http2.SettingInitialWindowSize); ok {
			e.stream, e.streamBegin = e.stream+int64(v)-e.streamBegin, int64(v)
		}
		e.f.WriteSettingsAck()
	case *http2.PingFrame:
		if !frame.IsAck() {
			e.f.WritePing(true, frame.Data)
		}
	case *http2.WindowUpdateFrame:
		if frame.StreamID == 0 {
			e.whole += int64(frame.Increment)
		} else {
			e.stream += int64(frame.Increment)
		}
	case *http2.GoAwayFrame:
		if frame.LastStreamID < streamID {
			return nil, target.Fault(fmt.Sprintf("the server sends the client away: %s", frame.ErrCode))
		}
	case *http2.RSTStreamFrame:
		return nil, target.Fault(fmt.Sprintf("the server resets the request: %s", frame.ErrCode))
	case *http2.DataFrame:
		e.in, e.ended = append(e.in, frame.Data()...), frame.StreamEnded()
		if n := frame.Header().Length; n > 0 && !e.ended {
			e.f.WriteWindowUpdate(0, n)
			e.f.WriteWindowUpdate(streamID, n)
		}
	case *http2.MetaHeadersFrame:
		head, e.ended = frame, frame.StreamEnded()
	}
	e.send()
	if _, err := e.conn.Write(e.out.Bytes()); err != nil && !e.ended {
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
		if _, err := e.next(); errors.Is(err, io.EOF) {
			return 0, io.ErrUnexpectedEOF
		} else if err != nil {
			return 0, err
		}
	}
	n := copy(p, e.in)
	e.in = e.in[n:]
	return n, nil
}
