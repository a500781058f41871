package protocol

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"github.com/lib/pq/scram"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
	"golang.org/x/text/secure/precis"
)

// MongoDB makes the check for mongodb://[user:password@]host[:27017][/[authdb]]:
// the server says hello and is a writable primary or a secondary. With a user
// it authenticates first (SCRAM-SHA-256, or SHA-1 where ?authMechanism= says
// so). ?tls=true asks for TLS.
//
// The whole driver would add 3.5 MB for one command; only its low-level
// encoding is used.
func MongoDB(t target.Target, o Options) (probe.Func, error) {
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	q, err := t.Params("tls", "ssl", "authSource", "authMechanism", "directConnection", "replicaSet", "appName")
	if err != nil {
		return nil, err
	}
	if strings.Contains(t.URL.Host, ",") {
		return nil, errors.New("one host only: a probe asks the server beside it, not the replica set")
	}
	m := &mongoCheck{target: t, set: q.Get("replicaSet"), authDB: q.Get("authSource"), mechanism: "SCRAM-SHA-256"}
	if m.addr, err = t.Addr("27017"); err != nil {
		return nil, err
	}
	if err := m.configure(q, o); err != nil {
		return nil, err
	}
	return m.run, nil
}

// configure reads the parameters; their names are the MongoDB URI's.
func (m *mongoCheck) configure(q url.Values, o Options) error {
	for _, name := range []string{"tls", "ssl"} {
		on, err := switchParam(name, q.Get(name))
		if err != nil {
			return err
		}
		if on {
			m.tls = &o.TLS
		}
	}
	switch strings.ToUpper(q.Get("authMechanism")) {
	case "", "SCRAM-SHA-256":
	case "SCRAM-SHA-1":
		m.mechanism = "SCRAM-SHA-1"
	case "PLAIN":
		m.mechanism = "PLAIN"
	default:
		return fmt.Errorf("authMechanism %q: want SCRAM-SHA-256, SCRAM-SHA-1 or PLAIN", probe.Cut(q.Get("authMechanism"), 40))
	}
	if m.authDB == "" {
		m.authDB = strings.Trim(m.target.URL.Path, "/")
	}
	if m.authDB == "" {
		m.authDB = "admin"
	}
	return nil
}

type mongoCheck struct {
	target    target.Target
	addr      string
	tls       *target.TLSOptions
	set       string // the replica set that it must belong to; empty: any
	authDB    string
	mechanism string
}

// mongoFault is a command's answer with ok: 0.
type mongoFault struct {
	code int64
	text string
}

func (e *mongoFault) Error() string { return e.text }

func (m *mongoCheck) run(ctx context.Context) (probe.Finding, error) {
	h, err := target.DialConn(ctx, "tcp", m.addr)
	if err != nil {
		return probe.Finding{}, m.target.Errorf(probe.StageOf(err), "%s", err)
	}
	defer h.Close()
	defer target.InterruptWith(ctx, h)()
	s := mongoSession{conn: h}
	if m.tls != nil {
		if s.conn, err = m.tls.Handshake(ctx, h, m.target.URL.Hostname()); err != nil {
			return probe.Finding{}, m.target.Errorf(probe.StageOf(err), "%s", err)
		}
		h.First = nil
	}
	hello, err := s.command(bsoncore.NewDocumentBuilder().AppendInt32("hello", 1).AppendString("$db", "admin").Build())
	if err != nil {
		return probe.Finding{}, m.fault(ctx, h, probe.StageResponse, "hello", err)
	}
	state, err := m.judge(hello)
	if err != nil {
		return probe.Finding{}, m.target.Errorf(probe.StageStatus, "%s", err)
	}
	if m.target.URL.User != nil {
		if err := m.login(&s); err != nil {
			return probe.Finding{}, m.fault(ctx, h, probe.StageAuth, "authentication", err)
		}
	}
	return probe.Finding{Message: fmt.Sprintf("%s: %s", m.target, state)}, nil
}

func (m *mongoCheck) fault(ctx context.Context, h *target.Conn, stage probe.Stage, what string, err error) error {
	if f, ok := errors.AsType[*mongoFault](err); ok {
		if f.code == 18 {
			what = "authentication failed"
		}
		return m.target.Errorf(stage, "%s: %s (%d)", what, m.target.Secrets.Quote(f.text), f.code)
	}
	if errors.Is(err, errScram) {
		return m.target.Errorf(probe.StageAuth, "%s", m.target.Secrets.Quote(err.Error()))
	}
	return m.target.Errorf(probe.StageResponse, "%s", target.ProtocolFault(ctx, m.target, "MongoDB", h, err))
}

// judge reads the answer to hello.
func (m *mongoCheck) judge(hello bsoncore.Document) (string, error) {
	is := func(key string) bool { v, ok := hello.Lookup(key).BooleanOK(); return ok && v }
	text := func(key string) string { v, _ := hello.Lookup(key).StringValueOK(); return v }
	set := text("setName")
	if m.set != "" && set != m.set {
		return "", probe.WithClass(fmt.Errorf("it belongs to the replica set %s, want %q", m.target.Secrets.Quote(set), m.set), probe.Config)
	}
	state := ""
	switch {
	case text("msg") == "isdbgrid":
		state = "mongos"
	case is("isWritablePrimary"):
		state = "writable primary"
	case is("secondary"):
		state = "secondary"
	case is("isreplicaset"):
		return "", probe.WithClass(errors.New("the replica set is not initiated"), probe.Config)
	default:
		return "", probe.WithClass(errors.New("neither a writable primary nor a secondary: starting up, in recovery, or out of its set"), probe.Starting)
	}
	if set != "" {
		state += " of " + probe.Clean(probe.Cut(set, 60))
	}
	return state, nil
}

