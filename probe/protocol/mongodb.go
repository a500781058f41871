package protocol

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// MongoDB makes the check for mongodb://[user:password@]host[:27017][,…][/[authdb]]
// and mongodb+srv://: the server says hello and is a writable primary, a
// secondary or an arbiter. With a user it authenticates first. ?tls=true asks
// for TLS; the parameters that mean nothing to one command are ignored.
//
// Of several hosts, or of those that an SRV record names, one must be what the
// application would pick: the primary, or what ?readPreference= allows.
//
// The whole driver would add 3.5 MB for one command; only its low-level
// encoding is used.
//
// #ready=true asks without its user, and takes a server of a replica set that
// is not initiated yet.
func MongoDB(t target.Target, o Options) (probe.Func, error) {
	ready, t, err := takeReady(t)
	if err != nil {
		return nil, err
	}
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	q, err := t.ParamsBeside(mongoIgnored, nil, mongoParams...)
	if err != nil {
		return nil, err
	}
	m := &mongoCheck{target: t, ready: ready, set: q.Get("replicaSet"), authDB: q.Get("authSource"), mechanism: strings.ToUpper(q.Get("authMechanism"))}
	if m.hosts, err = t.Endpoints("27017"); err != nil {
		return nil, err
	}
	if t.URL.Scheme == "mongodb+srv" {
		if len(m.hosts) > 1 || t.URL.Port() != "" {
			return nil, errors.New("mongodb+srv:// takes one name and no port")
		}
		m.srv = cmp.Or(q.Get("srvServiceName"), "mongodb")
	}
	if err := m.configure(q, o); err != nil {
		return nil, err
	}
	return m.run, nil
}

var mongoParams = []string{"tls", "ssl", "authSource", "authMechanism", "replicaSet", "readPreference", "tlsInsecure", "tlsAllowInvalidCertificates",

	"tlsCAFile", "tlsCertificateKeyFile", "srvServiceName"}

// mongoIgnored are options of MongoDB's connection strings that mean nothing
// to one command: write and read concerns, pools, timeouts, compression.
const mongoIgnored = " directconnection appname retrywrites retryreads w wtimeoutms wtimeout journal j readconcernlevel readpreferencetags" +
	" maxstalenessseconds connecttimeoutms sockettimeoutms serverselectiontimeoutms serverselectiontryonce localthresholdms heartbeatfrequencyms" +
	" servermonitoringmode maxpoolsize minpoolsize maxidletimems waitqueuetimeoutms waitqueuemultiple maxconnecting timeoutms compressors" +
	" zlibcompressionlevel uuidrepresentation loadbalanced srvmaxhosts authmechanismproperties gssapiservicename" +
	" tlsdisableocspendpointcheck tlsdisablecertificaterevocationcheck connect safe slaveok "

// configure reads the parameters; their names are the MongoDB URI's.
func (m *mongoCheck) configure(q url.Values, o Options) error {
	on := m.srv != "" // TLS, unless it is turned off
	insecure := false
	for name, to := range map[string]*bool{"tls": &on, "ssl": &on, "tlsInsecure": &insecure, "tlsAllowInvalidCertificates": &insecure} {
		if !q.Has(name) {
			continue
		}
		v, err := switchParam(name, q.Get(name))
		if err != nil {
			return err
		}
		*to = v
	}
	if on {
		m.tls = &o.TLS
		m.tls.Insecure = m.tls.Insecure || insecure
		m.tls.CACert = cmp.Or(q.Get("tlsCAFile"), m.tls.CACert)
		if file := q.Get("tlsCertificateKeyFile"); file != "" {
			m.tls.ClientCert, m.tls.ClientKey = file, ""
		}
	}
	if !slices.Contains([]string{"", "DEFAULT", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"}, m.mechanism) {
		return fmt.Errorf("authMechanism %q: want SCRAM-SHA-256, SCRAM-SHA-1 or PLAIN", probe.Cut(q.Get("authMechanism"), 40))
	}
	if m.mechanism == "DEFAULT" {
		m.mechanism = ""
	}
	pref := q.Get("readPreference")
	if !slices.Contains([]string{"", "primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"}, pref) {
		return fmt.Errorf("readPreference %q: want primary, primaryPreferred, secondary, secondaryPreferred or nearest", probe.Cut(pref, 40))
	}
	m.secondary = pref != "" && pref != "primary"
	// The server keeps users of its own in a database, those of LDAP nowhere
	// (MongoDB's specification of authentication).
	if m.authDB == "" && m.mechanism == "PLAIN" {
		m.authDB = "$external"
	}
	m.authDB = cmp.Or(m.authDB, strings.Trim(m.target.URL.Path, "/"), "admin")
	return nil
}

type mongoCheck struct {
	target    target.Target
	hosts     []target.Endpoint
	srv       string // the service of mongodb+srv; empty: none
	tls       *target.TLSOptions
	set       string // the replica set that it must belong to; empty: any
	authDB    string
	mechanism string // empty: what the server offers to the user
	secondary bool   // of several hosts a secondary will do
	ready     bool   // a server that takes connections will do
}

// mongoFault is a command's answer with ok: 0.
type mongoFault struct {
	code int64
	text string
}

func (e *mongoFault) Error() string { return e.text }

func (m *mongoCheck) run(ctx context.Context) (probe.Finding, error) {
	if m.srv != "" {
		if err := m.lookup(ctx); err != nil {
			return probe.Finding{}, err
		}
	}
	state, err := "", error(nil)
	if len(m.hosts) == 1 {
		state, err = m.ask(ctx, m.hosts[0])
	} else {
		state, err = m.askAll(ctx)
	}
	if err != nil {
		return probe.Finding{}, err
	}
	return probe.Finding{Message: fmt.Sprintf("%s: %s", m.target, state)}, nil
}

// lookup finds the hosts of mongodb+srv, and the options that its TXT record
// may hold: authSource, replicaSet and loadBalanced (MongoDB's specification
// of the initial seed list).
func (m *mongoCheck) lookup(ctx context.Context) error {
	name := m.target.URL.Hostname()
	_, records, err := target.Resolver.LookupSRV(ctx, m.srv, "tcp", name)
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return m.target.Errorf(probe.StageResolve, "%s", target.ResolveError(ctx, "_"+m.srv+"._tcp."+name, dns))
	} else if err != nil {
		return m.target.Errorf(probe.StageResolve, "%s", probe.Cause(ctx, err))
	}
	const most = 50 // a replica set has no more members
	m.hosts = nil
	for _, r := range records[:min(most, len(records))] {
		host := strings.TrimSuffix(r.Target, ".")
		m.hosts = append(m.hosts, target.Endpoint{Network: "tcp", Address: net.JoinHostPort(host, strconv.Itoa(int(r.Port))), Host: host})
	}
	texts, err := target.Resolver.LookupTXT(ctx, name)
	if err != nil || len(texts) != 1 {
		return nil // there need be none
	}
	given, _ := url.ParseQuery(m.target.URL.RawQuery)
	options, _ := url.ParseQuery(texts[0])
	if v := options.Get("authSource"); v != "" && !given.Has("authSource") {
		m.authDB = v
	}
	if v := options.Get("replicaSet"); v != "" && !given.Has("replicaSet") {
		m.set = v
	}
	return nil
}

