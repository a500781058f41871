package protocol

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
)

// Redis over its Unix socket, as its clients' URLs say what is asked.
func TestRedisOverAUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "s-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.Listen("unix", dir+"/r.sock")
	must(t, err)
	defer ln.Close()
	got := make(chan string, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		buf := make([]byte, 4096)
		n, _ := c.Read(buf)
		got <- string(buf[:n])
		io.WriteString(c, "+OK\r\n+OK\r\n+PONG\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")
		untilClosed(c)
	}()
	f, err := probeOnce(t, Redis, "redis+unix://app:hunter2@"+dir+"/r.sock?virtual_host=3", patience)
	if err != nil || f.Message != "redis+unix://app:***@"+dir+"/r.sock?virtual_host=3: PONG, master" {
		t.Errorf("%q, %v", f.Message, err)
	}
	if sent := <-got; !strings.Contains(sent, "app\r\n$7\r\nhunter2") || !strings.Contains(sent, "SELECT\r\n$1\r\n3") {
		t.Errorf("sent %q", sent)
	}
}
func TestBadRedisSockets(t *testing.T) {
	for in, want := range map[string]string{
		"redis+unix://h/run/redis.sock":    "absolute: redis+unix:///run/redis.sock",
		"redis+unix:///":                   "absolute",
		"unix:///run/redis.sock?db=1":      "neither a user nor a database",
		"unix://u:hunter2@/run/redis.sock": "neither a user nor a database",
		"redis+socket:///run/redis.sock":   "another name here",
	} {
		wantBadTarget(t, in, want)
	}
}
