package protocol

import (
	"cmp"
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"github.com/jackc/pgx/v5/pgproto3"
)

// postgresSession is a session with one host, from its connection on.
type postgresSession struct {
	check *postgresCheck
	host  postgresHost
	conn  *target.Conn
	front *pgproto3.Frontend
	// status are the server's settings that it reports.
	status map[string]string
	// pid and key are what a request to call a query off names.
	pid    uint32
	key    []byte
	authed string // the way of authentication; empty for none
	bound  bool   // by SCRAM to the channel
	cert   bool   // the server took the client's certificate
}

// pgError is an error that the server reports.
type pgError struct{ *pgproto3.ErrorResponse }

func (e pgError) Error() string { return e.Message + " (SQLSTATE " + e.Code + ")" }

// maxPostgresMessage bounds one message of a server, in bytes: a row among them.
const maxPostgresMessage = 64 << 20

// postgresFailure is a host that no session came about with.
type postgresFailure struct {
	addr string
	conn *target.Conn
	err  error
}

// connect tries the hosts one after the other, each within its share of the
// time: a silent one must leave some for those behind it. It returns the session
// that target_session_attrs wants, or what each host failed by.
func (p *postgresCheck) connect(ctx context.Context) (*postgresSession, []postgresFailure) {
	share := p.config.timeout
	if end, ok := ctx.Deadline(); ok && len(p.config.hosts) > 1 && share == 0 {
		share = time.Until(end) / time.Duration(len(p.config.hosts))
	}
	var failures []postgresFailure
	var other []postgresHost // which would do where none is preferred
	try := func(host postgresHost, attrs string) *postgresSession {
		within := ctx
		if share > 0 {
			var cancel context.CancelFunc
			within, cancel = context.WithTimeout(ctx, share)
			defer cancel()
		}
		s := &postgresSession{check: p, host: host, status: map[string]string{}}
		err := s.begin(within, attrs)
		if err == nil {
			return s
		}
		if s.conn != nil {
			s.conn.Close()
		}
		if err == errNotPreferred {
			other = append(other, host)
		}
		failures = append(failures, postgresFailure{host.addr, s.conn, err})
		return nil
	}
	for _, host := range p.config.hosts {
		if s := try(host, p.config.attrs); s != nil {
			return s, nil
		}
		// No other host would let this user in either.
		if pg, ok := errors.AsType[pgError](failures[len(failures)-1].err); ok && slices.Contains([]string{"28P01", "3D000", "42501"}, pg.Code) {
			return nil, failures
		}
	}
	if len(other) > 0 {
		if s := try(other[0], "any"); s != nil {
			return s, nil
		}
	}
	return nil, failures
}

// begin connects and logs in.
func (s *postgresSession) begin(ctx context.Context, attrs string) error {
	if err := s.dial(ctx); err != nil {
		return err
	}
	defer target.InterruptWith(ctx, s.conn)()
	s.front = pgproto3.NewFrontend(s.conn, s.conn)
	s.front.SetMaxBodyLen(maxPostgresMessage)
	c := s.check.config
	start := &pgproto3.StartupMessage{ProtocolVersion: c.version, Parameters: map[string]string{"user": c.user}}
	maps.Copy(start.Parameters, c.params)
	if c.database != "" {
		start.Parameters["database"] = c.database
	}
	if err := s.send(start); err != nil {
		return err
	}
	for accepted := false; ; {
		msg, err := s.front.Receive()
		if err != nil {
			return err
		}
		switch msg := msg.(type) {
		case *pgproto3.AuthenticationOk:
			accepted = true
			err = s.judgeLogin()
		case *pgproto3.BackendKeyData:
			s.pid, s.key = msg.ProcessID, slices.Clone(msg.SecretKey)
		case *pgproto3.ParameterStatus:
			s.status[msg.Name] = msg.Value
		case *pgproto3.NoticeResponse:
		case *pgproto3.NegotiateProtocolVersion:
			if c.oldest&0xffff > msg.NewestMinorProtocol {
				err = target.Fault("the server's protocol is older than min_protocol_version")
			}
		case *pgproto3.ErrorResponse:
			err = pgError{msg}
		case *pgproto3.ReadyForQuery:
			if !accepted {
				return target.Fault("the server is ready before it let the user in")
			}
			return s.judgeKind(attrs)
		case pgproto3.AuthenticationResponseMessage:
			err = s.authenticate(msg)
		default:
			err = fmt.Errorf("unexpected message %T", msg)
		}
		if err != nil {
			return err
		}
	}
}

