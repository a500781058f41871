package protocol

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/lib/pq/scram"
	"golang.org/x/text/unicode/norm"
)

// Authentication by SCRAM, PLAIN and X.509.

// errScram is a server that does not prove that it knows the password.
var errScram = errors.New("SCRAM")

// login authenticates by SASL (MongoDB's specification of authentication).
func (m *mongoCheck) login(s *mongoSession, mechanism string) error {
	user := m.target.URL.User.Username()
	pw, _ := m.target.URL.User.Password()
	if mechanism == "PLAIN" {
		_, err := s.sasl(m.authDB, "saslStart", mechanism, nil, []byte("\x00"+user+"\x00"+pw))
		return err
	}
	var client *scram.Client
	if mechanism == "SCRAM-SHA-1" {
		// The server keeps this hash in place of the password.
		sum := md5.Sum([]byte(user + ":mongo:" + pw))
		client = scram.NewClient(sha1.New, user, hex.EncodeToString(sum[:]))
	} else {
		client = scram.NewClient(sha256.New, user, saslPrep(pw))
	}
	return m.converse(s, mechanism, client)
}

// saslPrep writes a password as SASLprep does (RFC 4013, 2): blanks of all
// kinds as a space, invisible characters left out, then NFKC. What it forbids
// is sent as it is, and refused by the server.
func saslPrep(pw string) string {
	return norm.NFKC.String(strings.Map(func(r rune) rune {
		switch {
		case r == 0xAD, r == 0x34F, r == 0x1806, r >= 0x180B && r <= 0x180D, r >= 0x200B && r <= 0x200D, r == 0x2060,
			r >= 0xFE00 && r <= 0xFE0F, r == 0xFEFF: // RFC 3454, table B.1
			return -1
		case unicode.Is(unicode.Zs, r): // table C.1.2
			return ' '
		}
		return r
	}, pw))
}

// minIterations is the least that MongoDB's specification lets a client
// accept: fewer would give the password away to whoever poses as the server.
const minIterations = 4096

// converse is the exchange of SCRAM's messages: two answers of the server,
// and an empty round where it knows no skipEmptyExchange.
func (m *mongoCheck) converse(s *mongoSession, mechanism string, client *scram.Client) error {
	client.Step(nil)
	answer, err := s.sasl(m.authDB, "saslStart", mechanism, nil, client.Out())
	proven := false
	for rounds := 0; err == nil && rounds < 4; rounds++ {
		_, data, _ := answer.Lookup("payload").BinaryOK()
		done, _ := answer.Lookup("done").BooleanOK()
		if !proven {
			if n, ok := iterations(data); rounds == 0 && ok && n < minIterations {
				return fmt.Errorf("%w: the server wants fewer than %d iterations", errScram, minIterations)
			}
			proven = client.Step(data)
			if err := client.Err(); err != nil {
				return fmt.Errorf("%w: %s", errScram, strings.ReplaceAll(err.Error(), "SCRAM-SHA-256", mechanism))
			}
		}
		if done {
			break
		}
		id := answer.Lookup("conversationId")
		answer, err = s.sasl(m.authDB, "saslContinue", "", &id, client.Out())
	}
	if err == nil && !proven {
		err = fmt.Errorf("%w: the server did not prove that it knows the password", errScram)
	}
	return err
}

// iterations is the count that a server's first message (RFC 5802, 7) asks
// for, zero where it is no number.
func iterations(first []byte) (n int, ok bool) {
	_, count, ok := strings.Cut(string(first), ",i=")
	n, _ = strconv.Atoi(count)
	return n, ok
}
