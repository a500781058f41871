package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// #ready=true is what pg_isready, mysqladmin ping and redis-cli ping say, of
// servers that would refuse the session.
func TestReady(t *testing.T) {
	pg := postgres(t)
	before := len(pg.log.String())
	want(t, "postgres://"+pg.addr()+"#ready=true", 0, "accepting connections")
	want(t, "postgres://app:hunter2wrong@"+pg.addr()+"/app#ready", 0, "accepting connections")
	want(t, "postgres://"+pg.addr()+"/tlsdb?sslmode=verify-full&sslrootcert="+pg.dir+"/ca.pem#ready", 0)
	want(t, "postgres://"+strings.ReplaceAll(pg.dir, "/", "%2F")+":"+pg.port+"#ready", 0)
	want(t, "postgres://127.0.0.1:1,"+pg.addr()+"#ready", 0)
	want(t, "postgres://"+pg.addr()+"/?sslmode=verify-full#ready", 1, "certificate signed by an unknown authority")
	for _, bad := range []string{"FATAL", "ERROR", "unexpected EOF"} {
		if log := pg.log.String()[before:]; strings.Contains(log, bad) {
			t.Errorf("the server complains of %q:\n%s", bad, tail(log))
		}
	}
	want(t, "postgres://"+pg.addr()+"/elsewhere?sslmode=disable#ready", 0, "accepting connections", "no pg_hba.conf entry")
	cold := pgVariant(t, map[string]string{"standby.signal": ""}, "hot_standby = off\nssl = off")
	eventually(t, "the cold standby says so", func() (string, bool) {
		out, code := probe(t, "postgres://"+cold.addr()+"#ready=true")
		return out + tail(cold.log.String()), code == 1 && strings.Contains(out, "not accepting connections") && strings.Contains(out, "(57P03)")
	})

	my := mariadb(t)
	want(t, "mysql://"+my.addr()+"#ready=true", 0, `accepting connections: "Access denied for user 'healthcheck'`)
	want(t, "mysql://app:"+urlPassword+"@"+my.addr()+"/app#ready", 0, "accepting connections")

	dir := shortDir(t)
	re := startRedis(t, "--requirepass", password, "--unixsocket", filepath.Join(dir, "redis.sock"))
	re.untilHealthy(t, "redis://:"+urlPassword+"@"+re.addr())
	want(t, "redis://"+re.addr()+"#ready=true", 0, `accepting connections: "NOAUTH`)
	for target, parts := range map[string][]string{
		"redis+unix://:" + urlPassword + "@" + dir + "/redis.sock?db=2": {"PONG, master"},
		"redis+unix://" + dir + "/redis.sock#ready":                     {"accepting connections"},
	} {
		want(t, target, 0, parts...)
	}
	want(t, "redis+unix://"+dir+"/redis.sock", 1, "the server wants a password")
	want(t, "redis+unix://"+dir+"/other.sock", 1, "no such file or directory")
}

// The password is in a file beside the URL.
func TestPasswordFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(" "+password+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pg, my := postgres(t), mariadb(t)
	re := startRedis(t, "--requirepass", password)
	re.untilHealthy(t, "redis://:"+urlPassword+"@"+re.addr())
	targets := []string{"postgres://app@" + pg.addr() + "/app", "mysql://app@" + my.addr() + "/app", "mysql://" + my.addr() + "/app?user=app", "redis://" + re.addr() + "/1"}
	for _, target := range targets {
		want(t, target+"#password-file="+file, 0)
	}
	if err := os.WriteFile(file, []byte("hunter2wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		want(t, target+"#password-file="+file, 1)
	}
	want(t, "postgres://app@"+pg.addr()+"/app#password-file=/nowhere/password", 1, "password-file", "no such file or directory")
}
