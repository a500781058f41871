package protocol

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"github.com/jackc/pgx/v5/pgconn"
)

// Connection strings as the clients' own documentation writes them.
func TestPostgresSettings(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://u:p@h/db": "dbname=db host=h password=p user=u",
		"postgresql://u:p@h1:5433,h2/db?target_session_attrs=primary":                                              "dbname=db host=h1,h2 password=p port=5433, target_session_attrs=primary user=u",
		"postgresql://u@%2Fvar%2Frun%2Fpostgresql:5433/db":                                                         "dbname=db host=/var/run/postgresql port=5433 user=u",
		"postgresql:///db?host=/var/run/postgresql":                                                                "dbname=db host=/var/run/postgresql",
		"postgres://h/db?options=-c%20statement_timeout%3D1s":                                                      "dbname=db host=h options=-c statement_timeout=1s",
		"postgres://h/db?hostaddr=10.0.0.1":                                                                        "dbname=db host=h hostaddr=10.0.0.1",
		"postgres:///db?hostaddr=10.0.0.1":                                                                         "dbname=db host=10.0.0.1 hostaddr=10.0.0.1",
		"postgres://h/db?gssencmode=prefer&keepalives_idle=30&channel_binding=require&fallback_application_name=x": "application_name=x channel_binding=require dbname=db host=h",
		"postgresql://u:p@h:5432/db?schema=public&connection_limit=5&pgbouncer=true":                               "dbname=db host=h password=p port=5432 user=u",
		"postgresql://h/db?schema=app&query=SELECT+1":                                                              "dbname=db host=h search_path=app",
		"postgresql+asyncpg://h/db?ssl=verify-full&prepared_statement_cache_size=0":                                "dbname=db host=h sslmode=verify-full",
		"jdbc:postgresql://h:5432/db?user=u&password=p&ssl=true&currentSchema=x&ApplicationName=app":               "application_name=app dbname=db host=h password=p port=5432 sslmode=require user=u",
		"postgresql://h/db?serverVersion=16&charset=utf8":                                                          "dbname=db host=h",
		"postgres://h/db?sslmode=no-verify&ssl=true":                                                               "dbname=db host=h sslmode=require",
	} {
		tg, err := target.ParseTarget(in, testBase)
		must(t, err)
		got, err := postgresSettings(tg, Options{}, []string{"query", "expect"})
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		var text []string
		for _, k := range slices.Sorted(maps.Keys(got)) {
			text = append(text, k+"="+got[k])
		}
		if s := strings.Join(text, " "); s != want {
			t.Errorf("%s:\n got %s\nwant %s", in, s, want)
		}
		if _, err := New(tg, testOptions(t)); err != nil {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// Every value reaches the session as it is written.
func TestPostgresSettingsAreQuoted(t *testing.T) {
	t.Setenv("PGPASSFILE", os.DevNull)
	const odd = ` it's \ a "value" = x`
	tg, err := target.ParseTarget("postgres://h/db", testBase)
	must(t, err)
	cfg, err := parsePostgres(tg, map[string]string{"host": "h", "user": odd, "password": odd, "options": odd})
	must(t, err)
	if cfg.user != odd || cfg.password != odd || cfg.params["options"] != odd {
		t.Errorf("%q %q %q", cfg.user, cfg.password, cfg.params)
	}
}

// The flags' files are libpq's, where a URL names none of its own.
func TestPostgresTLSOfTheFlags(t *testing.T) {
	o := testOptions(t)
	o.TLS.CACert, o.TLS.ClientCert, o.TLS.ClientKey = "/ca", "/cert", "/key"
	for query, want := range map[string]string{"": "/ca /cert /key", "?sslcert=/own&sslkey=/ownkey": "/ca /own /ownkey", "?sslrootcert=system": "system /cert /key"} {
		tg, err := target.ParseTarget("postgres://u@h/db"+query, testBase)
		must(t, err)
		got, err := postgresSettings(tg, o, nil)
		if text := got["sslrootcert"] + " " + got["sslcert"] + " " + got["sslkey"]; err != nil || text != want {
			t.Errorf("%s: %s, %v, want %s", query, text, err, want)
		}
	}
	o.TLS.ClientKey = "" // in the same file
	tg, err := target.ParseTarget("postgres://u@h/db", testBase)
	must(t, err)
	if got, err := postgresSettings(tg, o, nil); err != nil || got["sslkey"] != "/cert" {
		t.Errorf("%q, %v", got, err)
	}
}

// Files are read when the check runs, and none can hold it up.
func TestPostgresFiles(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, syscall.Mkfifo(fifo, 0o600))
	for _, name := range []string{"sslrootcert", "sslcert", "sslkey", "passfile"} {
		for path, text := range map[string]string{fifo: "not a regular file", "/nonexistent/file": "no such file"} {
			if name == "passfile" && path != fifo {
				continue // libpq does without it
			}
			_, err := probeOnce(t, Postgres, fmt.Sprintf("postgres://u@127.0.0.1:1/db?sslmode=require&%s=%s", name, path), 10*time.Second)
			stage := probe.StageTLS
			if name == "passfile" {
				stage = probe.StageAuth
			}
			wantFailure(t, err, stage, name, text)
		}
	}
	marked := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(marked, []byte("\xef\xbb\xbf-----BEGIN CERTIFICATE-----\n"), 0o600))
	_, err := probeOnce(t, Postgres, "postgres://u@127.0.0.1:1/db?sslmode=verify-full&sslrootcert="+marked, 10*time.Second)
	wantFailure(t, err, probe.StageTLS, "sslrootcert", "byte order mark")
	t.Setenv("PGPASSFILE", fifo)
	_, err = probeOnce(t, Postgres, "postgres://u@127.0.0.1:1/db", 10*time.Second)
	wantFailure(t, err, probe.StageAuth, "passfile", "not a regular file")
}

