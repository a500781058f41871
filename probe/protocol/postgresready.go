package protocol

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// runReady asks what pg_isready does: whether a server lets sessions begin. It
// leaves before it would have to say a password, which no server logs; of
// several hosts one is enough.
func (p *postgresCheck) runReady(ctx context.Context) (probe.Finding, error) {
	if err := p.configure(); err != nil {
		return probe.Finding{}, err
	}
	hosts := p.config.hosts
	var stage probe.Stage
	var faults []string
	var last error
	for i, host := range hosts {
		said, err := p.greet(ctx, host, len(hosts)-i)
		if err == nil {
			return probe.Finding{Message: accepting(p.target, said)}, nil
		}
		stage, last = cmp.Or(stage, probe.StageOf(err)), err
		faults = append(faults, host.addr+": "+err.Error())
	}
	if len(hosts) == 1 {
		return probe.Finding{}, p.target.Errorf(stage, "%s", last)
	}
	return probe.Finding{}, p.target.Errorf(stage, "none of its hosts serves: %s", strings.Join(faults, "; "))
}

// errShare is one of several hosts that takes too long.
var errShare = errors.New("no answer within the time for one host")

// greet begins a session with one of so many hosts that are left, and returns
// what the server refuses it for, if it does. Its errors are StageErrors.
func (p *postgresCheck) greet(ctx context.Context, host postgresHost, left int) (string, error) {
	within := ctx
	if end, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeoutCause(ctx, time.Until(end)/time.Duration(left), errShare)
		defer cancel()
	}
	s := &postgresSession{check: p, host: host}
	if err := s.dial(within); err != nil {
		return "", err
	}
	conn := s.conn
	defer conn.Close()
	defer target.InterruptWith(within, conn)()
	user, database := p.config.user, p.config.database
	if p.settings["service"] == "" && os.Getenv("PGSERVICE") == "" {
		// No name of this system's user, which the server would log as unknown.
		user = cmp.Or(p.settings["user"], os.Getenv("PGUSER"), "postgres")
		database = cmp.Or(p.settings["dbname"], os.Getenv("PGDATABASE"), "postgres")
	}
	answer, err := postgresHello(conn, user, database)
	switch {
	case err == nil && answer == nil, asksForPassword(conn.First):
		return "", nil
	case err != nil && within.Err() != nil && ctx.Err() == nil:
		return "", &probe.StageError{Stage: probe.StageResponse, Err: errShare}
	case err != nil:
		return "", target.ProtocolFault(ctx, p.target, "PostgreSQL", conn, err)
	case answer.code == "57P03":
		return "", &probe.StageError{Stage: probe.StageResponse, Class: probe.Starting, Err: fmt.Errorf("not accepting connections: %s (57P03)", p.target.Secrets.Quote(answer.message))}
	}
	return answer.message, nil
}

// asksForPassword says whether an answer is a server's question for a password,
// be it in a way that nobody here knows.
func asksForPassword(first []byte) bool {
	return len(first) >= 9 && first[0] == 'R' && binary.BigEndian.Uint32(first[1:]) < maxPostgresHello
}

// maxPostgresHello bounds a server's first message, in bytes.
const maxPostgresHello = 64 << 10

// postgresHello sends the first message of a session and returns the error that
// answers it, if any.
func postgresHello(conn *target.Conn, user, database string) (*pgError, error) {
	start := pgStartup(3<<16, map[string]string{"user": user, "database": database, "application_name": "healthcheck"})
	if _, err := conn.Write(start); err != nil {
		return nil, err
	}
	msg, err := newPGReader(conn, maxPostgresHello).next()
	if err != nil {
		return nil, err
	}
	switch msg.kind {
	case pgErrorResponse:
		e := msg.fault()
		return &e, nil
	case pgAuthentication:
		if kind, _, err := msg.authentication(); err != nil || kind != pgAuthOK {
			return nil, err
		}
		_, err := conn.Write(pgSend('X', ""))
		return nil, err
	}
	return nil, errPostgres
}
