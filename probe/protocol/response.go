package protocol

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"

	"healthcheck/probe"
)

// The statuses that something here asks for by name (RFC 9110, 15).
const (
	statusSwitchingProtocols = 101
	statusOK                 = 200
	statusNoContent          = 204
	statusMovedPermanently   = 301
	statusFound              = 302
	statusSeeOther           = 303
	statusNotModified        = 304
	statusTemporaryRedirect  = 307
	statusPermanentRedirect  = 308
	statusBadRequest         = 400
	statusUnauthorized       = 401
	statusForbidden          = 403
	statusNotFound           = 404
	statusMethodNotAllowed   = 405
	statusUnprocessable      = 422
	statusTooMany            = 429
	statusUnavailable        = 503
)

// response is the answer to a request.
type response struct {
	status int
	header textproto.MIMEHeader
	body   io.Reader
	last   bool // the server sends no other answer over the connection
	// conn is the answer's own connection, which close cuts off; nil where it
	// serves for more than this answer.
	conn    net.Conn
	release func()
}

// owning makes conn the answer's own; release closes it.
func (r *response) owning(conn net.Conn, release func()) *response {
	r.conn, r.release = conn, release
	return r
}

// close closes the answer's own connection. The rest of the body, which may
// have no end, is left unread.
func (r *response) close() {
	if r.release != nil {
		r.release()
	}
}

// maxInformational is how many informational answers may come before the real
// one.
const maxInformational = 5

// readResponse reads the head of the answer to a request of that method
// (RFC 9112), behind informational ones. The body is read from buf, and ends
// where the answer says.
//
// It takes what http.ReadResponse takes, without the 1.2 MB of net/http, but
// for a status that is not three digits, HTTP/0.x, and a chunk of 4 exbibytes.
// The header is left as the server sent it.
func readResponse(buf *bufio.Reader, method string) (*response, error) {
	for range maxInformational {
		r, err := readOneResponse(buf, method)
		if err != nil || r.status/100 != 1 || r.status == statusSwitchingProtocols {
			return r, err
		}
	}
	return nil, errInformational
}

var errInformational = errors.New("the server sends informational answers without end")

// badAnswer is an error for a head that cannot be read, in quoted words of the
// server's, of any length, which may hold a secret.
type badAnswer string

func (b badAnswer) Error() string { return string(b) }

// malformed is an error for what a server sent that is not HTTP.
func malformed(what, text string) error {
	return badAnswer(fmt.Sprintf("malformed %s %q", what, text))
}

func readOneResponse(buf *bufio.Reader, method string) (*response, error) {
	text := textproto.NewReader(buf)
	line, err := text.ReadLine()
	if err != nil {
		return nil, cutShort(err)
	}
	version, rest, ok := strings.Cut(line, " ")
	if !ok {
		return nil, malformed("HTTP response", line)
	}
	code, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	r := &response{}
	if len(code) != 3 || !isNumber(code) {
		return nil, malformed("HTTP status code", code)
	}
	r.status, _ = strconv.Atoi(code)
	number, ok := strings.CutPrefix(version, "HTTP/")
	if !ok || len(number) != 3 || number[1] != '.' || !isNumber(number[:1]+number[2:]) || number[0] == '0' {
		return nil, malformed("HTTP version", version)
	}
	if r.header, err = text.ReadMIMEHeader(); err != nil {
		return nil, cutShort(err)
	}
	if err := r.frame(buf, method, number == "1.0"); err != nil {
		return nil, err
	}
	return r, nil
}

// cutShort is the error for what ends before it is complete.
func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// isNumber says whether text is digits alone.
func isNumber(text string) bool {
	return strings.Trim(text, "0123456789") == ""
}

// frame finds where the body ends (RFC 9112, 6.3), and whether the connection
// ends with it; old is HTTP/1.0. An answer that can be read in two ways is an
// error: whoever stands between may have read it in the other.
func (r *response) frame(buf *bufio.Reader, method string, old bool) error {
	r.last = hasToken(r.header["Connection"], "close") || old && !hasToken(r.header["Connection"], "keep-alive")
	codings, chunked := r.header["Transfer-Encoding"]
	switch chunked = chunked && !old; {
	case chunked && len(codings) != 1:
		return badAnswer(fmt.Sprintf("too many transfer encodings: %q", codings))
	case chunked && !isToken(codings[0], "chunked"):
		return badAnswer(fmt.Sprintf("unsupported transfer encoding: %q", codings[0]))
	}
	length, err := contentLength(r.header["Content-Length"])
	if err != nil {
		return err
	}
	if names := r.header["Trailer"]; chunked {
		for _, name := range []string{"Transfer-Encoding", "Content-Length", "Trailer"} {
			if hasToken(names, name) {
				return badAnswer("a trailer named " + name)
			}
		}
	}
	switch {
	case method == "HEAD", r.status/100 == 1, r.status == statusNoContent, r.status == statusNotModified:
		r.body = strings.NewReader("") // whatever the header says
	case chunked:
		r.body = &chunkedBody{r: buf}
	case length >= 0:
		r.body = &measuredBody{buf, length}
	default:
		r.body, r.last = buf, true
	}
	return nil
}

