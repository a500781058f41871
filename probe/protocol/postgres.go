package protocol

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"github.com/jackc/pgx/v5/pgconn"
)

// Postgres makes the check for postgres://[user[:password]@]host[:5432][/db]:
// an authenticated session and SELECT 1, or what ?query= asks. The other
// parameters are libpq's: sslmode, sslrootcert, target_session_attrs …
//
// A query that hangs is called off shortly before the deadline, so that a
// failing server does not collect a session per probe.
func Postgres(t target.Target, o Options) (probe.Func, error) {
	query := t.URL.Query().Get("query")
	if query == "" {
		query = "SELECT 1"
	}
	return newPostgres(t, o, []string{"query"}, query, nil)
}

// Pgvector makes the check for pgvector://…[?table=[schema.]name]: Postgres,
// the extension vector is installed, and the table answers.
func Pgvector(t target.Target, o Options) (probe.Func, error) {
	query := "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
	table := t.URL.Query().Get("table")
	if table != "" {
		query += "; SELECT 1 FROM " + quoteTable(table) + " LIMIT 1"
	}
	return newPostgres(t, o, []string{"table"}, query, func(answers [][]string) (string, error) {
		if len(answers) == 0 || len(answers[0]) == 0 {
			return "", errors.New(`the extension "vector" is not installed in this database (CREATE EXTENSION vector)`)
		}
		text := "vector " + answers[0][0]
		if table != "" {
			text += ", table " + table + " answers"
		}
		return text, nil
	})
}

// quoteTable quotes schema.name as identifiers.
func quoteTable(table string) string {
	parts := strings.Split(table, ".")
	for i, p := range parts {
		parts[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return strings.Join(parts, ".")
}

type postgresCheck struct {
	target target.Target
	config *pgconn.Config
	query  string
	judge  func(answers [][]string) (string, error)
	tls    map[string]postgresTLS // by host:port
	direct bool                   // sslnegotiation=direct
}

// postgresTLS is how a host is to be spoken to; a nil config is in the clear.
type postgresTLS struct {
	config   *tls.Config
	optional bool // sslmode prefer and allow: in the clear where the server has no TLS
}

func newPostgres(t target.Target, o Options, own []string, query string, judge func([][]string) (string, error)) (probe.Func, error) {
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	u := *t.URL
	u.Scheme = "postgres"
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("the query is malformed")
	}
	for _, p := range own {
		q.Del(p)
	}
	if o.TLS.CACert != "" && !q.Has("sslrootcert") {
		q.Set("sslrootcert", o.TLS.CACert)
	}
	u.RawQuery = q.Encode()
	cfg, err := pgconn.ParseConfig(u.String())
	if err != nil {
		return nil, errors.New("not a PostgreSQL URL: " + t.Secrets.Redact(postgresParseFault(err)))
	}
	t.Secrets.Add(cfg.Password)
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "healthcheck"
	}
	p := &postgresCheck{target: t, config: cfg, query: query, judge: judge}
	p.ownTLS()
	return p.run, nil
}

// postgresParseFault keeps what is wrong and drops the URL that pgconn repeats.
func postgresParseFault(err error) string {
	text := err.Error()
	if _, after, ok := strings.Cut(text, "`: "); ok {
		text = after
	}
	return probe.Clean(probe.Cut(text, target.EchoBytes))
}

// ownTLS takes the negotiation of TLS over from pgconn, which tries sslmode
// prefer with two connections: here one serves for both answers.
func (p *postgresCheck) ownTLS() {
	p.direct = p.config.SSLNegotiation == "direct"
	p.tls = map[string]postgresTLS{}
	add := func(host string, port uint16, c *tls.Config) {
		addr := net.JoinHostPort(host, strconv.Itoa(int(port)))
		old, again := p.tls[addr]
		if !again {
			p.tls[addr] = postgresTLS{config: c}
			return
		}
		if old.config != nil {
			c = old.config
		}
		p.tls[addr] = postgresTLS{config: c, optional: true}
	}
	add(p.config.Host, p.config.Port, p.config.TLSConfig)
	seen := map[string]bool{net.JoinHostPort(p.config.Host, strconv.Itoa(int(p.config.Port))): true}
	var others []*pgconn.FallbackConfig
	for _, f := range p.config.Fallbacks {
		add(f.Host, f.Port, f.TLSConfig)
		addr := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port)))
		if !seen[addr] {
			others = append(others, &pgconn.FallbackConfig{Host: f.Host, Port: f.Port})
		}
		seen[addr] = true
	}
	p.config.TLSConfig, p.config.Fallbacks, p.config.SSLNegotiation = nil, others, ""
}

