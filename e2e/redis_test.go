package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func startRedis(t *testing.T, args ...string) *server {
	t.Helper()
	dir, _ := serverDir(t, "")
	s := &server{dir: dir, port: freePort(t)}
	newPKI(t, dir, nil)
	startServer(t, s, nil, nil, "redis-server", append([]string{"--bind", "127.0.0.1", "--save", "", "--dir", dir, "--port", s.port, "--enable-debug-command", "yes"}, args...)...)
	return s
}

func TestRedis(t *testing.T) {
	s := startRedis(t, "--requirepass", password)
	base := "redis://:" + urlPassword + "@" + s.addr()
	s.untilHealthy(t, base)
	cli(t, s, "-a", password, "acl", "setuser", "app", "on", ">"+password, "+ping", "+auth", "+select")
	want(t, base, 0, "PONG, master")
	want(t, base+"/3", 0)
	want(t, "redis://app:"+urlPassword+"@"+s.addr(), 0, "PONG")
	want(t, base+"/99", 1, "SELECT: no such database", "DB index is out of range")
	want(t, "redis://"+s.addr(), 1, "PING: the server wants a password", "NOAUTH")
	want(t, "redis://:hunter2wrong@"+s.addr(), 1, "AUTH: wrong password", "WRONGPASS")
	want(t, "rediss://:"+urlPassword+"@"+s.addr(), 1, "TLS")
	c := newCounter(t, s.addr())
	want(t, "redis://:"+urlPassword+"@"+c.addr+"/3", 0)
	c.wantTrips(t, 1, 1)

	open := startRedis(t)
	open.untilHealthy(t, "redis://"+open.addr())
	want(t, "redis://:hunter2pw@"+open.addr(), 1, "AUTH: the server has no password set")
	// A full server.
	cli(t, open, "config", "set", "maxclients", "1")
	held, err := net.Dial("tcp", open.addr())
	if err != nil {
		t.Fatal(err)
	}
	held.Write([]byte("PING\r\n"))
	held.Read(make([]byte, 10))
	want(t, "redis://"+open.addr(), 1, "too many connections")
	held.Close()
}

func cli(t *testing.T, s *server, args ...string) string {
	t.Helper()
	out, code := output(t, nil, "redis-cli", append([]string{"-p", s.port}, args...)...)
	if code != 0 {
		t.Fatal(out)
	}
	return out
}

