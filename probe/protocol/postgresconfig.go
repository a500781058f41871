package protocol

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
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

// postgresConfig is what a session needs: settings with those of libpq's
// variables, files and defaults.
type postgresConfig struct {
	hosts                    []postgresHost
	user, password, database string
	params                   map[string]string // the server's own settings
	timeout                  time.Duration     // for one host; 0: none of its own
	attrs                    string            // target_session_attrs
	binding                  string            // channel_binding
	auth                     postgresAuth
	direct                   bool   // sslnegotiation=direct
	wantsCert                bool   // sslcertmode=require
	version                  uint32 // of the protocol, at most
	oldest                   uint32
}

// postgresHost is one place to dial.
type postgresHost struct {
	network, addr string
	dialled       string // in place of addr: libpq's hostaddr, which need not be looked up
	tls           postgresTLS
}

// postgresVariables are libpq's, and the settings that they hold.
var postgresVariables = strings.Fields(`PGHOST host PGPORT port PGDATABASE dbname PGUSER user PGPASSWORD password PGPASSFILE passfile
	PGAPPNAME application_name PGCONNECT_TIMEOUT connect_timeout PGSSLMODE sslmode PGSSLKEY sslkey PGSSLCERT sslcert PGSSLCERTMODE sslcertmode PGSSLSNI sslsni
	PGSSLROOTCERT sslrootcert PGSSLPASSWORD sslpassword PGSSLNEGOTIATION sslnegotiation PGTARGETSESSIONATTRS target_session_attrs PGSERVICE service
	PGSERVICEFILE servicefile PGTZ timezone PGOPTIONS options PGMINPROTOCOLVERSION min_protocol_version PGMAXPROTOCOLVERSION max_protocol_version
	PGCHANNELBINDING channel_binding PGREQUIREAUTH require_auth`)

// postgresOwn are the settings that are the client's own business; what is not
// among them is the server's.
const postgresOwn = " host hostaddr port dbname user password passfile connect_timeout sslmode sslkey sslcert sslcertmode sslrootcert sslnegotiation sslpassword sslsni" +
	" krbspn krbsrvname target_session_attrs service servicefile min_protocol_version max_protocol_version channel_binding require_auth "

// parsePostgres adds to settings what libpq would: its variables, a service's
// settings, its defaults.
func parsePostgres(t target.Target, settings map[string]string) (*postgresConfig, error) {
	cfg, err := newPostgresConfig(settings)
	if err != nil {
		return nil, fmt.Errorf("not a PostgreSQL URL: %s", probe.Clean(probe.Cut(t.Secrets.Redact(err.Error()), target.EchoBytes)))
	}
	t.Secrets.Add(cfg.password)
	return cfg, nil
}

func newPostgresConfig(given map[string]string) (*postgresConfig, error) {
	for key, value := range given {
		if key == "" || strings.Contains(key+value, "\x00") {
			return nil, errors.New("a setting without a name, or with a NUL byte")
		}
	}
	base := map[string]string{"application_name": "healthcheck"}
	if home := os.Getenv("HOME"); home != "" {
		postgresHome(base, home)
	}
	for i := 0; i < len(postgresVariables); i += 2 {
		if v := os.Getenv(postgresVariables[i]); v != "" {
			base[postgresVariables[i+1]] = v
		}
	}
	name, file := cmp.Or(given["service"], base["service"]), cmp.Or(given["servicefile"], base["servicefile"])
	if name != "" {
		if err := readService(base, file, name); err != nil {
			return nil, err
		}
	}
	settings := base
	maps.Copy(settings, given)
	if settings["application_name"] == "" {
		settings["application_name"] = "healthcheck"
	}
	c := &postgresConfig{user: settings["user"], password: settings["password"], database: settings["dbname"], params: map[string]string{}, attrs: settings["target_session_attrs"],
		binding: cmp.Or(settings["channel_binding"], "prefer"), direct: settings["sslnegotiation"] == "direct", wantsCert: settings["sslcertmode"] == "require"}
	if c.user == "" {
		if u, err := user.Current(); err == nil {
			c.user = u.Username
		}
	}
	for key, value := range settings {
		if !strings.Contains(postgresOwn, " "+key+" ") {
			c.params[key] = value
		}
	}
	for key, values := range map[string]string{"sslcertmode": "disable allow require", "target_session_attrs": "any read-write read-only primary standby prefer-standby",
		"channel_binding": "disable prefer require", "min_protocol_version": "3.0 3.2 latest", "max_protocol_version": "3.0 3.2 latest"} {
		if v := settings[key]; v != "" && !slices.Contains(strings.Fields(values), v) {
			return nil, fmt.Errorf("%s=%q is none of %s", key, probe.Cut(v, 40), strings.ReplaceAll(values, " ", ", "))
		}
	}
	var err error
	if text := settings["connect_timeout"]; text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("connect_timeout=%q is no number of seconds", probe.Cut(text, 40))
		}
		c.timeout = time.Duration(n) * time.Second
	}
	if c.oldest, c.version, err = postgresVersions(settings["min_protocol_version"], settings["max_protocol_version"]); err != nil {
		return nil, err
	}
	if c.auth, err = parsePostgresAuth(settings["require_auth"]); err != nil {
		return nil, err
	}
	if c.hosts, err = postgresHosts(settings); err != nil {
		return nil, err
	}
	if c.password == "" {
		c.password = c.passfile(settings["passfile"])
	}
	return c, nil
}

