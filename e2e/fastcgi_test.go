package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeIn writes a file into a server's directory, for all to read.
func (s *server) writeIn(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFastCGI(t *testing.T) {
	dir, cred := serverDir(t, "www-data")
	s := &server{dir: dir, port: freePort(t)}
	fpm, err := filepath.Glob("/usr/sbin/php-fpm*")
	if err != nil || len(fpm) == 0 {
		t.Fatal("no php-fpm: test.sh installs it")
	}
	script := s.writeIn(t, "health.php", `<?php
header('X-Token: ' . ($_SERVER['HTTP_X_TOKEN'] ?? ''));
if (isset($_GET['sleep'])) { sleep(600); }
if (isset($_GET['big'])) { echo str_repeat('x', 200000), 'end'; exit; }
http_response_code((int)($_GET['code'] ?? 200));
error_log('a line for the log');
echo json_encode(['status' => 'up', 'method' => $_SERVER['REQUEST_METHOD'], 'token' => $_SERVER['HTTP_X_TOKEN'] ?? '', 'port' => $_SERVER['SERVER_PORT']]);
`)
	pool := "pm = static\npm.max_children = 2\npm.status_path = /status\nping.path = /ping\nping.response = pong\n"
	startServer(t, s, cred, nil, fpm[0], "-n", "-F", "-y", s.writeIn(t, "fpm.conf", "[global]\nerror_log = "+s.dir+"/log\n[web]\nlisten = 127.0.0.1:"+s.port+"\n"+pool+
		"[socket]\nlisten = "+s.dir+"/fpm.sock\n"+pool))
	base := "fastcgi://" + s.addr()
	s.untilHealthy(t, base+"/ping")
	want(t, base+"/ping#body=^pong$", 0, "status 200")
	wantRecipe(t, "php-fpm", nil, nil, "localhost:9000", s.addr())
	want(t, base+"/status?json#json=pool=web", 0, "status 200")
	want(t, "fastcgi://"+s.dir+"/fpm.sock:/ping#body=pong", 0, "status 200")
	want(t, "fastcgi://"+s.dir+"/fpm.sock:/status?json#json=pool=socket", 0, "status 200")
	want(t, "fastcgi://"+s.dir+"/no.sock:/ping", 1, "no such file or directory")
	want(t, base+script+"#json=status=up,json=method=PUT,json=token=hunter2hunter2,json=port="+s.port+",method=PUT,header=X-Token: hunter2hunter2", 0, "PUT fastcgi://", "status 200")
	want(t, base+script+"#json=status=down", 1, `"status" is "up", want "down"`)
	want(t, base+script+"?code=503", 1, "status 503, want 200", "up")
	want(t, base+script+"?code=503#status=503", 0)
	want(t, base+script+"?big#body=xend$", 0)
	want(t, base+"/nosuch.php", 1, "status 404, want 200", "File not found.")
	out, code := probe(t, base+script+"?sleep", "--timeout", "500ms")
	if code != 1 || !strings.Contains(out, "no answer within 500ms: the server said nothing") {
		t.Errorf("exit %d: %s", code, out)
	}
}
