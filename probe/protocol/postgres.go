package protocol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Postgres makes the check for postgres://[user[:password]@]host[:5432][/db]:
// an authenticated session and SELECT 1, or what ?query= asks, whose last
// answer's first value must be ?expect= where that is given. ?writable=true
// wants a session that may write, ?replication=true a standby that receives
// from its primary, ?max_lag= one that is not further behind. The other
// parameters are libpq's: sslmode, sslrootcert, target_session_attrs …
// #ready=true asks what pg_isready does.
//
// A query that hangs is called off shortly before the deadline, so that a
// failing server does not collect a session per probe.
func Postgres(t target.Target, o Options) (probe.Func, error) {
	q, err := url.ParseQuery(t.URL.RawQuery)
	if err != nil {
		return nil, errors.New("the query is malformed (a ; itself is written %3B)")
	}
	query := cmp.Or(q.Get("query"), "SELECT 1")
	own := []string{"query", "expect", "writable", "replication", "max_lag"}
	if q.Has("expect") && !q.Has("query") {
		return nil, errors.New("expect= needs a query= whose answer it is")
	}
	if _, err := switchParam("writable", q.Get("writable")); err != nil {
		return nil, err
	}
	replication, err := switchParam("replication", q.Get("replication"))
	if err != nil {
		own = slices.DeleteFunc(own, func(name string) bool { return name == "replication" }) // libpq's replication=database
	}
	maxLag := time.Duration(-1)
	if text := q.Get("max_lag"); text != "" {
		if maxLag, err = time.ParseDuration(text); err != nil || maxLag < 0 {
			return nil, fmt.Errorf("max_lag=%q is not a duration such as 30s", probe.Cut(text, 20))
		}
		replication = true
	}
	if replication {
		query += "\n;" + standbyQuery
	}
	ready, t, err := takeReady(t, "query", "expect", "writable", "replication", "max_lag", "target_session_attrs")
	if err != nil {
		return nil, err
	}
	p, err := newPostgres(t, o, own, query, func(answers [][]string) (string, error) {
		text := "session and query answered"
		if replication {
			last := len(answers) - 1
			if err := judgeStandby(answers[last], maxLag); err != nil {
				return "", err
			}
			answers, text = answers[:last], text+", a standby that receives from its primary"
		}
		if !q.Has("expect") {
			return text, nil
		}
		got := []string(nil)
		if len(answers) > 0 {
			got = answers[len(answers)-1]
		}
		return text, expectAnswer(len(got) > 0, strings.Join(got, ""), q.Get("expect"))
	})
	switch {
	case err != nil:
		return nil, err
	case ready:
		return p.runReady, nil
	}
	return p.run, nil
}

// standbyQuery answers primary, gone (nothing is received), or how many
// seconds the standby is behind.
const standbyQuery = `SELECT CASE WHEN NOT pg_is_in_recovery() THEN 'primary' WHEN NOT EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 'gone'` +
	` WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN '0'` +
	` ELSE ceil(coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0))::text END`

// judgeStandby reads the answer to standbyQuery; a negative lag is any.
func judgeStandby(answer []string, maxLag time.Duration) error {
	text := strings.Join(answer, "")
	switch {
	case text == "primary":
		return errors.New("a primary, want a standby (replication=)")
	case text == "gone":
		return errors.New("a standby that receives nothing: its primary is gone, or refuses it")
	case maxLag < 0:
		return nil
	}
	if n, err := strconv.ParseFloat(text, 64); err != nil || n > maxLag.Seconds() {
		return fmt.Errorf("the standby is %q seconds behind, want at most %s", text, maxLag)
	}
	return nil
}

type postgresCheck struct {
	target   target.Target
	settings map[string]string // libpq's
	config   *postgresConfig
	query    string
	judge    func(answers [][]string) (string, error)
	options  target.TLSOptions // beside libpq's own
}