// postgresHome sets what libpq looks for in a user's home.
func postgresHome(settings map[string]string, home string) {
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	settings["passfile"], settings["servicefile"] = filepath.Join(home, ".pgpass"), filepath.Join(home, ".pg_service.conf")
	own := filepath.Join(home, ".postgresql")
	if cert, key := own+"/postgresql.crt", own+"/postgresql.key"; exists(cert) && exists(key) {
		settings["sslcert"], settings["sslkey"] = cert, key
	}
	if root := own + "/root.crt"; exists(root) {
		settings["sslrootcert"] = root
	}
}

// readService adds the settings of a service in a file of libpq's.
func readService(settings map[string]string, path, name string) error {
	text, err := target.ReadBounded(path, 1<<20)
	if err != nil {
		return fmt.Errorf("service file %q: %w", path, err)
	}
	found, in := false, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		key, value, isSetting := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			in = line[1:len(line)-1] == name
			found = found || in
		case !isSetting:
			return fmt.Errorf("service file %q: a line is no setting", path)
		case in:
			settings[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	if !found {
		return fmt.Errorf("service file %q has no service %q", path, probe.Cut(name, 40))
	}
	return nil
}

// postgresVersions are the least and the greatest version of the protocol that
// are wanted.
func postgresVersions(least, most string) (oldest, version uint32, err error) {
	number := func(text string, or uint32) uint32 {
		switch text {
		case "3.0":
			return 3 << 16
		case "3.2", "latest":
			return 3<<16 | 2
		}
		return or
	}
	oldest = number(least, 3<<16)
	if version = number(most, oldest); version < oldest {
		return 0, 0, errors.New("min_protocol_version is above max_protocol_version")
	}
	return oldest, version, nil
}

// postgresHosts are the places to dial, in the order of the settings.
func postgresHosts(settings map[string]string) ([]postgresHost, error) {
	names, ports := strings.Split(settings["host"], ","), strings.Split(settings["port"], ",")
	if len(ports) > 1 && len(ports) != len(names) {
		return nil, fmt.Errorf("%d ports for %d hosts", len(ports), len(names))
	}
	addrs := strings.Split(settings["hostaddr"], ",")
	var hosts []postgresHost
	for i, name := range names {
		port := cmp.Or(ports[min(i, len(ports)-1)], "5432")
		if !target.ValidPort(port) {
			return nil, errors.New("invalid port")
		}
		n, _ := strconv.Atoi(port) // as it is written in numbers: 05432
		port = strconv.Itoa(n)
		if name == "" {
			name = defaultPostgresHost()
		}
		h := postgresHost{network: "tcp", addr: net.JoinHostPort(name, port)}
		if strings.HasPrefix(name, "/") {
			h = postgresHost{network: "unix", addr: filepath.Join(name, ".s.PGSQL."+port)}
		} else {
			var err error
			if h.tls, err = newPostgresTLS(settings, name); err != nil {
				return nil, err
			}
		}
		if i < len(addrs) && addrs[i] != "" && h.network == "tcp" {
			h.dialled = net.JoinHostPort(addrs[i], port)
		}
		if !slices.ContainsFunc(hosts, func(o postgresHost) bool { return o.addr == h.addr }) {
			hosts = append(hosts, h)
		}
	}
	return hosts, nil
}

// defaultPostgresHost is where a server listens that nobody named: on the
// socket of Debian's or of PostgreSQL's own place.
func defaultPostgresHost() string {
	for _, dir := range []string{"/var/run/postgresql", "/tmp"} {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	return "localhost"
}

// passfile is the password that a file of libpq's has for the first host; empty
// where it has none.
func (c *postgresConfig) passfile(path string) string {
	text, err := target.ReadBounded(path, 1<<20)
	if err != nil {
		return ""
	}
	host, port, err := net.SplitHostPort(c.hosts[0].addr)
	if c.hosts[0].network == "unix" || err != nil {
		host, port = "localhost", c.hosts[0].addr[strings.LastIndexByte(c.hosts[0].addr, '.')+1:]
	}
	wanted := []string{host, port, c.database, c.user}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		// A backslash keeps what follows it from being a colon.
		fields := strings.Split(strings.NewReplacer(`\\`, "\r", `\:`, "\n").Replace(line), ":")
		if strings.HasPrefix(line, "#") || len(fields) != 5 {
			continue
		}
		fits := true
		for i := range fields {
			fields[i] = strings.NewReplacer("\r", `\`, "\n", ":").Replace(fields[i])
			fits = fits && (i == 4 || fields[i] == "*" || fields[i] == wanted[i])
		}
		if fits {
			return fields[4]
		}
	}
	return ""
}

// configure reads the files and prepares the session.
func (p *postgresCheck) configure() error {
	if err := p.readFiles(); err != nil {
		return err
	}
	var err error
	if p.config, err = parsePostgres(p.target, p.settings); err != nil {
		if strings.Contains(err.Error(), errNoCA.Error()) {
			return p.target.Errorf(probe.StageTLS, "sslrootcert %q: no certificate is found in it (nor by libpq, where a byte order mark stands before the first)", cmp.Or(p.settings["sslrootcert"], os.Getenv("PGSSLROOTCERT")))
		}
		return p.target.Errorf(probe.StageRequest, "%s", err)
	}
	for _, h := range p.config.hosts {
		if c := h.tls.config; c != nil {
			c.ServerName = cmp.Or(p.options.ServerName, c.ServerName)
			p.options.Expiry.Watch(c)
		}
	}
	return nil
}
