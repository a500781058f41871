package protocol

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// scramClient is the client of one exchange of SCRAM (RFC 5802), which three
// databases speak: begin, answer, finish.
type scramClient struct {
	mechanism string
	hash      func() hash.Hash
	password  string
	// channel is what the client says of the connection that it is bound to, and
	// binding what identifies that.
	channel string
	binding []byte
	// least is how few iterations are accepted: fewer would give the password
	// away to whoever poses as the server.
	least int

	nonce, auth string
	salted      []byte
}

// minIterations is the least that MongoDB's specification lets a client accept.
const minIterations = 4096

// maxIterations bounds what a server may make the client compute: a few seconds.
const maxIterations = 10_000_000

// newScram returns the client of a mechanism, by its name.
func newScram(mechanism, password string) *scramClient {
	c := &scramClient{mechanism: mechanism, hash: sha256.New, password: password, channel: "n,,", least: minIterations}
	switch {
	case strings.HasPrefix(mechanism, "SCRAM-SHA-1"):
		c.hash = sha1.New
	case strings.HasPrefix(mechanism, "SCRAM-SHA-512"):
		c.hash = sha512.New
	}
	return c
}

// begin is the client's first message.
func (c *scramClient) begin(user string) []byte {
	c.nonce = rand.Text()
	c.auth = "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) + ",r=" + c.nonce
	return []byte(c.channel + c.auth)
}

// answer is the client's answer to the server's first message.
func (c *scramClient) answer(first []byte) ([]byte, error) {
	fields := strings.Split(string(first), ",")
	if len(fields) < 3 {
		return nil, fmt.Errorf("expected 3 fields in first %s server message, got %d", c.mechanism, len(fields))
	}
	nonce, ok1 := strings.CutPrefix(fields[0], "r=")
	text, ok2 := strings.CutPrefix(fields[1], "s=")
	count, ok3 := strings.CutPrefix(fields[2], "i=")
	n, err := strconv.Atoi(count)
	switch {
	case !ok1 || !ok2 || !ok3 || err != nil:
		return nil, fmt.Errorf("the first %s message of the server is malformed", c.mechanism)
	case n < c.least:
		return nil, fmt.Errorf("the server wants fewer than %d iterations", c.least)
	case n > maxIterations:
		return nil, fmt.Errorf("the server wants more than %d iterations", maxIterations)
	case !strings.HasPrefix(nonce, c.nonce) || nonce == c.nonce:
		return nil, fmt.Errorf("the server's %s nonce does not extend the client's", c.mechanism)
	}
	salt, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("the server's %s salt is not base64", c.mechanism)
	}
	if c.salted, err = pbkdf2.Key(c.hash, c.password, salt, n, c.hash().Size()); err != nil {
		return nil, err
	}
	final := "c=" + base64.StdEncoding.EncodeToString(append([]byte(c.channel), c.binding...)) + ",r=" + nonce
	c.auth += "," + string(first) + "," + final
	key := c.sum(c.salted, "Client Key")
	stored := c.hash()
	stored.Write(key)
	proof := c.sum(stored.Sum(nil), c.auth)
	subtle.XORBytes(proof, proof, key)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// finish looks at the server's last message, which proves that it knows the
// password, too.
func (c *scramClient) finish(last []byte) error {
	text, ok := strings.CutPrefix(string(last), "v=")
	switch want := base64.StdEncoding.EncodeToString(c.sum(c.sum(c.salted, "Server Key"), c.auth)); {
	case strings.HasPrefix(string(last), "e="):
		return fmt.Errorf("%s authentication error: %.100q", c.mechanism, last[2:])
	case !ok:
		return fmt.Errorf("the last %s message of the server is malformed", c.mechanism)
	case !hmac.Equal([]byte(text), []byte(want)):
		return fmt.Errorf("cannot authenticate %s server signature", c.mechanism)
	}
	return nil
}

func (c *scramClient) sum(key []byte, text string) []byte {
	mac := hmac.New(c.hash, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