// errScram is a server that does not prove that it knows the password.
var errScram = errors.New("SCRAM")

// login authenticates by SASL (MongoDB's specification of authentication).
func (m *mongoCheck) login(s *mongoSession) error {
	user := m.target.URL.User.Username()
	pw, _ := m.target.URL.User.Password()
	if m.mechanism == "PLAIN" {
		_, err := s.sasl(m.authDB, "saslStart", m.mechanism, nil, []byte("\x00"+user+"\x00"+pw))
		return err
	}
	var client *scram.Client
	if m.mechanism == "SCRAM-SHA-1" {
		// The server keeps this hash in place of the password.
		sum := md5.Sum([]byte(user + ":mongo:" + pw))
		client = scram.NewClient(sha1.New, user, hex.EncodeToString(sum[:]))
	} else {
		// The profile that succeeds SASLprep; a password that it does not
		// know is sent as it is, as pgconn does.
		if prepared, err := precis.OpaqueString.String(pw); err == nil {
			pw = prepared
		}
		client = scram.NewClient(sha256.New, user, pw)
	}
	return m.converse(s, client)
}

// minIterations is the least that MongoDB's specification lets a client
// accept: fewer would give the password away to whoever poses as the server.
const minIterations = 4096

// converse is the exchange of SCRAM's messages: two answers of the server,
// and an empty round where it knows no skipEmptyExchange.
func (m *mongoCheck) converse(s *mongoSession, client *scram.Client) error {
	client.Step(nil)
	answer, err := s.sasl(m.authDB, "saslStart", m.mechanism, nil, client.Out())
	proven := false
	for rounds := 0; err == nil && rounds < 4; rounds++ {
		_, data, _ := answer.Lookup("payload").BinaryOK()
		done, _ := answer.Lookup("done").BooleanOK()
		if !proven {
			if n, ok := iterations(data); rounds == 0 && ok && n < minIterations {
				return fmt.Errorf("%w: the server wants fewer than %d iterations", errScram, minIterations)
			}
			proven = client.Step(data)
			if err := client.Err(); err != nil {
				return fmt.Errorf("%w: %s", errScram, strings.ReplaceAll(err.Error(), "SCRAM-SHA-256", m.mechanism))
			}
		}
		if done {
			break
		}
		id := answer.Lookup("conversationId")
		answer, err = s.sasl(m.authDB, "saslContinue", "", &id, client.Out())
	}
	if err == nil && !proven {
		err = fmt.Errorf("%w: the server did not prove that it knows the password", errScram)
	}
	return err
}

// iterations is the count that a server's first message (RFC 5802, 7) asks
// for, zero where it is no number.
func iterations(first []byte) (n int, ok bool) {
	_, count, ok := strings.Cut(string(first), ",i=")
	n, _ = strconv.Atoi(count)
	return n, ok
}

// mongoSession speaks OP_MSG (MongoDB's wire protocol).
type mongoSession struct {
	conn net.Conn
	id   uint32
}

const (
	opMsg = 2013
	// maxMongoReply bounds an answer, in bytes; hello's is under 2 KiB.
	maxMongoReply = 1 << 20
)

func (s *mongoSession) sasl(db, command, mechanism string, id *bsoncore.Value, payload []byte) (bsoncore.Document, error) {
	b := bsoncore.NewDocumentBuilder().AppendInt32(command, 1)
	if mechanism != "" {
		b.AppendString("mechanism", mechanism)
		b.AppendDocument("options", bsoncore.NewDocumentBuilder().AppendBoolean("skipEmptyExchange", true).Build())
	}
	if id != nil {
		b.AppendValue("conversationId", *id)
	}
	return s.command(b.AppendBinary("payload", 0, payload).AppendString("$db", db).Build())
}

// command sends one command and returns its answer, or a mongoFault.
func (s *mongoSession) command(doc bsoncore.Document) (bsoncore.Document, error) {
	s.id++
	msg := make([]byte, 16, 21+len(doc))
	binary.LittleEndian.PutUint32(msg[4:], s.id)
	binary.LittleEndian.PutUint32(msg[12:], opMsg)
	msg = append(msg, 0, 0, 0, 0, 0) // no flags; one section of kind 0
	msg = append(msg, doc...)
	binary.LittleEndian.PutUint32(msg, uint32(len(msg)))
	if _, err := s.conn.Write(msg); err != nil {
		return nil, err
	}
	head := make([]byte, 16)
	if _, err := io.ReadFull(s.conn, head); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head)
	if size < 16+5+5 || size > maxMongoReply || binary.LittleEndian.Uint32(head[12:]) != opMsg {
		return nil, errors.New("not an OP_MSG")
	}
	body := make([]byte, size-16)
	if _, err := io.ReadFull(s.conn, body); err != nil {
		return nil, err
	}
	return parseMongoReply(body)
}

// parseMongoReply reads the flags and the one section of an answer.
func parseMongoReply(body []byte) (bsoncore.Document, error) {
	if len(body) < 5 || body[4] != 0 {
		return nil, errors.New("not an OP_MSG of one section")
	}
	doc, _, ok := bsoncore.ReadDocument(body[5:])
	if !ok || doc.Validate() != nil {
		return nil, errors.New("not a BSON document")
	}
	if v, ok := doc.Lookup("ok").AsInt64OK(); ok && v == 1 {
		return doc, nil
	}
	code, _ := doc.Lookup("code").AsInt64OK()
	text, _ := doc.Lookup("errmsg").StringValueOK()
	return nil, &mongoFault{code, text}
}
