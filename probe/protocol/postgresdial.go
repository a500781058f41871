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
)

// postgresSession is a session with one host, from its connection on.
type postgresSession struct {
	check *postgresCheck
	host  postgresHost
	conn  *target.Conn
	in    *pgReader
	// status are the server's settings that it reports.
	status map[string]string
	// pid and key are what a request to call a query off names.
	pid    uint32
	key    []byte
	authed string // the way of authentication; empty for none
	bound  bool   // by SCRAM to the channel
	cert   bool   // the server took the client's certificate
}

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
		if pg, ok := errors.AsType[pgError](failures[len(failures)-1].err); ok && slices.Contains([]string{"28P01", "3D000", "42501"}, pg.code) {
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
	s.in = newPGReader(s.conn, maxPostgresMessage)
	c := s.check.config
	parameters := maps.Clone(c.params)
	parameters["user"] = c.user
	if c.database != "" {
		parameters["database"] = c.database
	}
	if _, err := s.conn.Write(pgStartup(c.version, parameters)); err != nil {
		return err
	}
	for accepted := false; ; {
		msg, err := s.in.next()
		if err != nil {
			return err
		}
		switch msg.kind {
		case pgAuthentication:
			var done bool
			done, err = s.authenticate(msg)
			accepted = accepted || done
		case pgReady:
			if !accepted {
				return target.Fault("the server is ready before it let the user in")
			}
			return s.judgeKind(attrs)
		case pgNegotiate:
			w := &wire{rest: msg.body}
			if newest := w.uint32(); c.oldest&0xffff > newest&0xffff {
				err = target.Fault("the server's protocol is older than min_protocol_version")
			}
		case pgKeyData:
			w := &wire{rest: msg.body}
			s.pid = w.uint32()
			s.key = slices.Clone(w.rest)
		default:
			err = s.other(msg)
		}
		if err != nil {
			return err
		}
	}
}

// other takes what may come at any time.
func (s *postgresSession) other(msg pgMessage) error {
	switch msg.kind {
	case pgParameter:
		name, value := msg.parameter()
		s.status[name] = value
	case pgErrorResponse:
		return msg.fault()
	case pgNotice, pgNotification:
	default:
		return errPostgres
	}
	return nil
}

// send sends one message.
func (s *postgresSession) send(kind byte, body string) error {
	_, err := s.conn.Write(pgSend(kind, body))
	return err
}

// authenticate answers a server's question for a password; done is a server
// that asks for nothing more.
func (s *postgresSession) authenticate(msg pgMessage) (done bool, err error) {
	c := s.check.config
	kind, data, err := msg.authentication()
	if err != nil {
		return false, err
	}
	way, text := "", ""
	switch kind {
	case pgAuthOK:
		return true, s.judgeLogin()
	case pgAuthCleartext:
		way, text = "password", c.password
	case pgAuthMD5:
		sum := func(text string) string {
			b := md5.Sum([]byte(text))
			return hex.EncodeToString(b[:])
		}
		way, text = "md5", "md5"+sum(sum(c.password+c.user)+string(data))
	case pgAuthSASL:
		if err := c.auth.check("scram-sha-256"); err != nil {
			return false, err
		}
		s.authed = "scram-sha-256"
		return false, s.scram(mechanisms(data))
	default:
		return false, authFault("the server asks for %s, which is not supported", authName(kind))
	}
	if c.binding == "require" {
		return false, authFault("channel binding is required, and the server asks for %s", way)
	}
	if err := c.auth.check(way); err != nil {
		return false, err
	}
	s.authed = way
	return false, s.send('p', text+"\x00")
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
	client := newScram(plain, saslPrep(c.password, true))
	client.least = 1 // the server's scram_iterations
	_, secure := s.conn.Conn.(*tls.Conn)
	if secure && c.binding != "disable" {
		client.binding = channelBinding(s.conn.Conn)
		switch {
		case !has:
			client.channel = "y,," // which says that nobody took the offer out on its way
		case client.binding != nil:
			client.mechanism, client.channel, s.bound = plus, "p=tls-server-end-point,,", true
		}
	}
	if !s.bound {
		client.binding = nil
		if c.binding == "require" {
			return authFault("channel binding is required, and not possible here")
		}
	}
	if err := s.send('p', pgSASLInitial(client.mechanism, client.begin(""))); err != nil {
		return err
	}
	first, err := s.saslData(pgAuthSASLContinue)
	if err != nil {
		return err
	}
	proof, err := client.answer(first)
	if err != nil {
		return authFault("%w", err)
	}
	if err := s.send('p', string(proof)); err != nil {
		return err
	}
	last, err := s.saslData(pgAuthSASLFinal)
	if err != nil {
		return err
	}
	if err := client.finish(last); err != nil {
		return authFault("%w", err)
	}
	return nil
}

// saslData is the server's part of the exchange.
func (s *postgresSession) saslData(want uint32) ([]byte, error) {
	msg, err := s.in.next()
	if err != nil {
		return nil, err
	}
	if msg.kind == pgErrorResponse {
		return nil, msg.fault()
	}
	kind, data, err := msg.authentication()
	if err == nil && kind != want {
		err = errPostgres
	}
	return slices.Clone(data), err
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
	if err := s.send('Q', query+"\x00"); err != nil {
		return nil, err
	}
	var first []string
	for {
		msg, err := s.in.next()
		if err != nil {
			return answers, cmp.Or(fault, err) // what the server said last is why
		}
		switch msg.kind {
		case pgDataRow:
			value, ok, err := msg.firstValue()
			if err != nil {
				return answers, err
			}
			if first == nil && ok {
				first = []string{probe.Cut(string(value[:min(len(value), 2*maxValue)]), maxValue)} // more than is shown: it is redacted first
			}
		case pgComplete, pgEmptyQuery:
			answers = append(answers, first)
			first = nil
		case pgCopyIn, pgCopyBoth:
			if err := s.send('f', "nothing to copy\x00"); err != nil {
				return answers, err
			}
		case pgDescription, pgCopyOut, pgCopyData, pgCopyDone:
		case pgReady:
			return answers, fault
		default:
			err := s.other(msg)
			e, isFault := err.(pgError)
			if err != nil && (!isFault || strings.EqualFold(cmp.Or(e.plain, e.severity), "FATAL")) {
				return answers, err
			}
			if err != nil {
				fault = err
			}
		}
	}
}

// close leaves, as a server wants it.
func (s *postgresSession) close() {
	s.send('X', "")
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
	s.send('X', "")
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
