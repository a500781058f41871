package protocol

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"github.com/jackc/pgx/v5/pgconn"
)

// What a URL of PostgreSQL means.

// postgresIgnored are parameters of libpq's and of other clients' that mean
// nothing to a session of one query: what keeps connections alive, pools,
// caches statements, or picks the client's own types. They are Prisma's,
// JDBC's, npgsql's, node-postgres's, asyncpg's, pgx's and Symfony's.
const postgresIgnored = " gssdelegation gsslib keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout sslcompression" +
	" sslcrl sslcrldir requirepeer load_balance_hosts ssl_min_protocol_version ssl_max_protocol_version sslkeylogfile" +
	" connection_limit pool_timeout socket_timeout pgbouncer statement_cache_size sslaccept sslidentity single_use_connections" +
	" prepared_statement_cache_size async_fallback command_timeout charset serverversion encoding pool_size pool_max_conns pool_min_conns" +
	" pool_max_conn_lifetime pool_max_conn_idle_time pool_health_check_period pool_max_conn_lifetime_jitter default_query_exec_mode" +
	" statement_cache_capacity description_cache_capacity binary_parameters disable_prepared_binary_result uselibpqcompat max_conns" +
	" logintimeout connecttimeout sockettimeout tcpkeepalive preparethreshold rewritebatchedinserts binarytransfer stringtype" +
	" assumeminserverversion preparedstatementcachequeries sslfactory defaultrowfetchsize autosave conn_max_age pool reconnect timeout "

// postgresSettings are the libpq settings that a URL means, with what other
// clients call by names of their own.
func postgresSettings(t target.Target, o Options, own []string) (map[string]string, error) {
	q, err := url.ParseQuery(t.URL.RawQuery)
	if err != nil {
		return nil, errors.New("the query is malformed")
	}
	settings := map[string]string{}
	var hosts, ports []string
	for host := range strings.SplitSeq(t.URL.Host, ",") {
		u := url.URL{Host: host}
		hosts, ports = append(hosts, u.Hostname()), append(ports, u.Port())
	}
	settings["host"], settings["port"] = strings.Join(hosts, ","), strings.Join(ports, ",")
	settings["dbname"] = strings.TrimPrefix(t.URL.Path, "/")
	if u := t.URL.User; u != nil {
		settings["user"] = u.Username()
		settings["password"], _ = u.Password()
	}
	for key, values := range q {
		value := values[len(values)-1]
		switch {
		case key == "writable":
			if on, _ := switchParam(key, value); on {
				settings["target_session_attrs"] = "read-write"
			}
		case slices.Contains(own, key) || target.IsIgnored(postgresIgnored, key) || key == "ssl" && q.Has("sslmode"):
		case key == "ready" || key == "password-file":
			return nil, fmt.Errorf("%s= stands behind #, not behind ?", key)
		case key == "database":
			settings["dbname"] = value
		case key == "ssl": // JDBC's, node-postgres's and asyncpg's
			if on, err := switchParam(key, value); err != nil {
				settings["sslmode"] = value
			} else if settings["sslmode"] = "disable"; on {
				settings["sslmode"] = "require"
			}
		case key == "sslmode" && value == "no-verify": // node-postgres's
			settings["sslmode"] = "require"
		case key == "gssencmode":
			if value == "require" {
				return nil, errors.New("gssencmode=require is not supported")
			}
		case key == "ApplicationName" || key == "fallback_application_name":
			if !q.Has("application_name") {
				settings["application_name"] = value
			}
		case key == "schema" || key == "currentSchema": // Prisma's and JDBC's
			// A pooler may refuse it: only a query of one's own needs it.
			if slices.ContainsFunc(own, q.Has) {
				settings["search_path"] = value
			}
		case strings.ContainsFunc(key, func(r rune) bool { return !target.IsLetter(r) && !target.IsDigit(r) && r != '_' && r != '.' }):
			return nil, fmt.Errorf("unknown parameter %q", probe.Cut(key, 40))
		default:
			settings[key] = value
		}
	}
	if o.TLS.CACert != "" && settings["sslrootcert"] == "" {
		settings["sslrootcert"] = o.TLS.CACert
	}
	if o.TLS.ClientCert != "" && settings["sslcert"] == "" {
		settings["sslcert"], settings["sslkey"] = o.TLS.ClientCert, cmp.Or(o.TLS.ClientKey, o.TLS.ClientCert)
	}
	if strings.Trim(settings["host"], ",") == "" {
		settings["host"] = settings["hostaddr"]
	}
	for _, name := range []string{"host", "port", "dbname", "user", "password"} {
		if strings.Trim(settings[name], ",") == "" {
			delete(settings, name) // PGHOST, PGUSER and others may say it
		}
	}
	return settings, nil
}

// parsePostgres hands settings to pgconn, which adds those of the environment
// and reads the files that they name.
func parsePostgres(t target.Target, settings map[string]string) (*pgconn.Config, error) {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if key != "hostaddr" {
			fmt.Fprintf(&text, "%s='%s' ", key, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(settings[key]))
		}
	}
	cfg, err := pgconn.ParseConfig(text.String())
	if err != nil {
		return nil, errors.New("not a PostgreSQL URL: " + t.Secrets.Redact(postgresParseFault(err)))
	}
	t.Secrets.Add(cfg.Password)
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "healthcheck"
	}
	return cfg, nil
}

// configure reads the files and prepares the session.
func (p *postgresCheck) configure() error {
	if err := p.readFiles(); err != nil {
		return err
	}
	var err error
	if p.config, err = parsePostgres(p.target, p.settings); err != nil {
		if strings.Contains(err.Error(), "unable to add CA") {
			return p.target.Errorf(probe.StageTLS, "sslrootcert %q: no certificate is found in it (nor by libpq, where a byte order mark stands before the first)", cmp.Or(p.settings["sslrootcert"], os.Getenv("PGSSLROOTCERT")))
		}
		return p.target.Errorf(probe.StageRequest, "%s", err)
	}
	p.ownTLS()
	return nil
}

// postgresParseFault keeps what is wrong and drops the URL that pgconn repeats.
func postgresParseFault(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+3:]
	}
	return probe.Clean(probe.Cut(text, target.EchoBytes))
}

// ownTLS takes the negotiation of TLS over from pgconn, which tries sslmode
// prefer with two connections: here one serves for both answers.
func (p *postgresCheck) ownTLS() {
	p.direct = p.config.SSLNegotiation == "direct"
	p.tls = map[string]postgresTLS{}
	add := func(host string, port uint16, c *tls.Config) {
		if c != nil {
			c.ServerName = cmp.Or(p.options.ServerName, c.ServerName)
			p.options.Expiry.Watch(c)
		}
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
