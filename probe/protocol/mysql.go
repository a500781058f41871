package protocol

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"github.com/go-sql-driver/mysql"
)

// MySQL makes the check for mysql:// and mariadb://[user[:password]@]host[:3306][/db]:
// an authenticated session and SELECT 1, or what ?query= asks, whose first
// value must be ?expect= where that is given. ?tls= is true, false, preferred
// or skip-verify, as the driver's own; ?socket= names a Unix socket in place
// of the host. What else a server can be asked for are mysqlDemands, and
// #ready=true asks what mysqladmin ping does.
func MySQL(t target.Target, o Options) (probe.Func, error) {
	ready, t, err := takeReady(t, "query", "expect", "writable", "innodb_initialized", "galera_online", "replication", "max_lag")
	if err != nil {
		return nil, err
	}
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	theirs := []string{"unix_socket", "user", "password", "ssl", "useSSL", "sslMode", "sslmode", "ssl-mode", "ssl_mode", "allowCleartextPasswords"}
	q, err := t.ParamsBeside(mysqlIgnored, theirs, "tls", "socket", "query", "expect", "writable", "innodb_initialized", "galera_online", "replication", "max_lag")
	if err != nil {
		return nil, err
	}
	m := &mysqlCheck{target: t, config: mysql.NewConfig(), options: o.TLS, ready: ready}
	cfg := m.config
	cfg.Net, cfg.Addr = "unix", cmp.Or(q.Get("socket"), q.Get("unix_socket"))
	if cfg.Addr == "" {
		all, err := t.Endpoints("3306")
		if err == nil && len(all) > 1 {
			err = errors.New("one host only")
		}
		if err != nil {
			return nil, err
		}
		cfg.Net, cfg.Addr = all[0].Network, all[0].Address
	}
	cfg.DBName = strings.Trim(t.URL.Path, "/")
	cfg.User, cfg.Passwd = q.Get("user"), q.Get("password")
	if u := t.URL.User; u != nil {
		cfg.User = cmp.Or(u.Username(), cfg.User)
		if pw, ok := u.Password(); ok {
			cfg.Passwd = pw
		}
	}
	if ready && cfg.User == "" {
		cfg.User = "healthcheck" // so that the server's log tells who was refused
	}
	cfg.Logger = &mysql.NopLogger{} // the driver's own writes to the standard error
	cfg.CheckConnLiveness = false   // for connections from a pool
	if cfg.AllowCleartextPasswords, err = switchParam("allowCleartextPasswords", q.Get("allowCleartextPasswords")); err != nil {
		return nil, err
	}
	if m.tls, err = mysqlTLSMode(q); err != nil {
		return nil, err
	}
	if m.demands, err = mysqlDemands(q); err != nil {
		return nil, err
	}
	return m.run, nil
}

// mysqlIgnored are parameters of clients' own that mean nothing to a session
// of one query: those of the Go driver, of JDBC, Prisma, SQLAlchemy, Rails and
// Symfony.
const mysqlIgnored = " charset collation parsetime loc timeout readtimeout writetimeout multistatements interpolateparams maxallowedpacket" +
	" allownativepasswords clientfoundrows columnswithalias checkconnliveness rejectreadonly connectionattributes sql_mode autocommit" +
	" serverversion connection_limit pool_timeout connect_timeout connecttimeout socket_timeout sockettimeout sslaccept sslidentity" +
	" statement_cache_size servertimezone useunicode characterencoding connectiontimezone allowpublickeyretrieval requiressl" +
	" verifyservercertificate autoreconnect zerodatetimebehavior rewritebatchedstatements cacheprepstmts useserverprepstmts" +
	" prepstmtcachesize prepstmtcachesqllimit tinyint1isbit uselegacydatetimecode nullcatalogmeanscurrent createdatabaseifnotexist" +
	" permitmysqlscheme reconnect encoding pool read_timeout write_timeout init_command local_infile binary_prefix use_unicode pool_size "