func TestRedisStates(t *testing.T) {
	master := startRedis(t)
	master.untilHealthy(t, "redis://"+master.addr())
	replica := startRedis(t, "--replicaof", "127.0.0.1 "+master.port)
	replica.untilHealthy(t, "redis://"+replica.addr())
	want(t, "redis://"+replica.addr(), 0, "PONG, replica")
	orphan := startRedis(t, "--replicaof", "127.0.0.1 "+freePort(t))
	eventually(t, "the orphan is unhealthy", func() (string, bool) {
		out, code := probe(t, "redis://"+orphan.addr())
		return out, code == 1 && strings.Contains(out, "a replica whose link to its master is \"connect")
	})
	// A server that is stopped says nothing.
	master.cmd.Process.Signal(syscall.SIGSTOP)
	out, code := probe(t, "redis://"+master.addr(), "--timeout", "500ms")
	master.cmd.Process.Signal(syscall.SIGCONT)
	if code != 1 || !strings.Contains(out, "no answer within 500ms: the server said nothing") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestRedisLoading(t *testing.T) {
	s := startRedis(t, "--key-load-delay", "100", "--rdbcompression", "no", "--loading-process-events-interval-bytes", "1024", "--save", "3600 1")
	s.untilHealthy(t, "redis://"+s.addr())
	cli(t, s, "debug", "populate", "200000", "k", "100")
	done := make(chan struct{})
	go func() { defer close(done); exec.Command("redis-cli", "-p", s.port, "debug", "reload").Run() }()
	defer func() { s.cmd.Process.Kill(); <-done }()
	eventually(t, "it is loading", func() (string, bool) {
		out, code := probe(t, "redis://"+s.addr(), "--timeout", "2s")
		return out, code == 1 && strings.Contains(out, "PING: loading its data")
	})
}

func TestRedisOverTLS(t *testing.T) {
	for file, text := range map[string]string{"cert.pem": "", "expired.pem": "certificate expired on ", "other.pem": `certificate is for "db.internal", not for "localhost"`} {
		dir, _ := serverDir(t, "")
		t.Cleanup(func() { os.RemoveAll(dir) })
		newPKI(t, dir, nil)
		port := freePort(t)
		s := startRedis(t, "--tls-port", port, "--tls-auth-clients", "no", "--tls-cert-file", dir+"/"+file, "--tls-key-file", dir+"/key.pem", "--tls-ca-cert-file", dir+"/ca.pem")
		s.untilHealthy(t, "redis://"+s.addr())
		out, code := probe(t, "rediss://localhost:"+port, "--ca-cert", dir+"/ca.pem")
		if (code == 0) != (text == "") || !strings.Contains(out, text) {
			t.Errorf("%s: exit %d: %s", file, code, out)
		}
		want(t, "redis://127.0.0.1:"+port, 1)
		if text == "" {
			cli(t, s, "config", "set", "tls-auth-clients", "yes")
			if out, code := probe(t, "rediss://localhost:"+port, "--ca-cert", dir+"/ca.pem"); code != 1 || !strings.Contains(out, "certificate required") && !strings.Contains(out, "the server may want a client certificate") {
				t.Errorf("exit %d: %s", code, out)
			}
			want(t, "rediss://localhost:"+port+"#ca-cert="+dir+"/ca.pem,client-cert="+dir+"/cert.pem,client-key="+dir+"/key.pem", 0, "PONG")
			want(t, "rediss://redis.invalid:"+port+"#ca-cert="+dir+"/ca.pem,client-cert="+dir+"/cert.pem,client-key="+dir+"/key.pem,server-name=localhost,connect-to=127.0.0.1:"+port, 0, "PONG")
		}
	}
}

// What only a real server gets into: it cannot save, it has no room, it has too
// few replicas, it is a Sentinel.
func TestRedisTakesNoWrites(t *testing.T) {
	s := startRedis(t, "--maxmemory-policy", "noeviction", "--save", "3600 1")
	url := "redis://" + s.addr()
	s.untilHealthy(t, url)
	// A snapshot to a path that is a directory fails.
	if err := os.Mkdir(filepath.Join(s.dir, "dump.rdb"), 0o700); err != nil {
		t.Fatal(err)
	}
	cli(t, s, "bgsave")
	eventually(t, "it cannot save", func() (string, bool) {
		out, code := probe(t, url)
		return out, code == 1 && strings.Contains(out, "takes no writes: it cannot save to disk")
	})
	cli(t, s, "config", "set", "stop-writes-on-bgsave-error", "no")
	want(t, url, 0, "PONG, master")
	want(t, url+"?writable=true", 0, "PONG, master")
	cli(t, s, "config", "set", "maxmemory", "1")
	want(t, url+"?writable=true", 1, "out of memory")
	cli(t, s, "config", "set", "maxmemory", "0")
	cli(t, s, "config", "set", "min-replicas-to-write", "1")
	want(t, url+"?writable=true", 1, "too few replicas")
}

func TestRedisSentinel(t *testing.T) {
	master := startRedis(t)
	master.untilHealthy(t, "redis://"+master.addr())
	dir, _ := serverDir(t, "")
	conf := filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(conf, []byte("sentinel monitor main 127.0.0.1 "+master.port+" 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{dir: dir, port: freePort(t)}
	startServer(t, s, nil, nil, "redis-server", conf, "--sentinel", "--bind", "127.0.0.1", "--dir", dir, "--port", s.port)
	s.untilHealthy(t, "redis://"+s.addr()+"?role=sentinel")
	want(t, "redis://"+s.addr(), 1, "a Sentinel, not a server that holds data")
	want(t, "redis://"+master.addr()+"?role=sentinel", 1, `want "sentinel"`)
}
