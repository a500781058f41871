package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const password = "hunter2@pw:/?x"

// The same in a URL.
const urlPassword = "hunter2%40pw%3A%2F%3Fx"

// postgresBin finds Debian's versioned directory.
func postgresBin(t *testing.T) string {
	t.Helper()
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no PostgreSQL: test.sh installs it")
	}
	return dirs[len(dirs)-1]
}

// pgVariant starts a server on a copy of a fresh cluster.
func pgVariant(t *testing.T, files map[string]string, conf string) *server {
	t.Helper()
	dir, cred := serverDir(t, "postgres")
	s := &server{dir: dir, port: freePort(t)}
	data := filepath.Join(dir, "data")
	pw := filepath.Join(dir, "pw")
	os.WriteFile(pw, []byte(password), 0o644)
	as(t, cred, dir, filepath.Join(postgresBin(t), "initdb"), "-D", data, "-U", "app", "-A", "scram-sha-256", "--pwfile", pw, "--no-sync", "-E", "UTF8", "--locale", "C")
	newPKI(t, dir, cred)
	f, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "\nfsync = off\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\nport = %s\nlog_min_messages = debug1\n%s\n", dir, s.port, conf)
	f.Close()
	for name, text := range files {
		path := filepath.Join(data, name)
		os.WriteFile(path, []byte(text), 0o600)
		os.Chown(path, int(cred.Uid), int(cred.Gid))
	}
	startServer(t, s, cred, nil, filepath.Join(postgresBin(t), "postgres"), "-D", data)
	return s
}

var postgres = once(func(t *testing.T) *server {
	s := pgVariant(t, map[string]string{"pg_hba.conf": "local all all scram-sha-256\nhostssl tlsdb all 127.0.0.1/32 scram-sha-256\nhost app,postgres,ro all 127.0.0.1/32 scram-sha-256\nhost nosuch all 127.0.0.1/32 scram-sha-256\n"},
		"ssl = on\nssl_cert_file = '../cert.pem'\nssl_key_file = '../key.pem'\n")
	s.untilHealthy(t, "postgres://app:"+urlPassword+"@"+s.addr()+"/postgres")
	for _, q := range []string{"CREATE DATABASE app", "CREATE DATABASE tlsdb", "CREATE DATABASE ro", "ALTER DATABASE ro SET default_transaction_read_only = on",
		"CREATE ROLE limited LOGIN PASSWORD 'hunter2x' CONNECTION LIMIT 0"} {
		psql(t, s, "postgres", q)
	}
	return s
})

// psql runs a statement through Debian's own client.
func psql(t *testing.T, s *server, db, query string) string {
	t.Helper()
	out, code := output(t, append(os.Environ(), "PGPASSWORD="+password), "psql", "-h", "127.0.0.1", "-p", s.port, "-U", "app", "-d", db, "-Atc", query)
	if code != 0 {
		t.Fatalf("%s: %s", query, out)
	}
	return strings.TrimSpace(out)
}

func TestPostgres(t *testing.T) {
	s := postgres(t)
	base := "postgres://app:" + urlPassword + "@" + s.addr()
	ca := "&sslrootcert=" + s.dir + "/ca.pem"
	want(t, base+"/app", 0, "session and query answered")
	want(t, base+"/app?sslmode=disable", 0)
	want(t, base+"/tlsdb?sslmode=verify-full"+ca, 0)
	want(t, "postgres://app:"+urlPassword+"@localhost:"+s.port+"/tlsdb?sslmode=verify-full"+ca, 0)
	want(t, base+"/app?sslmode=verify-full", 1, "certificate signed by an unknown authority")
	want(t, base+"/tlsdb?sslmode=disable", 1, "the server wants TLS", "no encryption")
	want(t, "postgres://app:hunter2wrong@"+s.addr()+"/app", 1, "authentication failed", `password authentication failed for user \"app\"`, "28P01")
	want(t, "postgres://limited:hunter2x@"+s.addr()+"/app", 1, "too many connections", "53300")
	want(t, base+"/nosuch", 1, "no such database", "3D000")
	want(t, base+"/ro?target_session_attrs=read-write", 1, "not the session that target_session_attrs or writable= wants")
	want(t, base+"/ro", 0)
	want(t, base+"/ro?writable=true", 1, "not the session that target_session_attrs or writable= wants")
	want(t, base+"/app?writable=true", 0)
	want(t, base+"/app?query=SELECT+nonsense", 1, "column", "42703")
	want(t, "pgvector://app:"+urlPassword+"@"+s.addr()+"/postgres", 1, `the extension "vector" is not installed`)
}