// mysqlTLSMode is what ?tls= says, or another client's name for it.
func mysqlTLSMode(q url.Values) (string, error) {
	mode := strings.ToLower(q.Get("tls"))
	for _, name := range []string{"ssl-mode", "ssl_mode", "sslMode", "sslmode"} { // MySQL's own, and JDBC's
		switch v := strings.ToLower(q.Get(name)); v {
		case "":
		case "disable", "disabled":
			mode = "false"
		case "prefer", "preferred", "trust":
			mode = "preferred"
		case "require", "required":
			mode = "skip-verify"
		case "verify_ca", "verify_identity", "verify-ca", "verify-full":
			mode = "true"
		default:
			return "", fmt.Errorf("%s=%q: want disabled, preferred, required, verify_ca or verify_identity", name, probe.Cut(v, 20))
		}
	}
	for _, name := range []string{"ssl", "useSSL"} {
		on, err := switchParam(name, q.Get(name))
		if err != nil {
			return "", err
		}
		if on && mode == "" {
			mode = "skip-verify"
		}
	}
	if !slices.Contains([]string{"", "false", "true", "preferred", "skip-verify"}, mode) {
		return "", fmt.Errorf("tls=%q: want true, false, preferred or skip-verify", probe.Cut(mode, 20))
	}
	return mode, nil
}

type mysqlCheck struct {
	target  target.Target
	config  *mysql.Config
	tls     string // ?tls=
	options target.TLSOptions
	demands []mysqlDemand
	ready   bool // no further than whether the server takes connections
}

// configure sets the mode of TLS, and reads the CA's file for it.
func (m *mysqlCheck) configure() (*mysql.Config, error) {
	cfg, o := m.config.Clone(), m.options
	switch m.tls {
	case "", "false":
		return cfg, nil
	case "preferred":
		cfg.AllowFallbackToPlaintext = true
		o.Insecure = true // who accepts no TLS at all need not verify it
	case "skip-verify":
		o.Insecure = true
	}
	c, err := o.Config(m.target.URL.Hostname())
	cfg.TLS = c
	return cfg, err
}

func (m *mysqlCheck) run(ctx context.Context) (probe.Finding, error) {
	var h *target.Conn
	cfg, err := m.configure()
	if err != nil {
		return probe.Finding{}, m.target.Errorf(probe.StageTLS, "%s", err)
	}
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		var err error
		if h, err = target.DialConn(ctx, network, addr); err != nil {
			return nil, err
		}
		return h, nil
	}
	logged := &mysqlLog{}
	cfg.Logger = logged
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return probe.Finding{}, m.target.Errorf(probe.StageRequest, "%s", probe.Clean(m.target.Secrets.Redact(err.Error())))
	}
	conn, err := connector.Connect(ctx)
	if said, answered := mysqlAnswered(err); m.ready && answered {
		return probe.Finding{Message: accepting(m.target, said)}, nil
	}
	if err != nil {
		return probe.Finding{}, m.fault(ctx, h, logged.behind(err))
	}
	defer conn.Close() // sends COM_QUIT: the server counts no aborted client
	if m.ready {
		return probe.Finding{Message: accepting(m.target, "")}, nil
	}
	for _, d := range m.demands {
		row, err := mysqlAsk(ctx, conn, d.query)
		if err != nil && ctx.Err() != nil {
			return probe.Finding{}, m.target.Errorf(probe.StageResponse, "the query hangs: %s", context.Cause(ctx))
		} else if err != nil {
			return probe.Finding{}, m.fault(ctx, h, logged.behind(err))
		}
		if err := d.judge(row); err != nil {
			return probe.Finding{}, m.target.Errorf(probe.StageStatus, "%s", probe.Ellipsis(probe.Clean(m.target.Secrets.Redact(err.Error())), 2*target.EchoBytes))
		}
	}
	return probe.Finding{Message: m.target.String() + ": session and query answered"}, nil
}

// mysqlAnswered says whether a login failed by the server's own word, and not
// since it shuts down. That it asks for a password in a way of its own is such a
// word, too. A connection that merely breaks off would count against this host
// (max_connect_errors): the login is therefore gone through with.
func mysqlAnswered(err error) (said string, answered bool) {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		_, what := mysqlStage(e.Number)
		return e.Message, what != mysqlShutdown
	}
	for _, plugin := range []error{mysql.ErrCleartextPassword, mysql.ErrOldPassword, mysql.ErrUnknownPlugin, mysql.ErrNativePassword} {
		if errors.Is(err, plugin) {
			return err.Error(), true
		}
	}
	return "", false
}

// mysqlLog keeps the last error that the driver logs: it returns 'invalid
// connection' in its place.
type mysqlLog struct {
	mu   sync.Mutex
	last error
}

