package protocol

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Memcached makes the check for memcached://[user:password@]host[:11211]: the
// server says its version. A user logs in as a server with -Y wants it.
func Memcached(t target.Target, o Options) (probe.Func, error) {
	at, err := bareEndpoint(t, o, "memcached", "11211")
	if err != nil {
		return nil, err
	}
	user, pw := userOf(t)
	if t.URL.User != nil && (user == "" || pw == "" || strings.ContainsAny(user+pw, " \r\n")) {
		return nil, errors.New("memcached takes a user with a password, both without blanks: memcached://user:password@host")
	}
	return session(t, at, nil, "memcached", func(_ context.Context, conn *target.Conn) (string, error) {
		version, err := memcachedVersion(conn, user, pw)
		refused, isFault := errors.AsType[target.Fault](err)
		said := t.Secrets.Quote(string(refused))
		switch {
		case isFault && user != "" && strings.HasPrefix(string(refused), "CLIENT_ERROR"):
			return "", refusal(probe.StageAuth, "authentication failed: %s", said)
		case isFault && strings.Contains(string(refused), "unauthenticated"):
			return "", refusal(probe.StageAuth, "the server wants a user and a password: %s", said)
		case isFault && target.Recognize(conn.First) == "":
			return "", refusal(probe.StageResponse, "the server answered %s", said)
		}
		return "version " + version, err
	}), nil
}

// memcachedVersion asks for the version, and says goodbye. A Fault is what the
// server says against it (protocol.txt of memcached's).
func memcachedVersion(conn io.ReadWriter, user, pw string) (string, error) {
	ask := "version\r\nquit\r\n"
	if user != "" {
		token := user + " " + pw
		ask = fmt.Sprintf("set auth 0 0 %d\r\n%s\r\n", len(token), token) + ask
	}
	if _, err := io.WriteString(conn, ask); err != nil {
		return "", err
	}
	lines := bufio.NewReader(conn) // a line that is longer than its buffer is an error
	for {
		text, err := lines.ReadSlice('\n')
		line := strings.TrimSpace(string(text))
		version, ok := strings.CutPrefix(line, "VERSION ")
		switch word, _, _ := strings.Cut(line, " "); {
		case ok && err == nil:
			return version, nil
		case word == "ERROR", word == "CLIENT_ERROR", word == "SERVER_ERROR":
			return "", target.Fault(line)
		case err != nil:
			return "", err
		case word != "STORED":
			return "", errors.New("neither a version nor an error")
		}
	}
}
