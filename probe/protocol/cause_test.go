package protocol

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// causeOf runs one target's check as a run does, and returns what it says would
// help.
func causeOf(t *testing.T, text string, throughApp bool) probe.FailureCause {
	t.Helper()
	tg, err := target.ParseTarget(text, testBase)
	if err != nil {
		t.Fatal(err)
	}
	run, err := New(tg, testOptions(t))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	c := probe.Check{Name: "x", Run: run}
	c.Cause, c.Unreachable = CauseOf(tg, throughApp)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, probe.Timeout(2*time.Second))
	defer cancel()
	r := probe.Run(ctx, []probe.Check{c}, probe.Options{CheckTimeout: 2 * time.Second})[0]
	if r.Status != probe.Fail {
		t.Fatalf("%s: %s: %s", text, r.Status, r.Message)
	}
	return r.Cause
}

// suffix is what a scheme wants behind its host.
func suffix(scheme string) string {
	switch scheme {
	case "unix", "file", "pidfile", "exec", "redis+unix":
		return "/no/such/file"
	case "fastcgi":
		return "/ping"
	case "postgres", "postgresql", "pgvector", "mysql":
		return "/app"
	case "udp":
		return "#send=x"
	}
	return ""
}

// A target whose name is gone is the dependency's fault, whatever the scheme;
// one of this container's own that refuses is its own.
func TestCauseOfEveryScheme(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	ln.Close()
	for _, s := range Schemes {
		user := ""
		if strings.Contains("postgres postgresql pgvector mysql", s.Name) {
			user = "app:password123@"
		}
		switch s.Name {
		case "unix", "file", "pidfile", "redis+unix":
			if got := causeOf(t, s.Name+"://"+suffix(s.Name), false); got != (probe.FailureCause{Class: probe.Self}) {
				t.Errorf("%s: %+v", s.Name, got)
			}
			continue
		case "exec": // a program that is not there is a person's business
			if got := causeOf(t, s.Name+"://"+suffix(s.Name), false); got != (probe.FailureCause{Class: probe.Config}) {
				t.Errorf("%s: %+v", s.Name, got)
			}
			continue
		case "dns", "mongodb+srv":
			if got := causeOf(t, s.Name+"://no-such-host.invalid", false); got != (probe.FailureCause{Class: probe.Dependency, Host: "no-such-host.invalid"}) {
				t.Errorf("%s: %+v", s.Name, got)
			}
			continue
		}
		if got := causeOf(t, s.Name+"://"+user+"no-such-host.invalid:7777"+suffix(s.Name), false); got != (probe.FailureCause{Class: probe.Dependency, Host: "no-such-host.invalid", Port: "7777"}) {
			t.Errorf("%s of a name that is gone: %+v", s.Name, got)
		}
		if got := causeOf(t, s.Name+"://"+user+closed+suffix(s.Name), false); got != (probe.FailureCause{Class: probe.Self}) {
			t.Errorf("%s of its own that refuses: %+v", s.Name, got)
		}
	}
}