// hasToken says whether one of the lists that values are holds token.
func hasToken(values []string, token string) bool {
	for _, list := range values {
		for item := range strings.SplitSeq(list, ",") {
			if isToken(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// isToken compares without regard to case. The lengths keep out those letters
// beyond ASCII that EqualFold takes for one of it.
func isToken(text, token string) bool {
	return len(text) == len(token) && strings.EqualFold(text, token)
}

// contentLength reads Content-Length, which may be said several times in the
// same words; -1 where it is not said.
func contentLength(values []string) (int64, error) {
	if len(values) == 0 {
		return -1, nil
	}
	first := textproto.TrimString(values[0])
	for _, v := range values[1:] {
		if textproto.TrimString(v) != first {
			return 0, badAnswer(fmt.Sprintf("several lengths of the body: %q", values))
		}
	}
	n, err := strconv.ParseUint(first, 10, 63)
	if err != nil {
		return 0, badAnswer(fmt.Sprintf("bad Content-Length %q", first))
	}
	return int64(n), nil
}

// measuredBody is a body whose length the header says.
type measuredBody struct {
	r    io.Reader
	left int64
}

func (b *measuredBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	if b.left -= int64(n); b.left > 0 {
		err = cutShort(err)
	}
	return n, err
}

// chunkedBody is a body in chunks (RFC 9112, 7.1).
type chunkedBody struct {
	r      *bufio.Reader
	begun  bool   // a chunk's data has been read, and the end of its line is next
	left   uint64 // of the chunk's data, in bytes
	excess int64  // bytes that were not data, beyond what is granted
	err    error  // what ended it
}

// Of what is not data, 16 bytes are granted for each chunk and twice its data,
// and so many bytes beyond: extensions could make a short body take for ever.
const maxChunkExcess = 16 << 10

// maxChunk is what no chunk has.
const maxChunk = 1 << 62

func (b *chunkedBody) Read(p []byte) (int, error) {
	for b.left == 0 && b.err == nil {
		b.err = b.next()
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p[:min(uint64(len(p)), b.left)])
	b.left -= uint64(n)
	b.err = cutShort(err)
	return n, b.err
}

// next reads up to a chunk's data; io.EOF is behind the last chunk.
func (b *chunkedBody) next() error {
	if b.begun {
		end, err := b.r.Peek(2)
		if err != nil {
			return cutShort(err)
		}
		if string(end) != "\r\n" {
			return errors.New("malformed chunked encoding: a chunk is longer than it says")
		}
		b.r.Discard(2)
	}
	line, err := b.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return errors.New("malformed chunked encoding: the line of a size is too long")
	} else if err != nil {
		return cutShort(err)
	}
	text, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || bytes.IndexByte(text, '\r') >= 0 {
		return errors.New("malformed chunked encoding: the line of a size ends without CR LF")
	}
	digits, _, _ := strings.Cut(strings.TrimRight(string(text), " \t"), ";")
	size, err := strconv.ParseUint(digits, 16, 64)
	switch {
	case err != nil || len(digits) > 16 || strings.Trim(digits, "0123456789abcdefABCDEF") != "":
		return fmt.Errorf("malformed chunked encoding: a size of %q", probe.Cut(digits, 20))
	case size >= maxChunk:
		return fmt.Errorf("a chunk of %d bytes", size)
	}
	b.left = size
	if b.left == 0 {
		return b.trailer()
	}
	b.begun = true
	b.excess = max(0, b.excess+int64(len(line))-16-2*int64(b.left))
	if b.excess > maxChunkExcess {
		return errors.New("the chunks are nearly all extensions")
	}
	return nil
}

// trailer reads past the fields behind the last chunk, as many as fit in the
// buffer, to the empty line; io.EOF is behind that.
func (b *chunkedBody) trailer() error {
	if end, err := b.r.Peek(2); err != nil {
		return cutShort(err)
	} else if string(end) == "\r\n" {
		b.r.Discard(2)
		return io.EOF
	}
	for size, text := 4, []byte(nil); !bytes.HasSuffix(text, []byte("\r\n\r\n")); size++ {
		var err error
		if text, err = b.r.Peek(size); err == bufio.ErrBufferFull {
			return errors.New("the trailer behind the chunks is too long")
		} else if err != nil {
			return cutShort(err)
		}
	}
	if _, err := textproto.NewReader(b.r).ReadMIMEHeader(); err != nil {
		return cutShort(err)
	}
	return io.EOF
}