// Passwords are what PostgreSQL itself made of them, whatever they are.
func TestPostgresPasswords(t *testing.T) {
	s := postgres(t)
	for i, pw := range []string{"p\u00e4ss", "pa\u0308ss", "a\u00a0b", "a\u200bb", "a\u200cb", "\u00ad", "\u200b", "x\u0340", "\u1d2c", "\u2135a", "\u2168", "\u0627a", "\u0627\u0628", "\u0221\ufb01", "\U0001f600\ufb01", "a\x01\ufb01"} {
		role := fmt.Sprintf("odd%d", i)
		psql(t, s, "postgres", "CREATE ROLE "+role+" LOGIN PASSWORD '"+pw+"'")
		want(t, "postgres://"+role+":"+url.QueryEscape(pw)+"@"+s.addr()+"/app", 0, "session and query answered")
		want(t, "postgres://"+role+":"+url.QueryEscape(pw+"x")+"@"+s.addr()+"/app", 1, "authentication failed")
	}
}

// A server whose certificate no hash binds a login to, as one of Ed25519, lets
// the client in without.
func TestPostgresCertificateOfEd25519(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	s := pgVariant(t, map[string]string{"ed.pem": text("CERTIFICATE", der), "ed.key": text("PRIVATE KEY", keyDER)}, "ssl = on\nssl_cert_file = 'ed.pem'\nssl_key_file = 'ed.key'\n")
	s.untilHealthy(t, "postgres://app:"+urlPassword+"@"+s.addr()+"/postgres?sslmode=disable")
	want(t, "postgres://app:"+urlPassword+"@"+s.addr()+"/postgres?sslmode=require", 0, "session and query answered")
	want(t, "postgres://app:"+urlPassword+"@"+s.addr()+"/postgres?sslmode=require&channel_binding=require", 1, "channel binding is required")
}

