package protocol

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// NATS makes the check for nats://[user:password@ or token@]host[:4222]: INFO,
// CONNECT and PING. TLS is used where the server wants it; natss:// insists on it.
func NATS(t target.Target, o Options) (probe.Func, error) {
	at, err := bareEndpoint(t, o, "nats", "4222")
	if err != nil {
		return nil, err
	}
	n := &natsCheck{target: t, host: at.Host, tls: o.TLS, secure: t.URL.Scheme == "natss"}
	return session(t, at, nil, "NATS", n.talk), nil
}

type natsCheck struct {
	target target.Target
	host   string
	tls    target.TLSOptions
	secure bool // no session without TLS
}

// maxNATSLine bounds a line that a server sends, in bytes: INFO lists the
// cluster's addresses.
const maxNATSLine = 64 << 10

// natsInfo is what a server says of itself (NATS' client protocol).
type natsInfo struct {
	Version      string `json:"version"`
	TLSRequired  bool   `json:"tls_required"`
	TLSAvailable bool   `json:"tls_available"`
}

func (n *natsCheck) talk(ctx context.Context, conn *target.Conn) (string, error) {
	info, err := n.readInfo(conn)
	if err != nil {
		return "", err
	}
	conn.Known = true
	switch {
	case info.TLSRequired, n.secure && info.TLSAvailable:
		if err := startSessionTLS(ctx, conn, &n.tls, n.host); err != nil {
			return "", err
		}
	case n.secure:
		return "", refusal(probe.StageTLS, "the server has no TLS, which natss:// asks for")
	}
	return "PONG, version " + info.Version, n.ping(conn)
}

// readInfo reads the one line that a server begins with, and not a byte
// more: TLS may begin behind it.
func (n *natsCheck) readInfo(conn io.Reader) (info natsInfo, err error) {
	var line []byte
	one := make([]byte, 1)
	for !strings.HasSuffix(string(line[max(0, len(line)-1):]), "\n") {
		if len(line) >= maxNATSLine {
			return info, target.Fault("the server's INFO is too long")
		}
		if _, err := io.ReadFull(conn, one); err != nil {
			return info, err
		}
		line = append(line, one[0])
	}
	text, ok := strings.CutPrefix(string(line), "INFO ")
	if err := n.refused(string(line)); err != nil {
		return info, err
	}
	if !ok || json.Unmarshal([]byte(text), &info) != nil {
		return info, errors.New("no INFO")
	}
	return info, nil
}

// ping logs in and waits for the answer to a PING.
func (n *natsCheck) ping(conn io.ReadWriter) error {
	options := map[string]any{"verbose": false, "pedantic": false, "lang": "go", "version": "0", "name": "healthcheck", "protocol": 1}
	switch user, pw := userOf(n.target); {
	case user != "" && pw != "":
		options["user"], options["pass"] = user, pw
	case user+pw != "":
		options["auth_token"] = user + pw
	}
	login, err := json.Marshal(options)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s\r\nPING\r\n", login); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(conn, maxNATSLine)
	for {
		text, err := lines.ReadSlice('\n')
		line := string(text)
		if err := n.refused(line); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "PONG":
			return nil
		case "PING":
			if _, err := io.WriteString(conn, "PONG\r\n"); err != nil {
				return err
			}
		case "INFO", "+OK":
		default:
			return errors.New("neither PONG nor an error")
		}
	}
}

// refused is the error of a line with which the server refuses its client.
func (n *natsCheck) refused(line string) error {
	text, refused := strings.CutPrefix(line, "-ERR ")
	if !refused {
		return nil
	}
	stage, what := probe.StageResponse, "the server refuses"
	switch lower := strings.ToLower(text); {
	case strings.Contains(lower, "authorization"), strings.Contains(lower, "authentication"):
		stage, what = probe.StageAuth, "authentication failed"
	case strings.Contains(lower, "tls"):
		stage, what = probe.StageTLS, "the server wants TLS"
	}
	return refusal(stage, "%s: %s", what, n.target.Secrets.Quote(strings.Trim(strings.TrimSpace(text), "'")))
}
