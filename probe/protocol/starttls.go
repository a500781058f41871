package protocol

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"healthcheck/probe"
)

// startTLSKind is how a protocol asks for TLS in the middle of a connection.
type startTLSKind struct {
	name string
	ask  func(d *dialogue, client string) error
}

var startTLSKinds = []startTLSKind{{"smtp", startSMTP}, {"imap", startIMAP}, {"postgres", startPostgres}, {"ldap", startLDAP}}

func startTLSNames() string {
	var names []string
	for _, k := range startTLSKinds {
		names = append(names, k.name)
	}
	return strings.Join(names, ", ")
}

// refused is the error of a server that will not speak TLS.
func refused(d *dialogue, answer []byte) error {
	return &probe.StageError{Stage: probe.StageTLS, Err: fmt.Errorf("the server refuses TLS: %s", d.target.Secrets.QuoteCut(string(answer)))}
}

// startSMTP is STARTTLS of RFC 3207.
func startSMTP(d *dialogue, client string) error {
	reply := regexp.MustCompile(`(?m)^[2-5]\d\d( .*)?\n`) // the last line of one
	for _, text := range []string{"", "EHLO " + client + "\r\n", "STARTTLS\r\n"} {
		if text != "" {
			if err := d.say([]byte(text)); err != nil {
				return err
			}
		}
		answer, err := d.hear(reply)
		if err != nil {
			return err
		}
		if answer[0] != '2' && text != "STARTTLS\r\n" {
			return &probe.StageError{Stage: probe.StageStatus, Err: fmt.Errorf("the server answers %s, want 220 or 250", d.target.Secrets.QuoteCut(string(answer)))}
		} else if answer[0] != '2' {
			return refused(d, answer)
		}
	}
	return nil
}

// startIMAP is STARTTLS of RFC 3501, 6.2.1.
func startIMAP(d *dialogue, _ string) error {
	if _, err := d.hear(regexp.MustCompile(`^\* OK.*\n`)); err != nil {
		return err
	}
	if err := d.say([]byte("a STARTTLS\r\n")); err != nil {
		return err
	}
	answer, err := d.hear(regexp.MustCompile(`(?m)^a .*\n`))
	if err == nil && !strings.HasPrefix(string(answer), "a OK") {
		err = refused(d, answer)
	}
	return err
}

// startPostgres is SSLRequest of PostgreSQL's protocol 3.0.
func startPostgres(d *dialogue, _ string) error {
	if err := d.say(sslRequest); err != nil {
		return err
	}
	answer, err := d.hear(regexp.MustCompile(`(?s)^.`))
	if err == nil && string(answer) != "S" {
		err = refused(d, append(answer, d.rest...))
	}
	return err
}

// startLDAP is the extended operation StartTLS of RFC 4511, 4.14.
func startLDAP(d *dialogue, _ string) error {
	const oid = "1.3.6.1.4.1.1466.20037"
	request := "\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + oid
	if err := d.say([]byte(request)); err != nil {
		return err
	}
	message, err := d.berMessage()
	if err != nil {
		return err
	}
	// LDAPMessage: the id, and an ExtendedResponse that begins with its result.
	id, message, ok1 := berCut(message, 0x02)
	response, _, ok2 := berCut(message, 0x78)
	code, _, ok3 := berCut(response, 0x0a)
	if !ok1 || !ok2 || !ok3 || string(id) != "\x01" || string(code) != "\x00" {
		return refused(d, message)
	}
	return nil
}

// berMessage reads one SEQUENCE of BER and returns what is in it.
func (d *dialogue) berMessage() ([]byte, error) {
	buf := make([]byte, 4<<10)
	for {
		if len(d.rest) > 0 && d.rest[0] != 0x30 {
			return nil, &probe.StageError{Stage: probe.StageResponse, Err: fmt.Errorf("the server does not speak LDAP: it sent %s", d.target.Secrets.QuoteCut(string(d.rest)))}
		}
		if content, rest, ok := berCut(d.rest, 0x30); ok {
			d.rest = rest
			return content, nil
		}
		if len(d.rest) > maxHeard {
			return nil, &probe.StageError{Stage: probe.StageResponse, Err: errors.New("the answer has no end")}
		}
		n, err := d.conn.Read(buf)
		d.rest = append(d.rest, buf[:n]...)
		if err != nil && n == 0 {
			cause := probe.Cause(d.ctx, err)
			if errors.Is(err, io.EOF) {
				cause = errors.New("the server closed the connection")
			}
			return nil, &probe.StageError{Stage: probe.StageResponse, Err: probe.Bare(cause)}
		}
	}
}

// berCut takes one element of BER off a text, if it begins with one of that tag
// and is there as a whole.
func berCut(text []byte, tag byte) (content, rest []byte, ok bool) {
	if len(text) < 2 || text[0] != tag {
		return nil, nil, false
	}
	length, text := int(text[1]), text[2:]
	if length >= 0x80 { // that many bytes of length follow
		n := length - 0x80
		if n > 4 || len(text) < n {
			return nil, nil, false
		}
		length = 0
		for _, b := range text[:n] {
			length = length<<8 | int(b)
		}
		text = text[n:]
	}
	if len(text) < length {
		return nil, nil, false
	}
	return text[:length], text[length:], true
}
