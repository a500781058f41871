package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	mysqlserver "github.com/go-mysql-org/go-mysql/server"
)

// mysqlAnswers answers every query with one row, and knows one database.
type mysqlAnswers struct {
	mysqlserver.EmptyHandler
	queries *atomic.Int32
}

func (mysqlAnswers) UseDB(name string) error {
	if name != "app" {
		return gomysql.NewDefaultError(gomysql.ER_BAD_DB_ERROR, name)
	}
	return nil
}

func (a mysqlAnswers) HandleQuery(string) (*gomysql.Result, error) {
	a.queries.Add(1)
	set, err := gomysql.BuildSimpleTextResultset([]string{"1"}, [][]any{{1}})
	if err != nil {
		return nil, err
	}
	return gomysql.NewResult(set), nil
}

// MySQL 8's way of logging in (caching_sha2_password), by a server that is
// written apart from the driver: MariaDB, which the other tests ask, lacks it.
func TestMySQL8Login(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := newPKI(t, dir, nil)
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	tlsConfig := &tls.Config{Certificates: []tls.Certificate{pair}}

	// serve starts a server whose greeting names one plugin; app and old have
	// passwords of their own kinds, so that it asks one of them to switch.
	serve := func(t *testing.T, plugin string, c *tls.Config) (port string, queries *atomic.Int32) {
		t.Helper()
		users := mysqlserver.NewInMemoryAuthenticationHandler(plugin)
		for name, kind := range map[string]string{"app": gomysql.AUTH_CACHING_SHA2_PASSWORD, "sha": gomysql.AUTH_SHA256_PASSWORD, "old": gomysql.AUTH_NATIVE_PASSWORD} {
			if err := users.AddUser(name, password, kind); err != nil {
				t.Fatal(err)
			}
		}
		server := mysqlserver.NewServer("8.0.36", gomysql.DEFAULT_COLLATION_ID, plugin, key, c)
		queries = new(atomic.Int32)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer nc.Close()
					conn, err := server.NewCustomizedConn(nc, users, mysqlAnswers{queries: queries})
					for err == nil && !conn.Closed() {
						err = conn.HandleCommand()
					}
				}()
			}
		}()
		_, port, _ = net.SplitHostPort(l.Addr().String())
		return port, queries
	}

	for _, plugin := range []string{gomysql.AUTH_CACHING_SHA2_PASSWORD, gomysql.AUTH_NATIVE_PASSWORD, gomysql.AUTH_SHA256_PASSWORD} {
		for name, c := range map[string]*tls.Config{"plain": nil, "tls": tlsConfig} {
			t.Run(plugin+"/"+name, func(t *testing.T) {
				port, queries := serve(t, plugin, c)
				base, query, args := "@127.0.0.1:"+port+"/", "", []string(nil)
				if c != nil {
					base, query, args = "@localhost:"+port+"/", "?tls=true", []string{"--ca-cert", p.ca}
				}
				want := func(user, database string, code int, parts ...string) {
					t.Helper()
					out, got := probe(t, "mysql://"+user+base+database+query, args...)
					for _, part := range parts {
						if got != code || !strings.Contains(out, part) || strings.Contains(out, "hunter2") {
							t.Errorf("%s, database %s: exit %d, want %d and %q:\n%s", user, database, got, code, part, out)
						}
					}
				}
				users := []string{"app", "old"}
				if c != nil {
					users = append(users, "sha") // this server wants TLS for it
				}
				for _, user := range users {
					want(user+":hunter2wrong", "app", 1, "authentication failed", "[config]")
					want(user+":"+urlPassword, "app", 0, "session and query answered")
					// The server's cache knows the password of app now.
					want(user+":"+urlPassword, "app", 0, "session and query answered")
					want(user+":hunter2wrong", "app", 1, "authentication failed", "[config]")
				}
				want("app:"+urlPassword, "nosuch", 1, "no such database", "1049", "[config]")
				if n := int(queries.Load()); n != 2*len(users) {
					t.Errorf("%d queries, want %d: one per login", n, 2*len(users))
				}
			})
		}
	}
}
