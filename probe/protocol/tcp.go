package protocol

import (
	"context"
	"errors"
	"fmt"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// TCP makes the check for tcp://host:port: it connects, and closes.
func TCP(t target.Target, _ Options) (probe.Func, error) {
	if t.URL.Hostname() == "" || t.URL.Port() == "" {
		return nil, errors.New("a tcp target needs a host and a port: tcp://host:port")
	}
	if !target.ValidPort(t.URL.Port()) {
		return nil, errors.New("the port is not between 1 and 65535")
	}
	if t.URL.Path != "" && t.URL.Path != "/" {
		return nil, errors.New("a tcp target has no path: tcp://host:port")
	}
	if _, err := t.Params(); err != nil {
		return nil, err
	}
	if err := t.NoUser(); err != nil {
		return nil, err
	}
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	return connectOnly(t, "tcp", t.URL.Host), nil
}

// connectOnly is the check that is content with a connection.
func connectOnly(t target.Target, network, addr string) probe.Func {
	return func(ctx context.Context) (probe.Finding, error) {
		conn, err := target.Dial(ctx, network, addr)
		if err != nil {
			return probe.Finding{}, t.Errorf(probe.StageOf(err), "%s", err)
		}
		conn.Close()
		return probe.Finding{Message: fmt.Sprintf("%s: connected", t)}, nil
	}
}
