package protocol

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
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

// Every value reaches pgconn as it is written.
func TestPostgresSettingsAreQuoted(t *testing.T) {
	t.Setenv("PGPASSFILE", os.DevNull)
	const odd = ` it's \ a "value" = x`
	tg, err := target.ParseTarget("postgres://h/db", testBase)
	must(t, err)
	cfg, err := parsePostgres(tg, map[string]string{"host": "h", "user": odd, "password": odd, "options": odd})
	must(t, err)
	if cfg.User != odd || cfg.Password != odd || cfg.RuntimeParams["options"] != odd {
		t.Errorf("%q %q %q", cfg.User, cfg.Password, cfg.RuntimeParams)
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

// What pgconn dials and reads beside the check leaves the record alone.
func TestPostgresBesideTheCheck(t *testing.T) {
	addr := rawServer(t, untilClosed)
	d := &postgresDial{check: &postgresCheck{}, conns: map[string]*target.Conn{}, modes: map[string]postgresTLS{}}
	own, err := d.dial(context.WithValue(t.Context(), ownDial{}, true), "tcp", addr)
	must(t, err)
	defer own.Close()
	record := d.last
	cancel, err := d.dial(t.Context(), "tcp", addr)
	must(t, err)
	defer cancel.Close()
	if record == nil || d.last != record || d.conns[addr] != record {
		t.Error("a request to call a query off is recorded")
	}
	here, there := net.Pipe()
	w := watched{here, d, record}
	for _, text := range []string{"a", "b"} {
		go io.WriteString(there, text)
		if _, err := w.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		d.stop()
	}
	if string(record.First) != "a" {
		t.Errorf("recorded %q", record.First)
	}
}
