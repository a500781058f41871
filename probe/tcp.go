package probe

import (
	"context"
	"errors"
	"fmt"
)

// TCP makes the check for tcp://host:port: it connects, and closes.
func TCP(t Target, _ HTTPOptions) (Func, error) {
	if t.URL.Hostname() == "" || t.URL.Port() == "" {
		return nil, errors.New("a tcp target needs a host and a port: tcp://host:port")
	}
	if !validPort(t.URL.Port()) {
		return nil, errors.New("the port is not between 1 and 65535")
	}
	if t.URL.Path != "" && t.URL.Path != "/" {
		return nil, errors.New("a tcp target has no path: tcp://host:port")
	}
	if _, err := t.params(); err != nil {
		return nil, err
	}
	if err := t.noSettings(); err != nil {
		return nil, err
	}
	return connectOnly(t, "tcp", t.URL.Host), nil
}

// connectOnly is the check that is content with a connection.
func connectOnly(t Target, network, addr string) Func {
	return func(ctx context.Context) (Finding, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return Finding{}, t.errorf(stageOf(err), "%s", err)
		}
		conn.Close()
		return Finding{Message: fmt.Sprintf("%s: connected", t)}, nil
	}
}