// What an answer says decides before where it comes from.
func TestCauseOfAnswers(t *testing.T) {
	status, body := 503, ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		w.Write([]byte(body))
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	for _, c := range []struct {
		target string
		status int
		body   string
		want   probe.Class
	}{
		{"http://" + host, 503, "pool exhausted", probe.Self},
		{"http://" + host, 500, "", probe.Self},
		{"http://" + host, 401, "", probe.Config},
		{"http://" + host, 403, "", probe.Config},
		{"http://" + host, 503, `{"error":{"code":503,"message":"Loading model"}}`, probe.Starting},
		{"http://" + host + "#body=up", 200, "down", probe.Self},
		{"http://" + host + "#json=a=b", 200, "no JSON", probe.Self},
		{"qdrant://" + host, 503, "some shards are not ready", probe.Starting},
		{"qdrant://" + host, 503, "broken", probe.Self},
		{"qdrant://" + host, 401, "Must provide an API key", probe.Config},
		{"elasticsearch://" + host, 200, `{"status":"red","initializing_shards":3}`, probe.Starting},
		{"elasticsearch://" + host, 200, `{"status":"red","unassigned_shards":3}`, probe.Self},
		{"qdrant://" + host + "?cluster=true", 200, `{"result":{"status":"disabled"}}`, probe.Config},
		{"qdrant://" + host + "?cluster=true", 200, `{"result":{"status":"enabled","consensus_thread_status":{"consensus_thread_status":"working"}}}`, probe.Host},
		{"qdrant://" + host + "?cluster=true", 200, `{"result":{"status":"enabled","consensus_thread_status":{"consensus_thread_status":"stopped"}}}`, probe.Self},
		{"weaviate://" + host + "?nodes=2", 200, `{"nodes":[{"status":"HEALTHY"}]}`, probe.Host},
		{"milvus://" + host + "?components=true", 500, `{"state":"x","detail":[{"name":"a","code":0}]}`, probe.Starting},
		{"milvus://" + host + "?components=true", 500, `{"state":"x","detail":[{"name":"a","code":0},{"name":"b","code":2}]}`, probe.Self},
		{"elasticsearch://" + host + "/docs", 200, `[{"index":"docs","health":"red","status":"open"}]`, probe.Self},
		{"elasticsearch://" + host + "/docs", 200, `[{"index":"docs","health":"green","status":"close"}]`, probe.Config},
		{"ollama://" + host + "/a?gpu=80", 200, `{"models":[{"name":"a:latest","size":10,"size_vram":1}]}`, probe.Self},
		{"ollama://" + host + "/a?loaded=true", 200, `{"models":[{"name":"a:latest"}]}`, probe.Starting},
		{"vllm://" + host, 503, "", probe.Self},
		{"vllm://" + host + "/m", 200, `{"data":[{"id":"x"}]}`, probe.Config},
		{"sglang://" + host, 503, "", probe.Starting},
		{"sglang://" + host, 503, "broken", probe.Self},
		{"llamacpp://" + host, 503, `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}`, probe.Starting},
		{"tgi://" + host, 503, `{"error":"unhealthy","error_type":"healthcheck"}`, probe.Self},
		{"openai://" + host, 401, "", probe.Config},
		{"https://" + host, 200, "", probe.Config}, // it does not speak TLS
	} {
		status, body = c.status, c.body
		if got := causeOf(t, c.target, false); got.Class != c.want {
			t.Errorf("%s with %d %q: %+v, want %s", c.target, c.status, c.body, got, c.want)
		}
	}
	for reply, want := range map[string]probe.Class{"-LOADING Redis is loading the dataset in memory\r\n": probe.Starting, "-NOAUTH Authentication required.\r\n": probe.Config,
		"-MASTERDOWN Link with MASTER is down\r\n": probe.Self, "-ERR max number of clients reached\r\n": probe.Self} {
		if got := causeOf(t, "redis://"+redisServer(t, reply, reply), false); got.Class != want {
			t.Errorf("%q: %+v, want %s", reply, got, want)
		}
	}
	// Through the application: what it answers is its dependency's fault, that it
	// cannot be reached its own.
	status, body = 503, "pool exhausted"
	if got := causeOf(t, "http://"+host+"/db/health", true); got != (probe.FailureCause{Class: probe.Dependency}) {
		t.Errorf("through the application: %+v", got)
	}
	srv.Close()
	if got := causeOf(t, "http://"+host+"/db/health", true); got != (probe.FailureCause{Class: probe.Self}) {
		t.Errorf("the application is down: %+v", got)
	}
}

// A certificate that a person must renew is not a handshake that broke off.
func TestCauseOfTLS(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	if got := causeOf(t, srv.URL, false); got.Class != probe.Config {
		t.Errorf("an unknown authority: %+v", got)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 16))
			c.Close()
		}
	}()
	if got := causeOf(t, "https://"+ln.Addr().String(), false); got.Class != probe.Self {
		t.Errorf("a handshake that broke off: %+v", got)
	}
	postgres := rawServer(t, func(c net.Conn) {
		c.Read(make([]byte, 8))
		c.Write([]byte("S"))
		c.Read(make([]byte, 16))
	})
	if got := causeOf(t, "postgres://u@"+postgres+"/db?sslmode=require", false); got.Class != probe.Self {
		t.Errorf("PostgreSQL's handshake that broke off: %+v", got)
	}
}

func TestLocal(t *testing.T) {
	for text, want := range map[string]bool{
		"http://localhost:5000/": true, "http://127.0.0.2/": true, "http://[::1]:80/": true, "http://app.localhost/": true, "postgres:///app?host=/run/postgresql": true,
		"postgres:///app?host=db": false, "http://qdrant:6333/": false, "http://10.0.0.7/": false, "unix:///run/a.sock": true, "/health": true,
	} {
		tg, err := target.ParseTarget(text, testBase)
		if err != nil || tg.Local() != want {
			t.Errorf("%s: %v, %v", text, tg.Local(), err)
		}
	}
}
