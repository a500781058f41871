package protocol

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// postgresDial opens the connections of one run.
type postgresDial struct {
	check *postgresCheck
	conns map[string]*target.Conn // by the address that pgconn asked for
	last  *target.Conn

	mu sync.Mutex
	// modes are how TLS was agreed on, by the address that was dialled in the
	// end: that of a request to call a query off.
	modes map[string]postgresTLS
	over  bool
}

// ownDial marks the context of the dials that are part of the check. A request
// to call a query off is none: pgconn sends it beside the check, also where
// it gives up a session that has not come about.
type ownDial struct{}

func (d *postgresDial) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	own := ctx.Value(ownDial{}) != nil
	mode := d.check.tls[addr]
	if !own {
		d.mu.Lock()
		if agreed, ok := d.modes[addr]; ok {
			mode = agreed
		}
		d.mu.Unlock()
	}
	conn, err := target.DialConn(ctx, network, d.check.hostaddr(addr))
	if err != nil {
		return nil, err
	}
	if own {
		d.mu.Lock()
		d.modes[conn.RemoteAddr().String()] = mode
		d.mu.Unlock()
		d.conns[addr], d.last = conn, conn
	}
	if network != "unix" && mode.config != nil {
		if conn, err = d.check.startTLS(ctx, conn, mode); err != nil {
			return nil, err
		}
	}
	if !own {
		return conn, nil
	}
	d.conns[addr], d.last = conn, conn
	return watched{conn.Conn, d, conn}, nil
}

// stop ends the recording of what comes, so that it can be looked at.
func (d *postgresDial) stop() {
	d.mu.Lock()
	d.over = true
	d.mu.Unlock()
}

// watched is a connection on which pgconn reads beside the check once it has
// given it up (asyncClose): what comes then is not recorded.
type watched struct {
	net.Conn
	dial *postgresDial
	to   *target.Conn
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.dial.mu.Lock()
	defer w.dial.mu.Unlock()
	if !w.dial.over {
		w.to.Note(p[:n], err)
	}
	return n, err
}

// hostaddr is where to dial for the host:port of the settings: libpq's
// hostaddr gives each host the address that it need not be looked up for.
func (p *postgresCheck) hostaddr(addr string) string {
	addrs := strings.Split(p.settings["hostaddr"], ",")
	for i, name := range strings.Split(p.settings["host"], ",") {
		if host, port, err := net.SplitHostPort(addr); err == nil && host == name && i < len(addrs) && addrs[i] != "" {
			return net.JoinHostPort(addrs[i], port)
		}
	}
	return addr
}

// sslRequest asks a PostgreSQL server for TLS (protocol 3.0, 55.7).
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

// startTLS negotiates TLS as libpq does. Its errors are StageErrors.
func (p *postgresCheck) startTLS(ctx context.Context, h *target.Conn, mode postgresTLS) (*target.Conn, error) {
	if !p.direct {
		stop := target.InterruptWith(ctx, h)
		_, err := h.Write(sslRequest)
		answer := make([]byte, 1) // not one byte more: it would be unencrypted
		if err == nil {
			_, err = h.Read(answer)
		}
		if err == nil && answer[0] != 'S' && answer[0] != 'N' {
			h.Read(make([]byte, target.FirstBytes-1))
			err = errors.New("neither yes nor no")
		}
		stop()
		switch {
		case err != nil:
			h.Close()
			return nil, target.ProtocolFault(ctx, p.target, "PostgreSQL", h, err)
		case answer[0] == 'N' && mode.optional:
			h.First = nil
			return h, nil
		case answer[0] == 'N':
			h.Close()
			return nil, &probe.StageError{Stage: probe.StageTLS, Err: errors.New("the server refuses TLS, which sslmode asks for")}
		}
	}
	conn, err := target.HandshakeConfig(ctx, h, mode.config)
	if err != nil && target.Recognize(h.First) != "" { // SSH begins with an S, too
		return nil, target.ProtocolFault(ctx, p.target, "PostgreSQL", h, err)
	}
	if err != nil {
		return nil, err
	}
	return target.Over(conn), nil
}
