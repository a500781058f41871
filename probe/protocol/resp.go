package protocol

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"healthcheck/probe/target"
)

// respConn speaks Redis's serialization protocol, version 2: simple strings and
// errors, integers, bulk strings and arrays.
type respConn struct {
	conn *target.Conn
	r    *bufio.Reader
	out  bytes.Buffer
}

// respError is an error that the server answers with.
type respError string

func (e respError) Error() string { return string(e) }

// Bounds on all that a server answers in a session, in bytes, and on how deep
// its arrays go.
const (
	maxRESP      = 1 << 20
	maxRESPDepth = 8
)

func newRESP(conn *target.Conn) *respConn {
	return &respConn{conn: conn, r: bufio.NewReader(io.LimitReader(conn, maxRESP))}
}

// send adds a command to those to send.
func (c *respConn) send(words ...string) {
	fmt.Fprintf(&c.out, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&c.out, "$%d\r\n%s\r\n", len(w), w)
	}
}

// flush sends what is to be sent.
func (c *respConn) flush() error {
	_, err := c.conn.Write(c.out.Bytes())
	c.out.Reset()
	return err
}

// receive returns an answer: a string, a []byte for a bulk string, an int64, an
// []any, or nil; the server's error as a respError.
func (c *respConn) receive() (any, error) {
	v, err := c.read(maxRESPDepth)
	if e, ok := v.(respError); ok && err == nil {
		return nil, e
	}
	return v, err
}

var errRESP = errors.New("not Redis's protocol")

func (c *respConn) read(depth int) (any, error) {
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	if len(line) == 0 {
		return nil, errRESP
	}
	switch text := line[1:]; line[0] {
	case '+':
		return text, nil
	case '-':
		return respError(text), nil
	case ':':
		n, err := strconv.ParseInt(strings.Replace(text, "+", "x", 1), 10, 64)
		if err != nil {
			return nil, errRESP
		}
		return n, nil
	case '$', '*':
		if text == "-1" {
			return nil, nil
		}
		n, err := strconv.ParseUint(text, 10, 31)
		switch {
		case err != nil || n > maxRESP || depth == 0:
			return nil, errRESP
		case line[0] == '*':
			return c.array(int(n), depth-1)
		}
		bulk := make([]byte, n)
		if _, err := io.ReadFull(c.r, bulk); err != nil {
			return nil, err
		}
		if end, err := c.line(); err != nil {
			return nil, err
		} else if end != "" {
			return nil, errRESP
		}
		return bulk, nil
	}
	return nil, errRESP
}

// array reads n values; it grows as they come, whatever n is.
func (c *respConn) array(n, depth int) (any, error) {
	all := []any{}
	for range n {
		v, err := c.read(depth)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// line reads one line, which may be longer than the buffer, as errors are.
func (c *respConn) line() (string, error) {
	var all []byte
	for {
		text, err := c.r.ReadSlice('\n')
		all = append(all, text...)
		if err == bufio.ErrBufferFull {
			continue
		} else if err != nil {
			return "", err
		}
		line, ok := bytes.CutSuffix(all, []byte("\r\n"))
		if !ok {
			return "", errRESP
		}
		return string(line), nil
	}
}

// respText is a value that is text; empty for another.
func respText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}