func (p *postgresCheck) run(ctx context.Context) (probe.Finding, error) {
	begin, cancel := early(ctx)
	defer cancel()
	var h *target.Conn
	used := postgresTLS{}
	cfg := p.config.Copy()
	// The names are resolved by dial, which knows what localhost means.
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		// The address of a request to cancel is the server's own.
		if mode, ok := p.tls[addr]; ok {
			used = mode
		}
		conn, err := target.DialConn(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		h = conn
		if network == "unix" || used.config == nil {
			return conn, nil
		}
		return p.startTLS(ctx, conn, used)
	}
	conn, err := pgconn.ConnectConfig(begin, cfg)
	if err != nil {
		return probe.Finding{}, p.fault(ctx, h, err)
	}
	answers, err := p.ask(begin, conn)
	if err != nil {
		// Nothing where pgconn is calling the query off already, which dials
		// once more: that is waited for.
		conn.Close(ctx)
		select {
		case <-conn.CleanupDone():
		case <-ctx.Done():
		}
		return probe.Finding{}, p.fault(ctx, h, err)
	}
	conn.Close(ctx)
	text := "session and query answered"
	if p.judge != nil {
		if text, err = p.judge(answers); err != nil {
			return probe.Finding{}, p.target.Errorf(probe.StageResponse, "%s", err)
		}
	}
	if conn.ParameterStatus("in_hot_standby") == "on" {
		text += ", a standby in recovery"
	}
	return probe.Finding{Message: fmt.Sprintf("%s: %s", p.target, probe.Clean(text))}, nil
}

// ask runs the query and keeps the first value of the first row of each of
// its results; the rest is read past, whatever it is.
func (p *postgresCheck) ask(ctx context.Context, conn *pgconn.PgConn) ([][]string, error) {
	results := conn.Exec(ctx, p.query)
	var answers [][]string
	for results.NextResult() {
		var first []string
		for r := results.ResultReader(); r.NextRow(); {
			if first == nil {
				for _, v := range r.Values()[:min(1, len(r.Values()))] {
					first = append(first, probe.Cut(string(v), target.EchoBytes))
				}
			}
		}
		answers = append(answers, first)
	}
	return answers, results.Close()
}

// sslRequest asks a PostgreSQL server for TLS (protocol 3.0, 55.7).
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

// startTLS negotiates TLS as libpq does. Its errors are StageErrors.
func (p *postgresCheck) startTLS(ctx context.Context, h *target.Conn, mode postgresTLS) (net.Conn, error) {
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
			return nil, &probe.StageError{Stage: probe.StageResponse, Err: target.ProtocolFault(ctx, p.target, "PostgreSQL", h, err)}
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
		return nil, &probe.StageError{Stage: probe.StageResponse, Err: target.ProtocolFault(ctx, p.target, "PostgreSQL", h, err)}
	}
	h.First = nil
	return conn, err
}

// fault puts a failure of pgconn into a stage and a message.
func (p *postgresCheck) fault(ctx context.Context, h *target.Conn, err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		stage, what := postgresStage(pg)
		if stage == probe.StageRequest && pg.Code == "57014" {
			what = "the query was called off before the deadline"
		}
		return probe.WithClass(p.target.Errorf(stage, "%s: %s (%s)", what, p.target.Secrets.Quote(pg.Message), probe.Clean(probe.Cut(pg.Code, 5))), postgresClass(pg.Code))
	}
	if se, ok := errors.AsType[*probe.StageError](err); ok {
		return p.target.Errorf(se.Stage, "%s", se.Err)
	}
	switch text := err.Error(); {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		// The context of run ends a little earlier than the check's own.
		<-ctx.Done()
		return p.target.Errorf(probe.StageResponse, "%s", target.ProtocolFault(ctx, p.target, "PostgreSQL", h, err))
	case strings.Contains(text, "read only connection"), strings.Contains(text, "ValidateConnect"):
		_, after, _ := strings.Cut(text, "ValidateConnect failed: ")
		return p.target.Errorf(probe.StageStatus, "not the session that target_session_attrs wants: %s", p.target.Secrets.Quote(after))
	case strings.Contains(text, "no password"), strings.Contains(text, "unknown authentication"), strings.Contains(text, "SASL"), strings.Contains(text, "scram"):
		return p.target.Errorf(probe.StageAuth, "%s", p.target.Secrets.Quote(lastLine(text)))
	}
	return p.target.Errorf(probe.StageResponse, "%s", target.ProtocolFault(ctx, p.target, "PostgreSQL", h, err))
}

// postgresClass is the class of an SQLSTATE, where its stage would suggest
// another: a server that starts up, or that lacks resources or broke down, and
// not a query that is wrong.
func postgresClass(code string) probe.Class {
	switch {
	case code == "57P03":
		return probe.Starting
	case strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "58"), strings.HasPrefix(code, "XX"):
		return probe.AsTarget
	}
	return ""
}

// lastLine is the innermost cause of an error that pgconn wraps in lines.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// postgresStage sorts SQLSTATEs (PostgreSQL, appendix A).
func postgresStage(e *pgconn.PgError) (probe.Stage, string) {
	switch {
	case strings.Contains(e.Message, "no encryption") || strings.Contains(e.Message, "SSL off"):
		return probe.StageTLS, "the server wants TLS, or refuses this client"
	case strings.HasPrefix(e.Code, "28"):
		return probe.StageAuth, "authentication failed"
	case e.Code == "3D000":
		return probe.StageRequest, "no such database"
	case e.Code == "57P03":
		return probe.StageResponse, "not accepting connections"
	case e.Code == "53300":
		return probe.StageResponse, "too many connections"
	case e.Code == "42P01":
		return probe.StageRequest, "no such table"
	case e.Code == "42501":
		return probe.StageRequest, "not permitted"
	}
	return probe.StageRequest, "the server answered with an error"
}
