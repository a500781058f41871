package protocol

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"net/url"
	"path"
	"strconv"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// FastCGI makes the check for fastcgi://host[:9000]/ping and
// fastcgi:///path.sock:/ping, the status and ping pages of php-fpm and what
// else a FastCGI server answers; the answer is judged as HTTP's is.
func FastCGI(t target.Target, o Options) (probe.Func, error) {
	f := &fastCGI{target: t}
	u := *t.URL
	if u.Host == "" {
		sock, reqPath, hasPath := strings.Cut(u.EscapedPath(), ":")
		sock, err := url.PathUnescape(sock)
		if err != nil || !path.IsAbs(sock) || !strings.HasPrefix(reqPath, "/") || !hasPath {
			return nil, errors.New("a fastcgi target is fastcgi://host:9000/ping or, over a Unix socket, fastcgi:///run/php-fpm.sock:/ping")
		}
		if u.Path, err = url.PathUnescape(reqPath); err != nil {
			return nil, errors.New("the path behind the socket is malformed")
		}
		u.Host, u.RawPath, f.network, f.addr = "localhost", reqPath, "unix", sock
	} else {
		addr, err := t.Addr("9000")
		if err != nil {
			return nil, err
		}
		f.network, f.addr = "tcp", addr
	}
	if err := t.NoUser(); err != nil {
		return nil, err
	}
	if u.Path == "" || u.Path == "/" {
		return nil, errors.New("a fastcgi target needs the path of a page or of a script: fastcgi://host:9000/ping")
	}
	for _, s := range t.Settings {
		if s.Key == "max-redirects" || s.Key == "http-version" {
			return nil, fmt.Errorf("the setting %s means nothing to FastCGI", s.Key)
		}
	}
	u.Scheme = "http" // as a request's
	h, err := newHTTPCheck(t, o, &u, "")
	if err != nil {
		return nil, err
	}
	h.send = f.send
	return h.run, nil
}

type fastCGI struct {
	target        target.Target
	network, addr string
}

// The parts of FastCGI 1.0 that a request without multiplexing needs (its
// specification, section 8).
const (
	fcgiVersion   = 1
	fcgiBegin     = 1
	fcgiEnd       = 3
	fcgiParams    = 4
	fcgiStdin     = 5
	fcgiStdout    = 6
	fcgiStderr    = 7
	fcgiResponder = 1
	fcgiRequest   = 1 // the request's number
	maxFCGIRecord = 65535
)

// send asks over a connection of its own, which is closed with the body and cut
// when ctx ends. Its errors are StageErrors.
func (f *fastCGI) send(ctx context.Context, req *request) (*response, error) {
	conn, err := target.DialConn(ctx, f.network, f.addr)
	if err != nil {
		return nil, err
	}
	cut := target.InterruptWith(ctx, conn)
	release := func() { cut(); conn.Close() }
	resp, err := f.talk(ctx, conn, req)
	if err != nil {
		release()
		return nil, err
	}
	return resp.owning(conn, release), nil
}

func (f *fastCGI) talk(ctx context.Context, conn *target.Conn, req *request) (*response, error) {
	// A server may answer and close before it has read everything.
	_, werr := conn.Write(fcgiMessage(fcgiVariables(req), req.body))
	resp, err := readCGI(newFCGIReader(conn))
	switch {
	case err == nil:
		return resp, nil
	case werr != nil && len(conn.First) == 0:
		err = werr
	case len(conn.First) > 0 && conn.First[0] == fcgiVersion:
		conn.Known = true
	}
	return nil, target.ProtocolFault(ctx, f.target, "FastCGI", conn, err)
}

// fcgiVariables are the CGI variables of a request (RFC 3875, 4.1), names and
// values by turns. A page or a script is named by its path.
func fcgiVariables(req *request) []string {
	port := req.url.Port()
	if port == "" {
		port = "80"
	}
	vars := []string{
		"GATEWAY_INTERFACE", "CGI/1.1", "SERVER_SOFTWARE", "healthcheck", "SERVER_PROTOCOL", "HTTP/1.1", "SERVER_NAME", req.url.Hostname(), "SERVER_PORT", port,
		"REMOTE_ADDR", "127.0.0.1", "REQUEST_METHOD", req.method, "REQUEST_URI", req.url.RequestURI(), "QUERY_STRING", req.url.RawQuery,
		"SCRIPT_NAME", req.url.Path, "SCRIPT_FILENAME", req.url.Path, "DOCUMENT_ROOT", "/", "REDIRECT_STATUS", "200",
		"CONTENT_TYPE", req.header.Get("Content-Type"), "CONTENT_LENGTH", strconv.Itoa(len(req.body)), "HTTP_HOST", req.host,
	}
	for name, values := range req.header {
		if name != "Content-Type" && name != "Proxy" { // httpoxy: a client's header must not set HTTP_PROXY
			vars = append(vars, "HTTP_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")), strings.Join(values, ", "))
		}
	}
	return vars
}