func (s *postgresSession) send(msg pgproto3.FrontendMessage) error {
	s.front.Send(msg)
	return s.front.Flush()
}

// authenticate answers a server's question for a password.
func (s *postgresSession) authenticate(msg pgproto3.BackendMessage) error {
	c := s.check.config
	way, text := "", ""
	switch msg := msg.(type) {
	case *pgproto3.AuthenticationCleartextPassword:
		way, text = "password", c.password
	case *pgproto3.AuthenticationMD5Password:
		sum := func(text string) string {
			b := md5.Sum([]byte(text))
			return hex.EncodeToString(b[:])
		}
		way, text = "md5", "md5"+sum(sum(c.password+c.user)+string(msg.Salt[:]))
	case *pgproto3.AuthenticationSASL:
		if err := c.auth.check("scram-sha-256"); err != nil {
			return err
		}
		s.authed = "scram-sha-256"
		return s.scram(msg.AuthMechanisms)
	case *pgproto3.AuthenticationGSS:
		return authFault("the server asks for GSSAPI, which is not supported")
	default:
		return authFault("unknown authentication: %T", msg)
	}
	if c.binding == "require" {
		return authFault("channel binding is required, and the server asks for %s", way)
	}
	if err := c.auth.check(way); err != nil {
		return err
	}
	s.authed = way
	return s.send(&pgproto3.PasswordMessage{Password: text})
}

// scram logs in by SCRAM, bound to the TLS that it goes over where both sides
// can.
func (s *postgresSession) scram(offered []string) error {
	const plain, plus = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"
	c := s.check.config
	has := slices.Contains(offered, plus)
	if !slices.Contains(offered, plain) && !has {
		return authFault("the server takes no %s, but %s", plain, s.check.target.Secrets.Quote(strings.Join(offered, ", ")))
	}
	client := newScram(plain, saslPrep(c.password))
	client.least = 1 // the server's scram_iterations
	_, secure := s.conn.Conn.(*tls.Conn)
	if secure && c.binding != "disable" {
		client.channel = "y,,"
		if client.binding = channelBinding(s.conn.Conn); has && client.binding != nil {
			client.mechanism, client.channel, s.bound = plus, "p=tls-server-end-point,,", true
		}
	}
	if !s.bound {
		client.binding = nil
		if c.binding == "require" {
			return authFault("channel binding is required, and not possible here")
		}
	}
	if err := s.send(&pgproto3.SASLInitialResponse{AuthMechanism: client.mechanism, Data: client.begin("")}); err != nil {
		return err
	}
	first, err := s.saslData()
	if err != nil {
		return err
	}
	proof, err := client.answer(first)
	if err != nil {
		return authFault("%w", err)
	}
	if err := s.send(&pgproto3.SASLResponse{Data: proof}); err != nil {
		return err
	}
	last, err := s.saslData()
	if err != nil {
		return err
	}
	if err := client.finish(last); err != nil {
		return authFault("%w", err)
	}
	return nil
}

// saslData is the server's part of the exchange.
func (s *postgresSession) saslData() ([]byte, error) {
	msg, err := s.front.Receive()
	if err != nil {
		return nil, err
	}
	switch msg := msg.(type) {
	case *pgproto3.AuthenticationSASLContinue:
		return slices.Clone(msg.Data), nil
	case *pgproto3.AuthenticationSASLFinal:
		return slices.Clone(msg.Data), nil
	case *pgproto3.ErrorResponse:
		return nil, pgError{msg}
	}
	return nil, fmt.Errorf("unexpected message %T within SASL", msg)
}

// judgeLogin says whether the server has asked for what the settings want it
// to ask for.
func (s *postgresSession) judgeLogin() error {
	c := s.check.config
	switch {
	case c.wantsCert && !s.cert:
		return authFault("the server asks for no client certificate, which sslcertmode wants")
	case c.binding == "require" && !s.bound:
		return authFault("channel binding is required, and the server lets the user in without")
	case s.authed == "":
		return c.auth.check("none")
	}
	return nil
}

// errNotPreferred is a host that another is preferred to.
var errNotPreferred = errors.New("server is not in hot standby mode")

