package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"healthcheck/probe/target"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// sentBytes is a connection on which those bytes come.
type sentBytes struct {
	net.Conn
	io.Reader
}

func (s sentBytes) Read(p []byte) (int, error) { return s.Reader.Read(p) }

func (s sentBytes) SetReadDeadline(time.Time) error { return nil }

func (s sentBytes) Close() error { return nil }

func overBytes(sent []byte) *target.Conn {
	return &target.Conn{Conn: sentBytes{nil, bytes.NewReader(sent)}}
}

func fieldTexts(fields []field) (text string) {
	for _, f := range fields {
		text += fmt.Sprintf("%q: %q (%t); ", f.name, f.value, f.secret)
	}
	return text
}

func libraryFieldTexts(fields []hpack.HeaderField) string {
	var own []field
	for _, f := range fields {
		own = append(own, field{f.Name, f.Value, f.Sensitive})
	}
	return fieldTexts(own)
}

// ownFrames are the frames that sent is, as text, and what ended them.
func ownFrames(sent []byte) (all []string, err error) {
	f := newFramer(overBytes(sent))
	for {
		in, err := f.read()
		if err != nil {
			return all, err
		}
		switch in.kind {
		case frameData:
			all = append(all, fmt.Sprintf("data %q of %d, end %t", in.payload, in.length, in.has(flagEndStream)))
		case frameHeaders:
			all = append(all, fmt.Sprintf("headers %s, end %t", fieldTexts(in.fields), in.has(flagEndStream)))
		case frameReset:
			all = append(all, fmt.Sprintf("reset %s", in.code(0)))
		case frameSettings:
			text := fmt.Sprintf("settings, ack %t", in.has(flagAck))
			for at := 0; at < len(in.payload); at += 6 {
				text += fmt.Sprintf(" %d=%d", binary.BigEndian.Uint16(in.payload[at:]), binary.BigEndian.Uint32(in.payload[at+2:]))
			}
			all = append(all, text)
		case framePing:
			all = append(all, fmt.Sprintf("ping %x, ack %t", in.payload, in.has(flagAck)))
		case frameGoAway:
			all = append(all, fmt.Sprintf("go away behind %d: %s", in.number(0), in.code(4)))
		case frameWindow:
			all = append(all, fmt.Sprintf("window of %d: %d", in.stream, in.number(0)))
		default:
			all = append(all, "another")
		}
	}
}

// libraryFrames are the same by x/net/http2.
func libraryFrames(sent []byte) (all []string, err error) {
	f := http2.NewFramer(io.Discard, bytes.NewReader(sent))
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.MaxHeaderListSize = maxHeader
	f.SetMaxReadFrameSize(maxFrame)
	for {
		in, err := f.ReadFrame()
		if err != nil {
			return all, err
		}
		switch in := in.(type) {
		case *http2.DataFrame:
			all = append(all, fmt.Sprintf("data %q of %d, end %t", in.Data(), in.Length, in.StreamEnded()))
		case *http2.MetaHeadersFrame:
			if in.Truncated {
				return all, errLargeHeaders
			}
			all = append(all, fmt.Sprintf("headers %s, end %t", libraryFieldTexts(in.Fields), in.StreamEnded()))
		case *http2.RSTStreamFrame:
			all = append(all, fmt.Sprintf("reset %s", in.ErrCode))
		case *http2.SettingsFrame:
			text := fmt.Sprintf("settings, ack %t", in.IsAck())
			in.ForeachSetting(func(s http2.Setting) error {
				text += fmt.Sprintf(" %d=%d", s.ID, s.Val)
				return nil
			})
			all = append(all, text)
		case *http2.PingFrame:
			all = append(all, fmt.Sprintf("ping %x, ack %t", in.Data, in.IsAck()))
		case *http2.GoAwayFrame:
			all = append(all, fmt.Sprintf("go away behind %d: %s", in.LastStreamID, in.ErrCode))
		case *http2.WindowUpdateFrame:
			all = append(all, fmt.Sprintf("window of %d: %d", in.StreamID, in.Increment))
		case *http2.PushPromiseFrame:
			return all, broken("a frame that was turned off")
		default:
			all = append(all, "another")
		}
	}
}

