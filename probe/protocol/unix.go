package protocol

import (
	"errors"
	"net/url"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Unix makes the check for unix:///path.sock:/health, HTTP over a Unix socket;
// without the second path it says and expects what the settings name, as TCP
// does. A socket of Linux's abstract namespace is unix://@name.
func Unix(t target.Target, o Options) (probe.Func, error) {
	if t.URL.Host != "" {
		return nil, errSocket
	}
	rawSock, reqPath, hasPath := strings.Cut(t.URL.EscapedPath(), ":")
	sock, err := url.PathUnescape(rawSock)
	if err != nil || len(sock) < 2 || sock[0] != '/' && sock[0] != '@' {
		return nil, errSocket
	}
	if t.URL.User != nil || !hasPath && t.URL.Query().Has("db") { // go-redis's, redis-py's
		return nil, &target.Misuse{Problem: "a unix target takes neither a user nor a database", Hint: redisSocketHint}
	}
	if !hasPath {
		s, err := newStream(t, o, "unix", sock)
		if err != nil {
			return nil, err
		}
		return s.run, nil
	}
	if !strings.HasPrefix(reqPath, "/") {
		return nil, errors.New("the path behind the socket must begin with /: unix:///path.sock:/health")
	}
	u := &url.URL{Scheme: "http", Host: "localhost", RawPath: reqPath, RawQuery: t.URL.RawQuery}
	if u.Path, err = url.PathUnescape(reqPath); err != nil {
		return nil, errors.New("the path behind the socket is malformed")
	}
	return newHTTP(t, o, u, sock)
}

var errSocket = errors.New("the socket's path must be absolute, unix:///path.sock:/health, or a name of the abstract namespace, unix://@name")
