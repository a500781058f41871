package protocol

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// TCP makes the check for tcp://host:port and tls://host:port: it connects,
// speaks TLS where that is asked for, and says and expects what the settings
// send=, expect= and starttls= name.
func TCP(t target.Target, o Options) (probe.Func, error) {
	if err := hostAndPort(t); err != nil {
		return nil, err
	}
	s, err := newStream(t, o, "tcp", t.URL.Host)
	if err != nil {
		return nil, err
	}
	if t.URL.Scheme == "tls" && s.starttls != nil {
		return nil, errors.New("starttls= is for tcp://: tls:// speaks TLS from the beginning")
	}
	s.secure = t.URL.Scheme == "tls"
	return s.run, nil
}

// UDP makes the check for udp://host:port#send=TEXT: the server answers, with
// what expect= wants, if there is one. Without an answer nothing tells a server
// from a void.
func UDP(t target.Target, o Options) (probe.Func, error) {
	if err := hostAndPort(t); err != nil {
		return nil, err
	}
	s, err := newStream(t, o, "udp", t.URL.Host)
	switch {
	case err != nil:
		return nil, err
	case s.starttls != nil:
		return nil, errors.New("starttls= is for tcp://")
	case len(s.steps) == 0 || s.steps[0].expect != nil:
		return nil, errors.New("a udp target needs something to send: udp://host:port#send=TEXT,expect=REGEX")
	case s.steps[len(s.steps)-1].expect == nil:
		s.steps = append(s.steps, step{expect: anything()})
	}
	return s.run, nil
}

func hostAndPort(t target.Target) error {
	scheme := t.URL.Scheme
	switch {
	case t.URL.Hostname() == "" || t.URL.Port() == "":
		return fmt.Errorf("a %s target needs a host and a port: %s://host:port", scheme, scheme)
	case !target.ValidPort(t.URL.Port()):
		return errors.New("the port is not between 1 and 65535")
	case t.URL.Path != "" && t.URL.Path != "/":
		return fmt.Errorf("a %s target has no path: %s://host:port", scheme, scheme)
	}
	return nil
}

// stream is a conversation over a connection, none of whose words this program
// knows.
type stream struct {
	target        target.Target
	network, addr string
	tls           target.TLSOptions
	secure        bool                          // TLS from the beginning
	starttls      func(*dialogue, string) error // how TLS is asked for; nil: not
	steps         []step
}

func newStream(t target.Target, o Options, network, addr string) (*stream, error) {
	if _, err := t.Params(); err != nil {
		return nil, err
	}
	if err := t.NoUser(); err != nil {
		return nil, err
	}
	s := &stream{target: t, network: network, addr: addr, tls: o.TLS}
	for _, set := range t.Settings {
		var err error
		switch set.Key {
		case "send", "expect":
			var next step
			if next, err = parseStep(set); err == nil {
				s.steps = append(s.steps, next)
			}
		case "starttls":
			i := slices.IndexFunc(startTLSKinds, func(k startTLSKind) bool { return k.name == set.Value })
			if i < 0 || network == "unix" {
				return nil, fmt.Errorf("starttls=%q: want %s, over tcp://", probe.Cut(set.Value, 20), startTLSNames())
			}
			s.starttls = startTLSKinds[i].ask
		default:
			return nil, fmt.Errorf("a %s target takes no setting %q behind #: it knows send, expect and starttls, and what every target knows", t.URL.Scheme, probe.Cut(set.Key, 40))
		}
		if err != nil {
			// What is sent may hold a password, and is not repeated.
			return nil, fmt.Errorf("the setting %s behind # is not valid: %w", set.Key, err)
		}
	}
	return s, nil
}

func (s *stream) run(ctx context.Context) (probe.Finding, error) {
	conn, err := target.Dial(ctx, s.network, s.addr)
	if err != nil {
		return probe.Finding{}, sessionFault(s.target, err)
	}
	defer func() { conn.Close() }()
	stop := target.InterruptWith(ctx, conn)
	defer func() { stop() }()
	did := "connected"
	if s.starttls != nil {
		d := &dialogue{ctx: ctx, target: s.target, conn: conn}
		if err := s.starttls(d, "healthcheck"); err != nil {
			return probe.Finding{}, sessionFault(s.target, err)
		}
		if len(d.rest) > 0 {
			// Whoever may have put it in before the handshake cannot be told.
			return probe.Finding{}, s.target.Errorf(probe.StageTLS, "the server says more in the clear once TLS is agreed on: %s", s.target.Secrets.QuoteCut(string(d.rest)))
		}
	}
	if s.secure || s.starttls != nil {
		tc, err := s.tls.Handshake(ctx, conn, s.target.URL.Hostname())
		if err != nil {
			return probe.Finding{}, sessionFault(s.target, err)
		}
		stop()
		conn, stop = tc, target.InterruptWith(ctx, tc)
		did = "connected, TLS"
	}
	d := &dialogue{ctx: ctx, target: s.target, conn: conn, packets: s.network == "udp"}
	for _, next := range s.steps {
		if err := d.do(next); err != nil {
			return probe.Finding{}, sessionFault(s.target, err)
		}
	}
	if d.heard != "" {
		did = "answered " + d.heard
	}
	return probe.Finding{Message: fmt.Sprintf("%s: %s", s.target, did)}, nil
}
