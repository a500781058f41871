package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// maxHeard bounds what is read until it is what is expected, in bytes.
const maxHeard = 64 << 10

// lines makes ^ and $ of an expression the ends of a line: what comes next need
// not be the first.
const lines = "(?m)"

// step is something to say, or something to hear.
type step struct {
	send   []byte
	expect *regexp.Regexp
}

// anything is what any answer matches.
func anything() *regexp.Regexp { return regexp.MustCompile(`(?s)^.`) }

func parseStep(s target.Setting) (next step, err error) {
	if s.Key == "expect" {
		next.expect, err = regexp.Compile(lines + s.Value)
		return next, err
	}
	next.send, err = unescape(s.Value)
	return next, err
}

// unescape reads \r, \n, \t, \0, \\ and \xHH.
func unescape(s string) ([]byte, error) {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		if i == len(s) {
			return nil, errors.New(`it ends in a single \, which is written \\`)
		}
		switch s[i] {
		case 'r':
			out = append(out, '\r')
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case '0':
			out = append(out, 0)
		case '\\':
			out = append(out, '\\')
		case 'x':
			b, err := strconv.ParseUint(s[i+1:min(i+3, len(s))], 16, 8)
			if err != nil || i+3 > len(s) {
				return nil, errors.New(`two hexadecimal digits stand behind \x`)
			}
			out = append(out, byte(b))
			i += 2
		default:
			return nil, fmt.Errorf(`unknown escape \%c: want \r \n \t \0 \xHH or \\`, s[i])
		}
	}
	if len(out) == 0 {
		return nil, errors.New("it is empty")
	}
	return out, nil
}

// dialogue is a conversation with a server: what was read and not yet looked
// at is kept.
type dialogue struct {
	ctx     context.Context
	target  target.Target
	conn    net.Conn
	packets bool // of datagrams, each read is one
	rest    []byte
	heard   string // what matched last, quoted
}

// do takes one step. Its errors are StageErrors.
func (d *dialogue) do(next step) error {
	if next.expect == nil {
		return d.say(next.send)
	}
	found, err := d.hear(next.expect)
	if err == nil {
		d.heard = d.target.Secrets.Quote(string(found))
	}
	return err
}

func (d *dialogue) say(text []byte) error {
	_, err := d.conn.Write(text)
	if err != nil {
		return &probe.StageError{Stage: probe.StageRequest, Err: fmt.Errorf("sending: %w", probe.Bare(probe.Cause(d.ctx, err))), Class: probe.AsTarget}
	}
	return nil
}

// hear reads until what came matches, and returns the line that does, or lines,
// as far as they have come.
func (d *dialogue) hear(want *regexp.Regexp) ([]byte, error) {
	buf := make([]byte, 16<<10)
	for {
		if at := want.FindIndex(d.rest); at != nil && len(d.rest) > 0 {
			begin, end := bytes.LastIndexByte(d.rest[:at[0]], '\n')+1, len(d.rest)
			// A match that ends in \n has the whole of its last line.
			if more := bytes.IndexByte(d.rest[max(at[1]-1, 0):], '\n'); more >= 0 {
				end = max(at[1]-1, 0) + more
			}
			line := d.rest[begin:max(begin, end)]
			d.rest = d.rest[at[1]:]
			return line, nil
		}
		if len(d.rest) > maxHeard {
			return nil, d.unheard(want, fmt.Errorf("nothing in the first %d bytes matches", maxHeard))
		}
		n, err := d.conn.Read(buf)
		d.rest = append(d.rest, buf[:n]...)
		if err != nil && n == 0 {
			return nil, d.unheard(want, err)
		}
	}
}

// unheard is the error for what did not come.
func (d *dialogue) unheard(want *regexp.Regexp, err error) error {
	stage, cause := probe.StageResponse, probe.Cause(d.ctx, err)
	alert, isAlert := target.TLSAlert(err)
	switch {
	case isAlert:
		stage, cause = probe.StageTLS, errors.New(alert)
	case errors.Is(err, io.EOF):
		cause = errors.New("the server closed the connection")
	case d.packets && errors.Is(err, syscall.ECONNREFUSED):
		stage = probe.StageConnect
	}
	said := ": it said nothing"
	if len(d.rest) > 0 {
		said = ": it sent " + d.target.Secrets.QuoteCut(string(d.rest))
	}
	return &probe.StageError{Stage: stage, Err: fmt.Errorf("%w, want %q%s", probe.Bare(cause), probe.Cut(strings.TrimPrefix(want.String(), lines), 100), said)}
}
