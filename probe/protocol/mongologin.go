package protocol

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
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
	if mechanism == "SCRAM-SHA-1" {
		// The server keeps this hash in place of the password.
		sum := md5.Sum([]byte(user + ":mongo:" + pw))
		pw = hex.EncodeToString(sum[:])
	} else {
		pw = saslPrep(pw, false)
	}
	return m.converse(s, user, newScram(mechanism, pw))
}

// converse is the exchange of SCRAM's messages: two answers of the server,
// and an empty round where it knows no skipEmptyExchange.
func (m *mongoCheck) converse(s *mongoSession, user string, client *scramClient) error {
	answer, err := s.sasl(m.authDB, "saslStart", client.mechanism, nil, client.begin(user))
	proven := false
	for rounds := 0; err == nil && rounds < 4; rounds++ {
		_, data, _ := answer.Lookup("payload").BinaryOK()
		done, _ := answer.Lookup("done").BooleanOK()
		var out []byte
		switch {
		case rounds == 0:
			out, err = client.answer(data)
		case !proven:
			err = client.finish(data)
			proven = err == nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errScram, err)
		}
		if done {
			break
		}
		id := answer.Lookup("conversationId")
		answer, err = s.sasl(m.authDB, "saslContinue", "", &id, out)
	}
	if err == nil && !proven {
		err = fmt.Errorf("%w: the server did not prove that it knows the password", errScram)
	}
	return err
}