func newPostgres(t target.Target, o Options, own []string, query string, judge func([][]string) (string, error)) (*postgresCheck, error) {
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	settings, err := postgresSettings(t, o, own)
	if err != nil {
		return nil, err
	}
	p := &postgresCheck{target: t, settings: settings, query: query, judge: judge, options: o.TLS}
	if settings["service"] == "" && os.Getenv("PGSERVICE") == "" && !target.MayHang(postgresPaths(t)...) {
		// The words are judged now, the files when the check runs: one that
		// hangs must not hold up the program, and one that is missing is a
		// failed check.
		dry := maps.Clone(settings)
		for _, name := range postgresFiles {
			dry[name] = ""
		}
		dry["passfile"] = os.DevNull
		if _, err := parsePostgres(t, dry); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *postgresCheck) run(ctx context.Context) (probe.Finding, error) {
	if err := p.configure(); err != nil {
		return probe.Finding{}, err
	}
	begin, cancel := early(ctx)
	defer cancel()
	sess, failures := p.connect(begin)
	if sess == nil {
		return probe.Finding{}, p.connectFault(ctx, begin, failures)
	}
	stop := target.InterruptWith(begin, sess.conn)
	answers, err := sess.ask(p.query)
	stop()
	if err != nil {
		if begin.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			sess.callOff(ctx)
			sess.conn.Close()
			<-ctx.Done() // its cause says how long that was
			return probe.Finding{}, p.target.Errorf(probe.StageResponse, "the query hangs: %s", context.Cause(ctx))
		}
		sess.close()
		stage, fault := p.describe(ctx, begin, sess.conn, err)
		return probe.Finding{}, p.target.Errorf(stage, "%s", fault)
	}
	sess.close()
	text := "session and query answered"
	if p.judge != nil {
		if text, err = p.judge(answers); err != nil {
			return probe.Finding{}, p.target.Errorf(probe.StageStatus, "%s", err)
		}
	}
	if sess.status["in_hot_standby"] == "on" {
		text += ", a standby in recovery"
	}
	return probe.Finding{Message: fmt.Sprintf("%s: %s", p.target, probe.Clean(text))}, nil
}

// connectFault is the error of a session that did not come about; of several
// hosts it names each.
func (p *postgresCheck) connectFault(ctx, begin context.Context, failures []postgresFailure) error {
	if len(p.config.hosts) == 1 {
		stage, fault := p.describe(ctx, begin, failures[0].conn, failures[0].err)
		return p.target.Errorf(stage, "%s", fault)
	}
	first := probe.Stage("")
	var faults []string
	for _, f := range failures {
		stage, fault := p.describe(ctx, begin, f.conn, f.err)
		first = cmp.Or(first, stage)
		faults = append(faults, f.addr+": "+fault.Error())
	}
	return p.target.Errorf(first, "none of its hosts serves: %s", strings.Join(faults, "; "))
}

// describe puts a failure into a stage and a message. begin is the
// context that ends a little earlier than the check's own.
func (p *postgresCheck) describe(ctx, begin context.Context, h *target.Conn, err error) (probe.Stage, error) {
	if pg, ok := errors.AsType[pgError](err); ok {
		stage, what := postgresStage(pg)
		if stage == probe.StageRequest && pg.code == "57014" {
			what = "the query was called off before it ended"
		}
		err := fmt.Errorf("%s: %s (%s)", what, p.target.Secrets.Quote(pg.message), probe.Clean(probe.Cut(pg.code, 5)))
		return stage, probe.WithClass(err, postgresClass(pg.code))
	}
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
	se, staged := errors.AsType[*probe.StageError](err)
	if staged && !late {
		return se.Stage, se
	}
	if late {
		cause := errors.New("no answer within the time for one host (connect_timeout)")
		if begin.Err() != nil {
			<-ctx.Done()
			cause = context.Cause(ctx) // which says how long that was
		}
		if staged {
			text := strings.Replace(se.Error(), context.DeadlineExceeded.Error(), cause.Error(), 1)
			return se.Stage, &probe.StageError{Stage: se.Stage, Err: errors.New(text), Class: se.Class}
		}
		if begin.Err() == nil {
			return probe.StageResponse, cause
		}
	}
	fault := target.ProtocolFault(ctx, p.target, "PostgreSQL", h, err)
	return probe.StageOf(fault), fault
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

// postgresStage sorts SQLSTATEs (PostgreSQL, appendix A).
func postgresStage(e pgError) (probe.Stage, string) {
	switch {
	case strings.Contains(e.message, "no encryption") || strings.Contains(e.message, "SSL off"):
		return probe.StageTLS, "the server wants TLS, or refuses this client"
	case strings.HasPrefix(e.code, "28"):
		return probe.StageAuth, "authentication failed"
	case e.code == "3D000":
		return probe.StageRequest, "no such database"
	case e.code == "57P03":
		return probe.StageResponse, "not accepting connections"
	case e.code == "53300":
		return probe.StageResponse, "too many connections"
	case e.code == "42P01":
		return probe.StageRequest, "no such table"
	case e.code == "42501":
		return probe.StageRequest, "not permitted"
	}
	return probe.StageRequest, "the server answered with an error"
}
