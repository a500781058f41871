package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// Debian's memcached, asked by the recipe of docs/targets.md.
func TestMemcachedRecipe(t *testing.T) {
	dir, _ := serverDir(t, "")
	t.Cleanup(func() { os.RemoveAll(dir) })
	const recipe = `#send=version\r\n,expect=^VERSION`
	s := &server{dir: dir, port: freePort(t)}
	startServer(t, s, nil, nil, "memcached", "-u", "root", "-l", "127.0.0.1", "-p", s.port)
	s.untilHealthy(t, "tcp://"+s.addr()+recipe)
	want(t, "tcp://"+s.addr()+recipe, 0, `answered "VERSION`)
	want(t, "tcp://"+s.addr()+`#send=verzion\r\n,expect=^VERSION,timeout=500ms`, 1, `no answer within 500ms, want "^VERSION": it sent "ERROR"`)
	onSocket := &server{dir: dir, port: freePort(t)}
	sock := filepath.Join(dir, "memcached.sock")
	startServer(t, onSocket, nil, nil, "memcached", "-u", "root", "-s", sock)
	onSocket.untilHealthy(t, "unix://"+sock+recipe)
	want(t, "unix://"+sock+recipe, 0, `unix://`+sock+`: answered "VERSION`)
}

// What PostgreSQL answers to a request for TLS.
func TestPostgresCertificateWithoutASession(t *testing.T) {
	s := postgres(t)
	target := "tcp://localhost:" + s.port + "#starttls=postgres,ca-cert=" + s.dir + "/ca.pem"
	want(t, target, 0, "connected, TLS")
	want(t, target+",cert-days=14", 0, "warn", "want at least 14 days")
	want(t, "tcp://localhost:"+s.port+"#starttls=postgres", 1, "certificate signed by an unknown authority")
	// The session's own handshake tells as much.
	url := "postgres://app:" + urlPassword + "@localhost:" + s.port + "/tlsdb?sslmode=verify-full&sslrootcert=" + s.dir + "/ca.pem"
	want(t, url+"#cert-days=14", 0, "warn", "certificate expires on ")
	want(t, url+"#cert-days=?14", 1, "certificate expires on ", "want at least 14 days")
	want(t, url+"#server-name=db.internal", 1, "certificate is for \"localhost", "not for \"db.internal\"")
}