// fcgiMessage is a whole request: its beginning, its variables and its body.
func fcgiMessage(vars []string, body []byte) []byte {
	var params []byte
	for i := 0; i+1 < len(vars); i += 2 {
		for _, text := range vars[i : i+2] {
			if len(text) < 128 {
				params = append(params, byte(len(text)))
			} else {
				params = binary.BigEndian.AppendUint32(params, uint32(len(text))|1<<31)
			}
		}
		params = append(append(params, vars[i]...), vars[i+1]...)
	}
	msg := fcgiRecord(nil, fcgiBegin, []byte{0, fcgiResponder, 0, 0, 0, 0, 0, 0}) // no FCGI_KEEP_CONN
	msg = fcgiStream(msg, fcgiParams, params)
	return fcgiStream(msg, fcgiStdin, body)
}

// fcgiStream appends records that hold content, and the empty one that ends it.
func fcgiStream(msg []byte, kind byte, content []byte) []byte {
	for len(content) > 0 {
		n := min(len(content), maxFCGIRecord)
		msg = fcgiRecord(msg, kind, content[:n])
		content = content[n:]
	}
	return fcgiRecord(msg, kind, nil)
}

func fcgiRecord(msg []byte, kind byte, content []byte) []byte {
	msg = append(msg, fcgiVersion, kind, 0, fcgiRequest)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(content)))
	return append(append(msg, 0, 0), content...)
}

// fcgiReader is what a server writes to its standard output; what it writes to
// its log is left out.
type fcgiReader struct {
	conn    *bufio.Reader
	left    int // of the record's content
	padding int
	err     error // what ended it: a reader may ask once more
}

func newFCGIReader(r io.Reader) *fcgiReader { return &fcgiReader{conn: bufio.NewReader(r)} }

func (r *fcgiReader) Read(p []byte) (int, error) {
	for r.left == 0 {
		if r.err == nil {
			r.err = r.next()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	n, err := r.conn.Read(p[:min(len(p), r.left)])
	if r.left -= n; err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads one record's head, and past what is not of the standard output.
func (r *fcgiReader) next() error {
	if _, err := r.conn.Discard(r.padding); err != nil {
		return io.ErrUnexpectedEOF
	}
	r.padding = 0
	head := make([]byte, 8)
	if _, err := io.ReadFull(r.conn, head); err == io.EOF {
		return io.ErrUnexpectedEOF // it ends with a record of its own
	} else if err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint16(head[4:]))
	r.padding = int(head[6])
	switch {
	case head[0] != fcgiVersion:
		return errors.New("not a record of FastCGI 1")
	case head[1] == fcgiStdout:
		r.left = size
		return nil
	case head[1] == fcgiEnd && size == 8:
		end := make([]byte, size)
		if _, err := io.ReadFull(r.conn, end); err != nil {
			return io.ErrUnexpectedEOF
		}
		if end[4] != 0 {
			return target.Fault("the server does not take the request: " + fcgiRefusal(end[4]))
		}
		return io.EOF
	}
	_, err := r.conn.Discard(size) // the log, and what later versions may have
	return err
}

func fcgiRefusal(status byte) string {
	switch status {
	case 1:
		return "it cannot multiplex connections"
	case 2:
		return "it is overloaded"
	case 3:
		return "it is no responder"
	}
	return fmt.Sprintf("protocol status %d", status)
}

// readCGI reads the head of a script's answer (RFC 3875, 6): header fields,
// Status among them where it is not 200.
func readCGI(r io.Reader) (*response, error) {
	limited := &io.LimitedReader{R: r, N: maxHeader}
	buf := bufio.NewReader(limited)
	header, err := textproto.NewReader(buf).ReadMIMEHeader()
	switch {
	case err != nil && limited.N <= 0:
		return nil, target.Fault(fmt.Sprintf("the headers are larger than %d bytes", maxHeader))
	case err == io.EOF && len(header) == 0:
		return nil, target.Fault("the answer is empty")
	case err != nil:
		var malformed textproto.ProtocolError
		if errors.As(err, &malformed) {
			return nil, target.Fault("the answer has no CGI header")
		}
		return nil, err
	}
	limited.N = 1 << 62 // the body has bounds of its own
	resp := &response{status: statusOK, header: header, body: buf, last: true}
	if text := resp.header.Get("Status"); text != "" {
		code, _, _ := strings.Cut(text, " ")
		if resp.status, err = strconv.Atoi(code); err != nil || resp.status < 100 || resp.status > 999 {
			return nil, target.Fault("the answer's Status is no number")
		}
	} else if resp.header.Get("Location") != "" {
		resp.status = statusFound
	}
	return resp, nil
}