// What pgconn, which libpq's settings are modelled on, makes of the same
// settings, variables and files.
func TestPostgresConfigIsLibpqs(t *testing.T) {
	home := t.TempDir()
	must(t, os.WriteFile(home+"/.pgpass", []byte("# a:b\nother:*:*:*:wrong\nh:5432:d\\:b:u\\\\x:p\\:w\nlocalhost:*:*:*:local\n*:*:*:u:any\nshort:line\n"), 0o600))
	must(t, os.WriteFile(home+"/.pg_service.conf", []byte("# x\n[other]\nuser=wrong\n[mine]\nhost = sh\nport=6000\ndbname=sd\nuser=su\noptions=-c a=b\n\n[last]\nhost=x\n"), 0o600))
	cert, key := pemFiles(t)
	for _, c := range []struct{ environ, settings string }{
		{"", "host=h"}, {"", "host=h|port=5433|dbname=db|user=u|password=p"}, {"", "host=h1,h2|port=1,2"}, {"", "host=h1,h2|port=5"}, {"", "host=h1,h2,h3|port=1,2"},
		{"", "host=h|port=05432"}, {"", "host=h|port=0"}, {"", "host=h|port=65536"}, {"", "host=h,h"}, {"", "host=::1"}, {"", "host=/run/x,h"}, {"", ""}, {"", "host=,h"},
		{"", "host=h|sslmode=disable"}, {"", "host=h|sslmode=allow"}, {"", "host=h|sslmode=prefer"}, {"", "host=h|sslmode=require"}, {"", "host=h|sslmode=verify-ca"},
		{"", "host=h|sslmode=verify-full"}, {"", "host=h|sslmode=maybe"}, {"", "host=h|sslmode="}, {"", "host=h|sslsni=0"}, {"", "host=1.2.3.4|sslmode=verify-full"},
		{"", "host=h|sslnegotiation=direct"}, {"", "host=h|sslmode=require|sslrootcert=" + cert}, {"", "host=h|sslrootcert=system"}, {"", "host=h|sslrootcert=" + key}, {"", "host=h|sslrootcert=/none"},
		{"", "host=h|sslcert=" + cert + "|sslkey=" + key}, {"", "host=h|sslcert=" + cert}, {"", "host=h|sslkey=" + key}, {"", "host=h|sslcertmode=disable|sslcert=" + cert + "|sslkey=" + key},
		{"", "host=h|sslcert=" + cert + "|sslkey=/none"}, {"", "host=h|sslcert=" + cert + "|sslkey=" + cert}, {"", "host=h|sslcertmode=require"}, {"", "host=h|sslcertmode=x"},
		{"", "host=h|connect_timeout=3"}, {"", "host=h|connect_timeout=-1"}, {"", "host=h|connect_timeout=x"}, {"", "host=h|connect_timeout=0"},
		{"", "host=h|target_session_attrs=read-write"}, {"", "host=h|target_session_attrs=prefer-standby"}, {"", "host=h|target_session_attrs=x"},
		{"", "host=h|channel_binding=require"}, {"", "host=h|channel_binding=x"}, {"", "host=h|require_auth=md5,password"}, {"", "host=h|require_auth=!md5,!none"}, {"", "host=h|require_auth=!md5,password"},
		{"", "host=h|require_auth=md5,md5"}, {"", "host=h|require_auth=x"}, {"", "host=h|min_protocol_version=3.2"}, {"", "host=h|max_protocol_version=latest"}, {"", "host=h|min_protocol_version=3.2|max_protocol_version=3.0"},
		{"", "host=h|max_protocol_version=2"}, {"", "host=h|min_protocol_version=latest|max_protocol_version=3.2"},
		{"", "host=h|options=-c x=y|search_path=a|timezone=UTC|krbsrvname=x"}, {"", "host=h|application_name=mine"},
		{"HOME", "host=h|dbname=d:b|user=u\\x"}, {"HOME", "host=/run/x|user=x"}, {"HOME", "host=other|user=u"}, {"HOME", "host=h|user=u|password=own"}, {"HOME", "host=none|user=v"},
		{"HOME PGSERVICE=mine", ""}, {"HOME PGSERVICE=mine", "host=h|user=u"}, {"HOME PGSERVICE=none", ""}, {"HOME", "service=mine|port=7"}, {"PGSERVICE=mine PGSERVICEFILE=" + home + "/.pg_service.conf PGUSER=eu", ""},
		{"PGSERVICE=mine PGSERVICEFILE=/none", ""}, {"HOME PGSERVICE=last", "user=u"},
		{"PGHOST=eh PGPORT=7 PGDATABASE=ed PGUSER=eu PGPASSWORD=ep PGAPPNAME=ea PGTZ=UTC PGOPTIONS=-c PGSSLMODE=require PGCONNECT_TIMEOUT=9 PGTARGETSESSIONATTRS=primary", ""},
		{"PGHOST=eh PGPORT=7 PGDATABASE=ed PGUSER=eu PGPASSWORD=ep", "host=h|port=8|dbname=d|user=u|password=p"}, {"PGHOST=a,b PGPORT=1,2", ""}, {"PGPORT=1,2", "host=h"},
	} {
		t.Run(c.environ+" "+c.settings, func(t *testing.T) {
			for i := 0; i < len(postgresVariables); i += 2 {
				t.Setenv(postgresVariables[i], "")
				os.Unsetenv(postgresVariables[i]) // which Setenv puts back
			}
			t.Setenv("HOME", "/nonexistent")
			for _, v := range strings.Fields(c.environ) {
				name, value, ok := strings.Cut(v, "=")
				if !ok {
					value = home
				}
				t.Setenv(name, value)
			}
			settings, text := map[string]string{}, ""
			for s := range strings.SplitSeq(c.settings, "|") {
				if name, value, ok := strings.Cut(s, "="); ok {
					settings[name] = value
					text += name + "='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "' "
				}
			}
			got, err := newPostgresConfig(settings)
			want, wantErr := pgconn.ParseConfig(text)
			if err != nil || wantErr != nil {
				if (err == nil) != (wantErr == nil) {
					t.Errorf("%v, want %v", err, wantErr)
				}
				return
			}
			if want.RuntimeParams["application_name"] == "" {
				want.RuntimeParams["application_name"] = "healthcheck"
			}
			if got.user != want.User || got.password != want.Password || got.database != want.Database || got.timeout != want.ConnectTimeout ||
				got.binding != want.ChannelBinding || got.direct != (want.SSLNegotiation == "direct") || got.wantsCert != (want.SSLCertMode == "require") || !maps.Equal(got.params, want.RuntimeParams) {
				t.Errorf("%+v\nwant %+v", got, want)
			}
			if a, b := describeHosts(got), describePgconn(want); a != b {
				t.Errorf("%s\nwant %s", a, b)
			}
		})
	}
}