// askAll asks all hosts at once, as a client that selects a server does, and
// is content with the first that serves what the application would pick.
func (m *mongoCheck) askAll(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type answer struct {
		state string
		err   error
		host  int
	}
	answers := make(chan answer, len(m.hosts)) // buffered: a late one must not leak
	for i, host := range m.hosts {
		go func() {
			state, err := m.ask(ctx, host)
			answers <- answer{state, err, i}
		}()
	}
	faults := make([]string, len(m.hosts))
	stage := probe.Stage("")
	for range m.hosts {
		a := <-answers
		if a.err == nil && (m.secondary || strings.HasPrefix(a.state, mongoPrimary) || strings.HasPrefix(a.state, mongoRouter)) {
			return a.state + " at " + m.hosts[a.host].Address, nil
		}
		if a.err != nil {
			a.state = strings.TrimPrefix(a.err.Error(), m.target.String()+": ")
			stage = probe.StageOf(a.err)
		}
		faults[a.host] = m.hosts[a.host].Address + ": " + a.state
	}
	what := "no primary among its hosts"
	if m.secondary {
		what = "none of its hosts serves"
	}
	return "", m.target.Errorf(cmp.Or(stage, probe.StageStatus), "%s: %s", what, strings.Join(faults, "; "))
}

// ask opens a session with one host and returns what it is.
func (m *mongoCheck) ask(ctx context.Context, at target.Endpoint) (string, error) {
	h, err := target.DialConn(ctx, at.Network, at.Address)
	if err != nil {
		return "", m.target.Errorf(probe.StageOf(err), "%s", err)
	}
	defer h.Close()
	defer target.InterruptWith(ctx, h)()
	s := mongoSession{conn: h}
	if m.tls != nil {
		if s.conn, err = m.tls.Handshake(ctx, h, at.Host); err != nil {
			return "", m.target.Errorf(probe.StageOf(err), "%s", err)
		}
		h = target.Over(s.conn)
		s.conn = h
	}
	question := bsoncore.NewDocumentBuilder().AppendInt32("hello", 1).AppendString("$db", "admin")
	user := m.target.URL.User
	if m.ready {
		user = nil
	}
	if user != nil && m.mechanism == "" {
		question.AppendString("saslSupportedMechs", m.authDB+"."+user.Username())
	}
	hello, err := s.command(question.Build())
	if err != nil {
		return "", m.fault(ctx, h, probe.StageResponse, "hello", err)
	}
	state, err := m.judge(hello)
	if err != nil {
		return "", m.target.Errorf(probe.StageStatus, "%s", err)
	}
	if user != nil && state != mongoArbiter { // which has no users
		if err := m.login(&s, m.pick(hello)); err != nil {
			return "", m.fault(ctx, h, probe.StageAuth, "authentication", err)
		}
	}
	return state, nil
}

// pick is the mechanism that the target names, or else the better one of those
// that the server offers to its user.
func (m *mongoCheck) pick(hello bsoncore.Document) string {
	if m.mechanism != "" {
		return m.mechanism
	}
	offered, ok := hello.Lookup("saslSupportedMechs").ArrayOK()
	if !ok {
		return "SCRAM-SHA-256"
	}
	values, _ := offered.Values()
	for _, v := range values {
		if text, _ := v.StringValueOK(); text == "SCRAM-SHA-256" {
			return text
		}
	}
	return "SCRAM-SHA-1"
}

// What a server is, as the report says it.
const (
	mongoPrimary = "writable primary"
	mongoRouter  = "mongos"
	mongoArbiter = "arbiter"
)

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
	return sessionFault(m.target, target.ProtocolFault(ctx, m.target, "MongoDB", h, err))
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
		state = mongoRouter
	case is("isWritablePrimary"):
		state = mongoPrimary
	case is("secondary"):
		state = "secondary"
	case is("arbiterOnly"):
		return mongoArbiter, nil
	case is("isreplicaset") && m.ready:
		return "accepting connections, and in no replica set yet", nil
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