// judgeKind asks whether a session is what target_session_attrs wants.
func (s *postgresSession) judgeKind(attrs string) error {
	query, yes, no := "SELECT pg_is_in_recovery()", "", ""
	switch attrs {
	case "read-write":
		query, yes = "SHOW transaction_read_only", "read only connection"
	case "read-only":
		query, no = "SHOW transaction_read_only", "connection is not read only"
	case "primary":
		yes = "server is in standby mode"
	case "standby", "prefer-standby":
		no = errNotPreferred.Error()
	default:
		return nil
	}
	answers, err := s.ask(query)
	if err != nil {
		return err
	}
	fault := no
	if got := strings.Join(slices.Concat(answers...), ""); got == "on" || got == "t" {
		fault = yes
	}
	switch {
	case fault == "":
		return nil
	case attrs == "prefer-standby":
		return errNotPreferred
	}
	return &probe.StageError{Stage: probe.StageStatus, Err: fmt.Errorf("not the session that target_session_attrs or writable= wants: %q", fault)}
}

// maxValue bounds what is kept of a query's answer, in bytes.
const maxValue = 4 << 10

// ask runs the query and keeps the first value of the first row of each of its
// results; the rest is read past, whatever it is.
func (s *postgresSession) ask(query string) (answers [][]string, fault error) {
	if err := s.send(&pgproto3.Query{String: query}); err != nil {
		return nil, err
	}
	var first []string
	for {
		msg, err := s.front.Receive()
		if err != nil {
			return answers, err
		}
		switch msg := msg.(type) {
		case *pgproto3.DataRow:
			if first == nil && len(msg.Values) > 0 {
				first = []string{probe.Cut(string(msg.Values[0]), maxValue)} // more than is shown: it is redacted first
			}
		case *pgproto3.CommandComplete, *pgproto3.EmptyQueryResponse:
			answers = append(answers, first)
			first = nil
		case *pgproto3.CopyInResponse, *pgproto3.CopyBothResponse:
			if err := s.send(&pgproto3.CopyFail{Message: "nothing to copy"}); err != nil {
				return answers, err
			}
		case *pgproto3.ParameterStatus:
			s.status[msg.Name] = msg.Value
		case *pgproto3.ErrorResponse:
			if fault = (pgError{msg}); strings.EqualFold(msg.Severity, "FATAL") {
				return answers, fault
			}
		case *pgproto3.ReadyForQuery:
			return answers, fault
		}
	}
}

// close leaves, as a server wants it.
func (s *postgresSession) close() {
	s.send(&pgproto3.Terminate{})
	s.conn.Close()
}

// callOff asks the server over a connection of its own to end the query that it
// is at, and waits until it has heard that. The session's own connection is
// read to its end meanwhile: one that is closed with something unread looks
// broken to the server.
func (s *postgresSession) callOff(ctx context.Context) {
	beside := &postgresSession{check: s.check, host: s.host}
	if s.host.network == "tcp" {
		beside.host.dialled = s.conn.RemoteAddr().String() // a name may have several addresses
	}
	if beside.dial(ctx) != nil {
		return
	}
	conn := beside.conn
	defer conn.Close()
	defer target.InterruptWith(ctx, conn)()
	msg := binary.BigEndian.AppendUint32(nil, uint32(12+len(s.key)))
	msg = binary.BigEndian.AppendUint32(msg, 80877102) // CancelRequest
	msg = append(binary.BigEndian.AppendUint32(msg, s.pid), s.key...)
	if _, err := conn.Write(msg); err != nil {
		return
	}
	conn.Read(make([]byte, 1)) // it closes the connection
	s.conn.SetDeadline(time.Time{})
	defer target.InterruptWith(ctx, s.conn)()
	s.send(&pgproto3.Terminate{})
	io.Copy(io.Discard, s.conn)
}

// dial connects to the session's host, with TLS where that is wanted. Its errors
// are StageErrors; what the server said is in conn all the same.
func (s *postgresSession) dial(ctx context.Context) (err error) {
	s.conn, err = target.DialConn(ctx, s.host.network, cmp.Or(s.host.dialled, s.host.addr))
	if err != nil || s.host.tls.config == nil {
		return err
	}
	mode := s.host.tls
	if s.check.config.wantsCert {
		mode.config = withCert(mode.config, &s.cert)
	}
	secure, err := s.check.startTLS(ctx, s.conn, mode)
	if err == nil {
		s.conn = secure
	}
	return err
}

// sslRequest asks a PostgreSQL server for TLS (protocol 3.0, 55.7).
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

// startTLS negotiates TLS as libpq does. Its errors are StageErrors.
func (p *postgresCheck) startTLS(ctx context.Context, h *target.Conn, mode postgresTLS) (*target.Conn, error) {
	if !p.config.direct {
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