func (l *mysqlLog) Print(v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range v {
		if err, ok := v.(error); ok {
			l.last = err
		}
	}
}

// behind is the cause of err, where it was logged.
func (l *mysqlLog) behind(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last != nil && (errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn)) {
		return l.last
	}
	return err
}

// firstColumn is the name under which mysqlAsk keeps the first value of a row
// once more: that of no column.
const firstColumn = ""

// mysqlAsk returns the first row of a query's answer by its columns' names,
// nil where there is none.
func mysqlAsk(ctx context.Context, conn driver.Conn, query string) (map[string]string, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	values := make([]driver.Value, len(rows.Columns()))
	if len(values) == 0 { // a statement that answers nothing
		return nil, nil
	}
	if err := rows.Next(values); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	row := map[string]string{}
	for i, name := range rows.Columns() {
		text := ""
		switch v := values[i].(type) {
		case nil:
			text = "NULL"
		case []byte:
			text = string(v)
		default:
			text = fmt.Sprint(v)
		}
		row[name] = text
		if i == 0 {
			row[firstColumn] = text
		}
	}
	return row, rows.Close()
}

func (m *mysqlCheck) fault(ctx context.Context, h *target.Conn, err error) error {
	t := m.target
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		stage, what := mysqlStage(e.Number)
		if e.Number == 1045 && (m.tls == "" || m.tls == "false") && h != nil && offersTLS(h.First) {
			// MariaDB answers so to a user who must use TLS and does not.
			what += " without TLS, which the server offers (?tls=true)"
		}
		return t.Errorf(stage, "%s: %s (%d)", what, t.Secrets.Quote(e.Message), e.Number)
	}
	if se, ok := errors.AsType[*probe.StageError](err); ok {
		return t.Errorf(se.Stage, "%s", se.Err)
	}
	_, badCert := errors.AsType[*tls.CertificateVerificationError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	switch {
	case errors.Is(err, mysql.ErrNoTLS):
		return t.Errorf(probe.StageTLS, "the server refuses TLS, which ?tls= asks for")
	case badCert, notTLS, alert:
		return t.Errorf(probe.StageTLS, "%s", target.TLSFault(ctx, err))
	case errors.Is(err, mysql.ErrCleartextPassword), errors.Is(err, mysql.ErrOldPassword), errors.Is(err, mysql.ErrUnknownPlugin), errors.Is(err, mysql.ErrNativePassword):
		return t.Errorf(probe.StageAuth, "%s", probe.Clean(err.Error()))
	}
	if h != nil {
		h.Known = len(h.First) > 4 && h.First[4] == 10 // a greeting of protocol 10
	}
	return sessionFault(t, target.ProtocolFault(ctx, t, "MySQL", h, err))
}

// offersTLS reads the capabilities in a server's greeting (protocol 10: header,
// version, id, salt, filler, the lower capabilities).
func offersTLS(greeting []byte) bool {
	const clientSSL = 0x0800
	if len(greeting) < 5 || greeting[4] != 10 {
		return false
	}
	end := bytes.IndexByte(greeting[5:], 0)
	at := 5 + end + 1 + 4 + 8 + 1
	return end >= 0 && at+2 <= len(greeting) && binary.LittleEndian.Uint16(greeting[at:])&clientSSL != 0
}

const mysqlShutdown = "shutting down"

// mysqlStage sorts the server's error numbers (MySQL and MariaDB reference
// manuals, server error codes).
func mysqlStage(number uint16) (probe.Stage, string) {
	switch number {
	case 1045, 1698, 1251:
		return probe.StageAuth, "authentication failed"
	case 1820, 1862:
		return probe.StageAuth, "the password has expired"
	case 3118, 4151:
		return probe.StageAuth, "the account is locked"
	case 1142, 1227:
		return probe.StageAuth, "not permitted"
	case 1044:
		return probe.StageAuth, "no access to the database"
	case 1049:
		return probe.StageRequest, "no such database"
	case 1040, 1203, 1226:
		return probe.StageResponse, "too many connections"
	case 1129, 1130:
		return probe.StageAuth, "the server refuses this host"
	case 1053, 1077, 1079:
		return probe.StageResponse, mysqlShutdown
	case 3159:
		return probe.StageTLS, "the server wants TLS"
	}
	return probe.StageResponse, "the server answered with an error"
}
