package protocol

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// The kinds of HTTP/2's frames, their flags, and the settings that one request
// of a client needs (RFC 9113, 6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9

	flagAck        = 0x1 // of settings and pings
	flagEndStream  = 0x1 // of data and headers
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	settingPush   = 0x2
	settingWindow = 0x4
)

const (
	// http2Preface is what a client begins with (RFC 9113, 3.4).
	http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	// streamID is that of the one request.
	streamID = 1
	// maxFrame is what any peer takes in one frame, and what is taken of it.
	maxFrame = 1 << 14
	// window is what a peer may send before it is told more (RFC 9113, 6.9.2).
	window    = 65535
	maxWindow = 1<<31 - 1
)

// frame is one frame of HTTP/2; that of headers has its continuations in it.
type frame struct {
	kind, flags byte
	stream      uint32
	length      int    // with padding
	payload     []byte // without; good until the next frame is read
	fields      []field
}

// has says whether a flag is set.
func (in frame) has(flag byte) bool { return in.flags&flag != 0 }

// number is the 31 bits that stand at that place of the payload.
func (in frame) number(at int) uint32 { return binary.BigEndian.Uint32(in.payload[at:]) & maxWindow }

// code names the error code that stands at that place of the payload
// (RFC 9113, 7).
func (in frame) code(at int) http2Code { return http2Code(binary.BigEndian.Uint32(in.payload[at:])) }

// http2Code is an error code.
type http2Code uint32

const refusedStream http2Code = 7

func (c http2Code) String() string {
	names := [...]string{"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM",
		"CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"}
	if int64(c) < int64(len(names)) {
		return names[c]
	}
	return fmt.Sprintf("unknown error code 0x%x", uint32(c))
}

// framer reads frames of HTTP/2, and collects those to send: as much of it as
// the client of one stream needs. x/net/http2 would link net/http.
type framer struct {
	conn    *target.Conn
	r       *bufio.Reader
	out     bytes.Buffer
	payload []byte
	blocks  hpackDecoder
	// of the header block that is being read
	fields []field
	size   int
}

// newFramer begins a connection: its frames to send are the client's preface.
func newFramer(conn *target.Conn) *framer {
	f := &framer{conn: conn, r: bufio.NewReader(conn), blocks: hpackDecoder{limit: maxTable}}
	f.out.WriteString(http2Preface)
	f.write(frameSettings, 0, 0, []byte{0, settingPush, 0, 0, 0, 0})
	return f
}

// write adds a frame to those to send.
func (f *framer) write(kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	f.out.Write([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags})
	f.out.Write(binary.BigEndian.AppendUint32(nil, stream))
	f.out.Write(payload)
}