// FuzzHTTP2Frames: the same bytes are the same frames as with x/net/http2, or
// fewer: the frames of a stream that the client did not open are refused, and
// fields that belong to requests. Windows that x/net/http2 leaves to its users
// are checked by the exchange.
func FuzzHTTP2Frames(f *testing.F) {
	seed := func(write func(*http2.Framer)) {
		var b bytes.Buffer
		write(http2.NewFramer(&b, nil))
		f.Add(b.Bytes())
		for _, n := range []int{1, 8, 9, b.Len() - 1} {
			f.Add(b.Bytes()[:min(n, b.Len())])
		}
	}
	raw := func(kind byte, flags byte, stream uint32, payload string) {
		seed(func(f *http2.Framer) {
			f.WriteRawFrame(http2.FrameType(kind), http2.Flags(flags), stream, []byte(payload))
		})
	}
	ok := fields(":status", "200", "content-type", "application/grpc", "a", strings.Repeat("b", 300))
	seed(func(f *http2.Framer) {
		f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 15})
		f.WriteSettingsAck()
		f.WritePing(false, [8]byte{1})
		f.WriteWindowUpdate(0, 1<<20)
		f.WriteWindowUpdate(1, 1)
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: ok[:10], PadLength: 7, Priority: http2.PriorityParam{Weight: 1}})
		f.WriteContinuation(1, false, nil)
		f.WriteContinuation(1, true, ok[10:])
		f.WriteDataPadded(1, false, []byte("abc"), make([]byte, 5))
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields("grpc-status", "0"), EndHeaders: true, EndStream: true})
		f.WriteGoAway(1, http2.ErrCodeNo, []byte("bye"))
		f.WriteRawFrame(0xee, 0xff, 5, []byte("unknown"))
	})
	for _, block := range [][]byte{
		nil, {0x80}, {0xff, 0xff, 0xff, 0xff, 0x7f}, {0x20}, {0x3f, 0xe1, 0x1f}, {0x3f, 0xff, 0x7f}, fields("A", "b"), fields(":path", "/"), fields("a", "b", ":status", "200"), fields(":status", "200", ":status", "200"),
		fields("a", "b\x00"), fields("a", "b\n"), fields("a", "\x80"), fields("", "x"), fields(":status", "200", "a", strings.Repeat("x", 20_000)), fields("trailer", "a, b, c"),
	} {
		seed(func(f *http2.Framer) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
		})
	}
	for kind := range byte(12) {
		for _, payload := range []string{"", "\x00", "\x00\x00\x00\x00", "\x00\x00\x00\x01", "12345", "\x00\x04\x00\x00\xff\xff", "\x00\x04\xff\xff\xff\xff", "12345678", "123456789"} {
			for _, stream := range []uint32{0, 1, 3} {
				raw(kind, 0, stream, payload)
				raw(kind, 0xff, stream, payload)
			}
		}
	}
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add([]byte("\x00\x40\x01\x00\x00\x00\x00\x00\x01" + strings.Repeat("x", 1<<14+1)))
	f.Fuzz(func(t *testing.T, sent []byte) {
		got, gotErr := ownFrames(sent)
		want, wantErr := libraryFrames(sent)
		for i := range got {
			if i >= len(want) && priorityUpdate(sent) {
				return
			}
			if i >= len(want) || got[i] != want[i] {
				t.Fatalf("frame %d of %q:\n%q, %v\nx/net/http2:\n%q, %v", i, sent, got, gotErr, want, wantErr)
			}
		}
		if len(got) < len(want) && !strings.Contains(gotErr.Error(), "breaks HTTP/2") && gotErr != errLargeHeaders {
			t.Errorf("%q ends with %v before %q", sent, gotErr, want[len(got):])
		}
		if len(got) == len(want) && (gotErr == io.EOF) != (wantErr == io.EOF) && gotErr != io.ErrUnexpectedEOF && !strings.Contains(gotErr.Error(), "breaks HTTP/2") && gotErr != errLargeHeaders {
			t.Errorf("%q: %v, want %v", sent, gotErr, wantErr)
		}
	})
}

// priorityUpdate says whether a frame is one that clients alone send, and
// which x/net/http2 reads.
func priorityUpdate(sent []byte) bool {
	for len(sent) >= 9 {
		if sent[3] == 0x10 {
			return true
		}
		sent = sent[min(len(sent), 9+int(sent[0])<<16|int(sent[1])<<8|int(sent[2])):]
	}
	return false
}

