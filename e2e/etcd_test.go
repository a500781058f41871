package e2e

import (
	"net/http"
	"strings"
	"testing"
)

func TestEtcd(t *testing.T) {
	s, _ := newServer(t)
	peers := "http://127.0.0.1:" + freePort(t)
	startServer(t, s, nil, nil, "etcd", "--data-dir", s.dir+"/data", "--listen-client-urls", "http://"+s.addr(), "--advertise-client-urls", "http://"+s.addr(),
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers, "--unsafe-no-fsync")
	s.untilHealthy(t, "etcd://"+s.addr())
	want(t, "etcd://"+s.addr(), 0, "healthy")
	resp, err := http.Post("http://"+s.addr()+"/v3/maintenance/alarm", "application/json", strings.NewReader(`{"action":"ACTIVATE","alarm":"NOSPACE"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	want(t, "etcd://"+s.addr(), 1, "status 503", `\"health\":\"false\"`)
}