// Debian has no pgvector: an extension of that name shows the way.
func TestPgvector(t *testing.T) {
	s := postgres(t)
	ext, err := exec.Command(filepath.Join(postgresBin(t), "pg_config"), "--sharedir").Output()
	if err != nil {
		// Debian keeps pg_config in another package.
		ext = []byte(strings.Replace(filepath.Dir(postgresBin(t)), "/usr/lib/", "/usr/share/", 1))
	}
	dir := filepath.Join(strings.TrimSpace(string(ext)), "extension")
	for name, text := range map[string]string{"vector.control": "default_version = '0.8.0'\n", "vector--0.8.0.sql": "CREATE DOMAIN vector AS real[];\n"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(path) })
	}
	psql(t, s, "app", "CREATE EXTENSION vector; CREATE TABLE items (id int, v vector)")
	defer psql(t, s, "app", "DROP TABLE items; DROP EXTENSION vector")
	base := "pgvector://app:" + urlPassword + "@" + s.addr() + "/app"
	want(t, base, 0, "vector 0.8.0")
	want(t, base+"?table=items", 0, "vector 0.8.0, table items answers")
	want(t, base+"?table=public.items", 0)
	want(t, base+"?table=nothing", 1, "no such table", "42P01")
	want(t, base+`?table=x";DROP+TABLE+items;--`, 1, "the query is malformed")
	want(t, base+`?table=x"%3BDROP+TABLE+items%3B--`, 1, "no such table")
	want(t, base+"?table=items", 0)

	// An access method of pgvector's name, which is PostgreSQL's own hash.
	psql(t, s, "app", `CREATE ACCESS METHOD hnsw TYPE INDEX HANDLER hashhandler`)
	defer psql(t, s, "app", "DROP ACCESS METHOD hnsw CASCADE")
	psql(t, s, "app", `CREATE OPERATOR CLASS int4_hnsw DEFAULT FOR TYPE int4 USING hnsw AS OPERATOR 1 =, FUNCTION 1 hashint4(int4)`)
	want(t, base+"?table=items&index=true", 1, "no such index", "[config]")
	psql(t, s, "app", `CREATE INDEX "it's" ON items USING hnsw (id)`)
	want(t, base+"?table=public.items&index=true", 0, "vector 0.8.0, index it's is valid, table public.items answers")
	want(t, base+"?index=true", 0)
	want(t, base+"?index=it's", 0, "index it's is valid")
	want(t, base+"?index=items_pkey", 1, "no such index")
	want(t, base+"?table=nothing&index=true", 1, "no such table")
	psql(t, s, "app", `UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"it''s"'::regclass`)
	want(t, base+"?table=items&index=true", 1, `the index "it's" is not valid: queries read the whole table`, "[config]")

	// One that is being built waits for the transactions that were there before.
	blocker := exec.CommandContext(t.Context(), "psql", "-h", "127.0.0.1", "-p", s.port, "-U", "app", "-d", "app", "-c", "BEGIN; DELETE FROM items WHERE false; SELECT pg_sleep(600)")
	builder := exec.CommandContext(t.Context(), "psql", "-h", "127.0.0.1", "-p", s.port, "-U", "app", "-d", "app", "-c", `CREATE INDEX CONCURRENTLY second ON items USING hnsw (id)`)
	for _, cmd := range []*exec.Cmd{blocker, builder} {
		cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		if cmd == blocker {
			eventually(t, "a transaction is open", func() (string, bool) {
				n := psql(t, s, "app", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN;%pg_sleep(600)' AND state = 'active'")
				return n, n == "1"
			})
		}
	}
	eventually(t, "the index is being built", func() (string, bool) {
		_, code := probe(t, base+"?index=second")
		out, _ := probe(t, base+"?index=second", "--output", "json")
		return "", code == 1 && strings.Contains(out, "is being built") && strings.Contains(out, `"class":"starting"`)
	})
	psql(t, s, "app", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN;%pg_sleep(600)'")
	eventually(t, "it is built", func() (string, bool) {
		_, code := probe(t, base+"?table=items&index=second")
		return "", code == 0
	})
}

// One connection, no more round trips than the protocol needs, and a server
// that does not notice that somebody left.
func TestPostgresIsAskedPolitely(t *testing.T) {
	s := postgres(t)
	c := newCounter(t, s.addr())
	base := "postgres://app:" + urlPassword + "@" + c.addr
	before := len(s.log.String())
	want(t, base+"/app?sslmode=disable", 0)
	c.wantTrips(t, 1, 5) // start, two of SCRAM, the query, the end
	want(t, base+"/app", 0)
	if c.conns != 1 {
		t.Errorf("%d connections with TLS", c.conns)
	}
	eventually(t, "the server has seen both sessions end", func() (string, bool) {
		log := s.log.String()[before:]
		return log, strings.Count(log, "shmem_exit(0)") >= 2 || psql(t, s, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'healthcheck'") == "0"
	})
	for _, bad := range []string{"unexpected EOF", "could not receive", "incomplete startup", "could not send", "connection reset"} {
		if log := s.log.String()[before:]; strings.Contains(log, bad) {
			t.Errorf("the server complains of %q:\n%s", bad, tail(log))
		}
	}
}

// A query that hangs is called off: no session is left behind.
func TestPostgresQueryThatHangs(t *testing.T) {
	s := postgres(t)
	out, code := probe(t, "postgres://app:"+urlPassword+"@"+s.addr()+"/app?query=SELECT+pg_sleep(600)", "--timeout", "1s")
	if code != 1 || !strings.Contains(out, "no answer within 1s") && !strings.Contains(out, "called off") {
		t.Errorf("exit %d: %s", code, out)
	}
	eventually(t, "the query is gone", func() (string, bool) {
		n := psql(t, s, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND application_name = 'healthcheck'")
		return n, n == "0"
	})
	// A server that falls silent in the middle.
	out, code = probe(t, "postgres://app:"+urlPassword+"@"+silentAfter(t, s.addr(), 400)+"/app?sslmode=disable", "--timeout", "500ms")
	if code != 1 || !strings.Contains(out, "no answer within 500ms") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestPostgresStates(t *testing.T) {
	standby := pgVariant(t, map[string]string{"standby.signal": ""}, "hot_standby = on\nssl = off")
	base := "postgres://app:" + urlPassword + "@" + standby.addr() + "/postgres"
	standby.untilHealthy(t, base)
	want(t, base, 0, "a standby in recovery")
	want(t, base+"?target_session_attrs=read-write", 1, "not the session that target_session_attrs or writable= wants")
	want(t, base+"?sslmode=require", 1, "the server refuses TLS")
	c := newCounter(t, standby.addr())
	want(t, "postgres://app:"+urlPassword+"@"+c.addr+"/postgres", 0)
	c.wantTrips(t, 1, 6) // the question for TLS is one more; the connection is the same

	cold := pgVariant(t, map[string]string{"standby.signal": ""}, "hot_standby = off\nssl = off")
	eventually(t, "the cold standby says so", func() (string, bool) {
		out, code := probe(t, "postgres://app:"+urlPassword+"@"+cold.addr()+"/postgres")
		return out + tail(cold.log.String()), code == 1 && strings.Contains(out, "not accepting connections") && strings.Contains(out, "57P03")
	})

	for file, text := range map[string]string{"expired.pem": "certificate expired on ", "other.pem": `certificate is for "db.internal", not for "localhost"`} {
		s := pgVariant(t, nil, "ssl = on\nssl_cert_file = '../"+file+"'\nssl_key_file = '../key.pem'")
		s.untilHealthy(t, "postgres://app:"+urlPassword+"@"+s.addr()+"/postgres?sslmode=require")
		want(t, "postgres://app:"+urlPassword+"@localhost:"+s.port+"/postgres?sslmode=verify-full&sslrootcert="+s.dir+"/ca.pem", 1, text)
	}
}

func startMariaDB(t *testing.T, args ...string) *server {
	t.Helper()
	dir, cred := serverDir(t, "mysql")
	s := &server{dir: dir, port: freePort(t)}
	as(t, cred, dir, "mariadb-install-db", "--no-defaults", "--datadir="+dir+"/data", "--tmpdir="+dir, "--auth-root-authentication-method=normal", "--skip-test-db")
	newPKI(t, dir, cred)
	startServer(t, s, cred, nil, "mariadbd", append([]string{"--no-defaults", "--datadir=" + dir + "/data", "--tmpdir=" + dir, "--port=" + s.port, "--bind-address=127.0.0.1",
		"--socket=" + dir + "/sock", "--pid-file=" + dir + "/pid", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"}, args...)...)
	s.untilHealthy(t, "mysql://root@x/?socket="+dir+"/sock")
	db := openMaria(t, s)
	for _, q := range []string{"CREATE DATABASE app", "CREATE USER app IDENTIFIED BY '" + password + "'", "GRANT ALL ON app.* TO app",
		"CREATE USER tls IDENTIFIED BY '" + password + "' REQUIRE SSL", "CREATE USER one IDENTIFIED BY '" + password + "' WITH MAX_USER_CONNECTIONS 1"} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func openMaria(t *testing.T, s *server) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", "root@unix("+s.dir+"/sock)/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

var mariadb = once(func(t *testing.T) *server { return startMariaDB(t) })

func TestMariaDB(t *testing.T) {
	s := mariadb(t)
	base := "mysql://app:" + urlPassword + "@" + s.addr()
	want(t, base+"/app", 0, "session and query answered")
	want(t, base, 0)
	want(t, "mysql://app:hunter2wrong@"+s.addr()+"/app", 1, "authentication failed", "Access denied for user", "1045")
	want(t, base+"/nosuch", 1, "no access to the database", "1044")
	want(t, "mysql://root@x/nosuch?socket="+s.dir+"/sock", 1, "no such database", "1049")
	want(t, base+"/app?tls=true", 1, "the server refuses TLS")
	want(t, base+"/app?tls=preferred", 0)

	db, err := sql.Open("mysql", (&mysql.Config{User: "one", Passwd: password, Net: "tcp", Addr: s.addr(), AllowNativePasswords: true}).FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	held, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want(t, "mysql://one:"+urlPassword+"@"+s.addr(), 1, "too many connections", "1226")
	held.Close()

	out, code := probe(t, "mysql://app:"+urlPassword+"@"+silentAfter(t, s.addr(), 100), "--timeout", "500ms")
	if code != 1 || !strings.Contains(out, "no answer within 500ms") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestMariaDBIsAskedPolitely(t *testing.T) {
	s := mariadb(t)
	db := openMaria(t, s)
	status := func() (out string) {
		rows, err := db.Query("SHOW GLOBAL STATUS WHERE Variable_name IN ('Aborted_clients', 'Aborted_connects', 'Connection_errors_peer_address')")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name, value string
			rows.Scan(&name, &value)
			out += name + "=" + value + " "
		}
		return out
	}
	before := status()
	c := newCounter(t, s.addr())
	want(t, "mysql://app:"+urlPassword+"@"+c.addr+"/app", 0)
	c.wantTrips(t, 1, 3) // the login, the ping, the end
	for range 10 {
		want(t, "mysql://app:"+urlPassword+"@"+s.addr()+"/app", 0)
	}
	eventually(t, "the sessions have ended", func() (string, bool) {
		var n int
		db.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'").Scan(&n)
		return fmt.Sprint(n), n == 0
	})
	if after := status(); after != before {
		t.Errorf("the server counts %s, before %s", after, before)
	}
}

func TestMariaDBOverTLS(t *testing.T) {
	for file, text := range map[string]string{"cert.pem": "", "expired.pem": "certificate expired on ", "other.pem": `certificate is for "db.internal", not for "localhost"`} {
		s := startMariaDB(t, "--ssl-cert=../"+file, "--ssl-key=../key.pem", "--ssl-ca=../ca.pem")
		base := "mysql://tls:" + urlPassword + "@localhost:" + s.port
		want(t, base+"?tls=skip-verify", 0)
		out, code := probe(t, base+"?tls=true", "--ca-cert", s.dir+"/ca.pem")
		if text == "" && code != 0 || !strings.Contains(out, text) {
			t.Errorf("exit %d: %s", code, out)
		}
		if text != "" {
			continue
		}
		want(t, base+"?tls=true", 1, "certificate signed by an unknown authority")
		want(t, base+"?tls=true#ca-cert="+s.dir+"/ca.pem,cert-days=?2", 1, "certificate expires on ", "want at least 2 days")
		want(t, base, 1, "authentication failed without TLS, which the server offers (?tls=true)", "1045")
		if out, _ := probe(t, "mysql://app:"+urlPassword+"@"+s.addr()+"/nosuch"); !strings.Contains(out, "1044") || strings.Contains(out, "TLS") {
			t.Errorf("TLS helps nobody to a database: %s", out)
		}
		if _, err := openMaria(t, s).Exec("SET GLOBAL require_secure_transport = ON"); err != nil {
			t.Fatal(err)
		}
		want(t, "mysql://app:"+urlPassword+"@"+s.addr(), 1, "authentication failed without TLS, which the server offers (?tls=true)")
	}
}

func TestFerretDB(t *testing.T) {
	dir, _ := serverDir(t, "")
	s := &server{dir: dir, port: freePort(t)}
	certs := newPKI(t, dir, nil)
	tlsPort := freePort(t)
	startServer(t, s, nil, nil, cached(t, "ferretdb"), dir, s.addr(), "127.0.0.1:"+tlsPort, certs.cert, certs.key)
	s.untilHealthy(t, "mongodb://"+s.addr())
	want(t, "mongodb://"+s.addr()+"/app", 0, "writable primary")
	want(t, "mongodb://"+s.addr()+"/?replicaSet=rs0", 1, `want "rs0"`)
	want(t, "mongodb://"+s.addr()+"/?tls=true", 1, "TLS")
	out, code := probe(t, "mongodb://localhost:"+tlsPort+"/?tls=true", "--ca-cert", certs.ca)
	if code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	wantRecipe(t, "MongoDB", nil, nil, "localhost", s.addr())
	wantInstead(t, "mongo:27017", s.addr())
	c := newCounter(t, s.addr())
	want(t, "mongodb://"+c.addr, 0)
	c.wantTrips(t, 1, 1)
}

func TestWeaviate(t *testing.T) {
	dir, _ := serverDir(t, "")
	s := &server{dir: dir, port: freePort(t)}
	grpcPort, gossip, data, raft, rpc := freePort(t), freePort(t), freePort(t), freePort(t), freePort(t)
	startServer(t, s, nil, []string{"PERSISTENCE_DATA_PATH=" + dir, "CLUSTER_HOSTNAME=node1", "CLUSTER_BIND_ADDR=127.0.0.1",
		"CLUSTER_ADVERTISE_ADDR=127.0.0.1", "DISABLE_TELEMETRY=true", "DEFAULT_VECTORIZER_MODULE=none", "RAFT_BOOTSTRAP_EXPECT=1", "GRPC_PORT=" + grpcPort,
		"CLUSTER_GOSSIP_BIND_PORT=" + gossip, "CLUSTER_DATA_BIND_PORT=" + data, "RAFT_PORT=" + raft, "RAFT_INTERNAL_RPC_PORT=" + rpc,
		"AUTHENTICATION_APIKEY_ENABLED=true", "AUTHENTICATION_APIKEY_ALLOWED_KEYS=hunter2key", "AUTHENTICATION_APIKEY_USERS=app", "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED=false"},
		cached(t, "weaviate-server"), "--host", "127.0.0.1", "--port", s.port, "--scheme", "http")
	s.untilHealthy(t, "weaviate://"+s.addr())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.addr()+"/v1/schema", strings.NewReader(`{"class":"Article","vectorizer":"none"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer hunter2key")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(err, resp)
	}
	resp.Body.Close()
	c := newCounter(t, s.addr())
	want(t, "weaviate://"+c.addr+"/Article?api_key=hunter2key", 0, "ready, class Article")
	c.wantTrips(t, 1, 2)
	want(t, "weaviate://"+s.addr()+"/Article?nodes=1&api_key=hunter2key", 0, "ready, 1 of 1 nodes healthy, class Article")
	want(t, "weaviate://"+s.addr()+"?nodes=2&api_key=hunter2key", 1, "GET /v1/nodes: 1 of 1 nodes healthy, want 2", "[host]")
	want(t, "weaviate://"+s.addr()+"?nodes=1", 1, "GET /v1/nodes: status 401")
	wantRecipe(t, "Weaviate", nil, []string{"/Document"}, "localhost", s.addr())
	want(t, "weaviate://"+s.addr()+"/Nothing?api_key=hunter2key", 1, `no class "Nothing"`)
	want(t, "weaviate://"+s.addr()+"/Article", 1, "GET /v1/schema/Article: status 401")
	want(t, "weaviate://"+s.addr()+"/Article?api_key=hunter2wrong", 1, "GET /v1/schema/Article: status 401")
}

// grpc-go's own health server.
func TestGRPC(t *testing.T) {
	dir, _ := serverDir(t, "")
	defer os.RemoveAll(dir)
	certs := newPKI(t, dir, nil)
	serve := func(withHealth bool, opts ...grpc.ServerOption) (string, *grpchealth.Server) {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv, h := grpc.NewServer(opts...), grpchealth.NewServer()
		if withHealth {
			healthpb.RegisterHealthServer(srv, h)
		}
		go srv.Serve(ln)
		t.Cleanup(srv.Stop)
		return ln.Addr().String(), h
	}
	addr, h := serve(true)
	h.SetServingStatus("orders", healthpb.HealthCheckResponse_NOT_SERVING)
	want(t, "grpc://"+addr, 0, "SERVING")
	want(t, "grpc://"+addr+"/orders", 1, `service "orders" is NOT_SERVING, want SERVING`)
	want(t, "grpc://"+addr+"/nothing", 1, `service "nothing" is unknown to the server`)
	want(t, "grpcs://"+addr, 1, "TLS")
	c := newCounter(t, addr)
	want(t, "grpc://"+c.addr, 0)
	if c.conns != 1 || c.turns > 3 { // the call, and what acknowledges settings and pings
		t.Errorf("%d connections, %d turns", c.conns, c.turns)
	}
	h.Shutdown()
	want(t, "grpc://"+addr, 1, "the server is NOT_SERVING")

	plain, _ := serve(false)
	want(t, "grpc://"+plain, 1, "does not implement grpc.health.v1.Health")

	creds, err := credentials.NewServerTLSFromFile(certs.cert, certs.key)
	if err != nil {
		t.Fatal(err)
	}
	secure, _ := serve(true, grpc.Creds(creds), grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		return next(ctx, req)
	}))
	_, port, _ := net.SplitHostPort(secure)
	if out, code := probe(t, "grpcs://localhost:"+port, "--ca-cert", certs.ca); code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	want(t, "grpcs://localhost:"+port, 1, "certificate signed by an unknown authority")
	want(t, "grpc://"+secure, 1)

	// A server that wants a certificate of the probe's, and a socket.
	files := "#ca-cert=" + certs.ca + ",client-cert=" + certs.cert + ",client-key=" + certs.key
	pair, err := tls.LoadX509KeyPair(certs.cert, certs.key)
	if err != nil {
		t.Fatal(err)
	}
	mutual, _ := serve(true, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert})))
	_, port, _ = net.SplitHostPort(mutual)
	want(t, "grpcs://localhost:"+port+files, 0, "SERVING")
	want(t, "grpcs://localhost:"+port+"#ca-cert="+certs.ca, 1, "certificate required")
	want(t, "grpcs://localhost:"+port+files+",cert-days=14", 0, "warn", "certificate expires on ", ", want at least 14 days")
	sock, onSocket := filepath.Join(dir, "grpc.sock"), grpc.NewServer()
	healthpb.RegisterHealthServer(onSocket, grpchealth.NewServer())
	ln, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	go onSocket.Serve(ln)
	t.Cleanup(onSocket.Stop)
	want(t, "grpc://"+sock, 0, "grpc://"+sock+": SERVING")
	want(t, "grpc://"+sock+":/orders", 1, `service "orders" is unknown to the server`)

	// Metadata, by the flag and by a setting.
	private, _ := serve(true, grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		if got := fmt.Sprint(md["authorization"], md["x-tenant"]); got != "[Bearer hunter2hunter2] [a b]" {
			return nil, status.Error(codes.Unauthenticated, "you sent "+got)
		}
		return next(ctx, req)
	}))
	if out, code := probe(t, "grpc://"+private+"#header=x-tenant:a,header=X-Tenant:%20b", "--header", "Authorization: Bearer hunter2hunter2", "--header", "Content-Type: text/plain"); code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, code := probe(t, "grpc://"+private, "--header", "Authorization: Bearer hunter2hunter2"); code != 1 || !strings.Contains(out, `"you sent [***] []"`) {
		t.Errorf("exit %d: %s", code, out)
	}
}