// pemFiles are a certificate and its key.
func pemFiles(t *testing.T) (cert, key string) {
	pair, file := certificate(t, []string{"localhost"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	must(t, err)
	key = filepath.Join(t.TempDir(), "key.pem")
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return file, key
}

func describeTLS(c *tls.Config, verifies bool) string {
	if c == nil {
		return "in the clear"
	}
	return fmt.Sprintf("for %q, %t %t, %d certificates, authorities %t, %q", c.ServerName, c.InsecureSkipVerify, verifies, len(c.Certificates), c.RootCAs != nil, c.NextProtos)
}

func describeHosts(c *postgresConfig) (text string) {
	for _, h := range c.hosts {
		text += fmt.Sprintf("%s %s %t ", h.network, h.addr, h.tls.optional) + describeTLS(h.tls.config, h.tls.config != nil && h.tls.config.VerifyConnection != nil) + "; "
	}
	return text
}

// describePgconn is the same of pgconn's configuration, where a host that takes
// TLS or not is there twice, and one that is named twice, too. What the system's
// authorities are, crypto/tls knows by itself.
func describePgconn(c *pgconn.Config) (text string) {
	all := append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	seen := map[string]bool{}
	for _, h := range all {
		network, addr := pgconn.NetworkAddress(h.Host, h.Port)
		if seen[addr] {
			continue
		}
		seen[addr] = true
		var config *tls.Config
		clear := false
		for _, o := range all {
			if o.Host == h.Host && o.Port == h.Port {
				config, clear = cmp.Or(config, o.TLSConfig), clear || o.TLSConfig == nil
			}
		}
		if system, err := x509.SystemCertPool(); err == nil && config != nil && config.RootCAs != nil && config.RootCAs.Equal(system) {
			config = config.Clone()
			config.RootCAs = nil
		}
		text += fmt.Sprintf("%s %s %t ", network, addr, clear && config != nil) + describeTLS(config, config != nil && config.VerifyPeerCertificate != nil) + "; "
	}
	return text
}