// What breaks the rules is said, and is not taken for an answer.
func TestFramesThatBreakHTTP2(t *testing.T) {
	block := string(fields(":status", "200"))
	raw := func(kind, flags byte, stream uint32, payload string) string {
		head := append([]byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags}, binary.BigEndian.AppendUint32(nil, stream)...)
		return string(head) + payload
	}
	for name, c := range map[string]struct{ sent, want string }{
		"another stream's headers": {raw(frameHeaders, flagEndHeaders, 3, block), "a frame of kind 1 with"},
		"another stream's data":    {raw(frameData, 0, 3, "abc"), "a frame of kind 0 with 3 bytes on stream 3"},
		"a stream's settings":      {raw(frameSettings, 0, 1, ""), "a frame of kind 4 with 0 bytes on stream 1"},
		"a push":                   {raw(framePush, flagEndHeaders, 1, "\x00\x00\x00\x02"+block), "a frame of kind 5"},
		"a continuation":           {raw(frameContinuation, flagEndHeaders, 1, block), "a continuation of nothing"},
		"data within headers":      {raw(frameHeaders, 0, 1, block) + raw(frameData, 0, 1, ""), "a frame of kind 0 within headers"},
		"no compression":           {raw(frameHeaders, flagEndHeaders, 1, "\x80"), "its headers cannot be decompressed"},
		"headers that break off":   {raw(frameHeaders, flagEndHeaders, 1, block+"\x00"), "its headers"},
		"padding":                  {raw(frameData, flagPadded, 1, "\x05abc"), "more padding than bytes"},
		"no padding":               {raw(frameData, flagPadded, 1, ""), "more padding than bytes"},
		"a large frame":            {"\x00\x40\x01\x00\x00\x00\x00\x00\x01", "a frame of 16385 bytes"},
		"a request's field":        {raw(frameHeaders, flagEndHeaders, 1, string(fields(":path", "/"))), `a field ":path" at its place`},
		"two statuses":             {raw(frameHeaders, flagEndHeaders, 1, block+block), `a field ":status" at its place`},
		"upper case":               {raw(frameHeaders, flagEndHeaders, 1, string(fields("A", "b"))), `a field named "A"`},
		"a line's end":             {raw(frameHeaders, flagEndHeaders, 1, string(fields("a", "b\r\nc: d"))), `a control character in the field "a"`},
		"endless headers":          {raw(frameHeaders, 0, 1, "") + strings.Repeat(raw(frameContinuation, 0, 1, strings.Repeat(string(fields("a", strings.Repeat("b", 500))), 20)), 20), "the headers are larger than 65536 bytes"},
		"a beginning beyond all":   {raw(frameSettings, 0, 0, "\x00\x04\x80\x00\x00\x00"), "a frame of kind 4"},
		"a window that stays":      {raw(frameWindow, 0, 0, "\x00\x00\x00\x00"), "a frame of kind 8"},
	} {
		_, err := ownFrames([]byte(c.sent))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for name, sent := range map[string]string{
		"a window beyond all":      raw(frameWindow, 0, 0, "\x7f\xff\xff\xff"),
		"a stream's window beyond": raw(frameWindow, 0, 1, "\x7f\xff\xff\xff"),
	} {
		e := &http2Exchange{framer: newFramer(overBytes([]byte(sent))), whole: window, stream: window, streamBegin: window}
		if _, err := e.digest(); err == nil || !strings.Contains(err.Error(), "a window of ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Headers that one frame cannot hold go in several.
func TestLargeRequestHeaders(t *testing.T) {
	f := newFramer(overBytes(nil))
	f.out.Reset()
	long := field{name: "a", value: strings.Repeat("b\x01", 40_000)}
	f.writeHeaders([]field{long}, true)
	r := http2.NewFramer(nil, &f.out)
	var fields []hpack.HeaderField
	dec := hpack.NewDecoder(4096, func(f hpack.HeaderField) { fields = append(fields, f) })
	n := 0
	for ; ; n++ {
		in, err := r.ReadFrame()
		if err == io.EOF {
			break
		}
		must(t, err)
		switch in := in.(type) {
		case *http2.HeadersFrame:
			if !in.StreamEnded() || in.HeadersEnded() {
				t.Error(in)
			}
			dec.Write(in.HeaderBlockFragment())
		case *http2.ContinuationFrame:
			dec.Write(in.HeaderBlockFragment())
			if in.HeadersEnded() {
				must(t, dec.Close())
			}
		}
	}
	if n < 3 || len(fields) != 1 || fields[0].Value != long.value {
		t.Errorf("%d frames, %d fields", n, len(fields))
	}
}