// writeNumber adds a frame that is one number.
func (f *framer) writeNumber(kind byte, stream uint32, n int) {
	f.write(kind, 0, stream, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// writeHeaders adds a header block, in as many frames as it takes; end says
// that nothing follows it.
func (f *framer) writeHeaders(fields []field, end bool) {
	var block []byte
	for _, field := range fields {
		block = appendField(block, field)
	}
	kind, flags := byte(frameHeaders), byte(0)
	if end {
		flags = flagEndStream
	}
	for len(block) > maxFrame {
		f.write(kind, flags, streamID, block[:maxFrame])
		block, kind, flags = block[maxFrame:], frameContinuation, 0
	}
	f.write(kind, flags|flagEndHeaders, streamID, block)
}

// pong answers a ping.
func (f *framer) pong(in frame) {
	if !in.has(flagAck) {
		f.write(framePing, flagAck, 0, in.payload)
	}
}

// flush sends what is to be sent.
func (f *framer) flush() error {
	if f.out.Len() == 0 {
		return nil
	}
	_, err := f.conn.Write(f.out.Bytes())
	f.out.Reset()
	return err
}

// http2Broken is an error for what breaks HTTP/2.
type http2Broken string

func (b http2Broken) Error() string { return "the server breaks HTTP/2: " + string(b) }

func broken(format string, args ...any) error { return http2Broken(fmt.Sprintf(format, args...)) }

// read returns the next frame, once it was found to be right; io.EOF is where
// the connection ended behind one.
func (f *framer) read() (frame, error) {
	in, err := f.next()
	if err != nil || in.kind != frameHeaders {
		return in, err
	}
	head := in
	block := append([]byte(nil), in.payload...)
	for !in.has(flagEndHeaders) {
		if in, err = f.nextAny(); err != nil {
			return frame{}, cutShort(err)
		}
		if in.kind != frameContinuation || in.stream != head.stream {
			return frame{}, broken("a frame of kind %d within headers", in.kind)
		}
		if block = append(block, in.payload...); len(block) > 2*maxHeader {
			return frame{}, errLargeHeaders
		}
	}
	f.fields, f.size = nil, 0
	if err := f.blocks.decode(block, f.take); err != nil {
		return frame{}, err
	}
	head.payload, head.fields = nil, f.fields
	return head, nil
}

const errLargeHeaders target.Fault = "the headers are larger than 65536 bytes"

// take checks one field of a header block (RFC 9113, 8.2 and 8.3).
func (f *framer) take(in field) error {
	f.size += in.size()
	pseudo := strings.HasPrefix(in.name, ":")
	switch {
	case f.size > maxHeader:
		return errLargeHeaders
	case pseudo && (in.name != ":status" || len(f.fields) > 0):
		return broken("a field %q at its place", probe.Cut(in.name, 40))
	case !pseudo && (!isHeaderName(in.name) || strings.ToLower(in.name) != in.name):
		return broken("a field named %q", probe.Cut(in.name, 40))
	case strings.ContainsFunc(in.value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return broken("a control character in the field %q", in.name)
	}
	f.fields = append(f.fields, in)
	return nil
}

// next reads one frame that is no continuation.
func (f *framer) next() (frame, error) {
	in, err := f.nextAny()
	if err == nil && in.kind == frameContinuation {
		err = broken("a continuation of nothing")
	}
	return in, err
}

func (f *framer) nextAny() (in frame, err error) {
	var head [9]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return in, err
	}
	in = frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:]) & maxWindow}
	in.length = int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if in.length > maxFrame {
		return in, broken("a frame of %d bytes", in.length)
	}
	if cap(f.payload) < in.length {
		f.payload = make([]byte, in.length)
	}
	in.payload = f.payload[:in.length]
	if _, err := io.ReadFull(f.r, in.payload); err != nil {
		return in, cutShort(err)
	}
	if !in.fits() {
		return in, broken("a frame of kind %d with %d bytes on stream %d", in.kind, in.length, in.stream)
	}
	return in, in.unpad()
}

// fits says whether a frame has the length of its kind, and belongs to the one
// stream or to the connection as its kind does.
func (in frame) fits() bool {
	own, whole := in.stream == streamID, in.stream == 0
	switch in.kind {
	case frameData, frameHeaders, frameContinuation:
		return own
	case framePriority:
		return in.length == 5 && !whole
	case frameReset:
		return in.length == 4 && own
	case frameSettings:
		return in.length%6 == 0 && whole && (in.length == 0 || !in.has(flagAck)) && in.beginning(0) <= maxWindow
	case framePush:
		return false // it was turned off
	case framePing:
		return in.length == 8 && whole
	case frameGoAway:
		return in.length >= 8 && whole
	case frameWindow:
		return in.length == 4 && in.number(0) > 0
	}
	return true // to be passed over
}

// beginning is the window that settings let streams begin with, which is before
// where they do not say. The last of several holds, but for one too large.
func (in frame) beginning(before int64) int64 {
	n := before
	for at := 0; at+6 <= len(in.payload) && n <= maxWindow; at += 6 {
		if binary.BigEndian.Uint16(in.payload[at:]) == settingWindow {
			n = int64(binary.BigEndian.Uint32(in.payload[at+2:]))
		}
	}
	return n
}

// unpad takes off what stands around the payload.
func (in *frame) unpad() error {
	if in.kind != frameData && in.kind != frameHeaders {
		return nil
	}
	before, behind := 0, 0
	if in.has(flagPadded) && in.length > 0 {
		before, behind = 1, int(in.payload[0])
	}
	if in.kind == frameHeaders && in.has(flagPriority) {
		before += 5
	}
	if before+behind > in.length || in.has(flagPadded) && in.length == 0 {
		return broken("a frame with more padding than bytes")
	}
	in.payload = in.payload[before : in.length-behind]
	return nil
}
