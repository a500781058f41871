package protocol

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// What the checks that speak a protocol of their own have in common: the
// connection they dial, and the message for a server that speaks another one.

// early returns a context that ends a little before ctx does, so that there is
// time left to call a running query off and to close the session properly.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(end)
	const most = 100 * time.Millisecond
	return context.WithDeadline(ctx, end.Add(-min(most, left/5)))
}

// session makes the check of a protocol that is spoken by hand over one
// connection, which is cut when the context ends. What talk returns stands
// behind the target in the message; an error of its that is no StageError is a
// session that did not come about.
//
// Inlined at each of its calls it would take 8 KB more.
//
//go:noinline
func session(t target.Target, at target.Endpoint, tls *target.TLSOptions, protocol string, talk func(context.Context, *target.Conn) (string, error)) probe.Func {
	return func(ctx context.Context) (probe.Finding, error) {
		text := ""
		conn, err := target.DialConn(ctx, at.Network, at.Address)
		if err == nil {
			defer func() { conn.Close() }()
			defer target.InterruptWith(ctx, conn.Conn)()
			if tls != nil {
				err = startSessionTLS(ctx, conn, tls, at.Host)
			}
		}
		if err == nil {
			text, err = talk(ctx, conn)
		}
		if _, known := errors.AsType[*probe.StageError](err); err != nil && !known {
			if !conn.Known && len(conn.First) > 0 && conn.Ended == nil {
				hurry(ctx, conn)
				conn.Read(make([]byte, target.FirstBytes)) // more of it tells what the server speaks
			}
			err = target.ProtocolFault(ctx, t, protocol, conn, err)
		}
		if err != nil {
			return probe.Finding{}, t.Errorf(probe.StageOf(err), "%s", err)
		}
		return probe.Finding{Message: t.String() + ": " + probe.Clean(probe.Cut(text, 2*target.EchoBytes))}, nil
	}
}

// startSessionTLS puts TLS on top of a connection.
func startSessionTLS(ctx context.Context, conn *target.Conn, tls *target.TLSOptions, host string) error {
	secured, err := tls.Handshake(ctx, conn.Conn, host)
	if err == nil {
		*conn = *target.Over(secured)
	}
	return err
}

// refusal is the error of a server that said something against a session.
func refusal(stage probe.Stage, format string, args ...any) error {
	return &probe.StageError{Stage: stage, Err: fmt.Errorf(format, args...)}
}

// oneEndpoint is where the one host of a target listens, and, where secure, the
// TLS that it is spoken to with.
func oneEndpoint(t target.Target, o Options, port string, secure bool) (at target.Endpoint, tls *target.TLSOptions, err error) {
	if secure {
		tls = &o.TLS
	}
	all, err := t.Endpoints(port)
	if err == nil && len(all) > 1 {
		err = errors.New("one host only: a probe asks the server beside it")
	}
	if err != nil {
		return at, nil, err
	}
	return all[0], tls, t.NoSettings()
}

// bareEndpoint is oneEndpoint, in the clear, of a scheme whose target is its
// host alone.
func bareEndpoint(t target.Target, o Options, scheme, port string) (at target.Endpoint, err error) {
	if at, _, err = oneEndpoint(t, o, port, false); err != nil {
		return at, err
	}
	if strings.Trim(t.URL.Path, "/") != "" {
		return at, fmt.Errorf("a %s target has no path: %s://host:%s", scheme, scheme, port)
	}
	_, err = t.Params()
	return at, err
}

// userOf are the user and the password of a target's URL.
func userOf(t target.Target) (user, pw string) {
	if u := t.URL.User; u != nil {
		pw, _ = u.Password()
		user = u.Username()
	}
	return user, pw
}

// sessionFault is a StageError with the target before it.
func sessionFault(t target.Target, err error) error {
	return t.Errorf(probe.StageOf(err), "%s", err)
}

// switchParam reads a yes-or-no query parameter.
func switchParam(name, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "", "false", "0", "disable", "no":
		return false, nil
	case "true", "1", "require", "yes":
		return true, nil
	}
	return false, fmt.Errorf("%s=%q is neither true nor false", name, probe.Cut(value, 20))
}
