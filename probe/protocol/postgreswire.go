package protocol

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"healthcheck/probe/target"
)

// The messages of PostgreSQL's protocol 3 (its documentation, "Message
// Formats") that a session of a query needs.

// pgMessage is a message of the server: its kind and what follows the length,
// which is good until the next message is read.
type pgMessage struct {
	kind byte
	body []byte
}

// The kinds of the server's messages.
const (
	pgAuthentication = 'R'
	pgKeyData        = 'K'
	pgParameter      = 'S'
	pgNegotiate      = 'v'
	pgErrorResponse  = 'E'
	pgReady          = 'Z'
	pgNotice         = 'N'
	pgNotification   = 'A'
	pgDescription    = 'T'
	pgCopyOut        = 'H'
	pgCopyData       = 'd'
	pgCopyDone       = 'c'
	pgDataRow        = 'D'
	pgComplete       = 'C'
	pgEmptyQuery     = 'I'
	pgCopyIn         = 'G'
	pgCopyBoth       = 'W'
)

// maxPostgresMessage bounds one message of a server, in bytes: a row among them.
const maxPostgresMessage = 64 << 20

// errPostgres is what is not PostgreSQL's protocol.
var errPostgres = errors.New("not PostgreSQL's protocol")

// pgReader reads the messages of a server.
type pgReader struct {
	r   *bufio.Reader
	max int // of one message
	buf bytes.Buffer
}

func newPGReader(conn *target.Conn, max int) *pgReader {
	return &pgReader{r: bufio.NewReader(conn), max: max}
}

// next reads one message.
func (p *pgReader) next() (pgMessage, error) {
	var head [5]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return pgMessage{}, err
	}
	n := int(binary.BigEndian.Uint32(head[1:])) - 4
	if n < 0 || n > p.max {
		return pgMessage{}, errPostgres
	}
	p.buf.Reset()
	if _, err := io.CopyN(&p.buf, p.r, int64(n)); err != nil { // room is made as it comes
		return pgMessage{}, cutShort(err)
	}
	return pgMessage{head[0], p.buf.Bytes()}, nil
}

// pgText takes a text that a zero ends.
func pgText(b *[]byte) string {
	text, rest, ok := bytes.Cut(*b, []byte{0})
	if !ok {
		rest = nil
	}
	*b = rest
	return string(text)
}

// fault is the error that a message of kind pgErrorResponse is.
func (m pgMessage) fault() pgError {
	var e pgError
	for body := m.body; len(body) > 1 && body[0] != 0; {
		field := body[0]
		body = body[1:]
		switch text := pgText(&body); field {
		case 'S':
			e.severity = text
		case 'V':
			e.plain = text
		case 'C':
			e.code = text
		case 'M':
			e.message = text
		}
	}
	return e
}

// pgError is an error that the server reports.
type pgError struct {
	severity, code, message string
	// plain is the severity in English, whatever lc_messages says; empty before
	// PostgreSQL 9.6.
	plain string
}

func (e pgError) Error() string { return e.message + " (SQLSTATE " + e.code + ")" }

// parameter is the name and the value of a message of kind pgParameter.
func (m pgMessage) parameter() (name, value string) {
	body := m.body
	name = pgText(&body)
	return name, pgText(&body)
}

// firstValue is the first value of a row, as far as there are any; NULL is "".
func (m pgMessage) firstValue() (text []byte, ok bool, err error) {
	if len(m.body) < 2 {
		return nil, false, errPostgres
	}
	if binary.BigEndian.Uint16(m.body) == 0 {
		return nil, false, nil
	}
	if len(m.body) < 6 {
		return nil, false, errPostgres
	}
	n := int32(binary.BigEndian.Uint32(m.body[2:]))
	switch rest := m.body[6:]; {
	case n == -1:
		return nil, true, nil
	case n < 0 || int(n) > len(rest):
		return nil, false, errPostgres
	default:
		return rest[:n], true, nil
	}
}

// pgStartup is a session's first message.
func pgStartup(version uint32, parameters map[string]string) []byte {
	body := binary.BigEndian.AppendUint32(nil, version)
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		body = append(body, name+"\x00"+parameters[name]+"\x00"...)
	}
	body = append(body, 0)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
}

// pgSend is a client's message of a kind.
func pgSend(kind byte, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...)
}

// pgSASLInitial is the body of the first message of SASL.
func pgSASLInitial(mechanism string, data []byte) string {
	return mechanism + "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(data)))) + string(data)
}

// The kinds of pgAuthentication.
const (
	pgAuthOK           = 0
	pgAuthCleartext    = 3
	pgAuthMD5          = 5
	pgAuthGSS          = 7
	pgAuthSSPI         = 9
	pgAuthSASL         = 10
	pgAuthSASLContinue = 11
	pgAuthSASLFinal    = 12
)

// authentication is the kind of a message of kind pgAuthentication, and its data.
func (m pgMessage) authentication() (kind uint32, data []byte, err error) {
	if m.kind != pgAuthentication || len(m.body) < 4 {
		return 0, nil, errPostgres
	}
	return binary.BigEndian.Uint32(m.body), m.body[4:], nil
}

// authName names a way of authentication that is not known here.
func authName(kind uint32) string {
	switch kind {
	case pgAuthGSS:
		return "GSSAPI"
	case pgAuthSSPI:
		return "SSPI"
	}
	return fmt.Sprintf("a way of authentication of number %d", kind)
}

// mechanisms are those that a server offers for SASL.
func mechanisms(data []byte) []string {
	var all []string
	for bytes.IndexByte(data, 0) > 0 && len(all) < 20 {
		all = append(all, strings.Clone(pgText(&data)))
	}
	return all
}
