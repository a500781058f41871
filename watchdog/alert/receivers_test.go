package alert

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"healthcheck/watchdog/recovery"
)

// toServer sends every request to a server of the test's, whatever its host.
type toServer struct {
	base http.RoundTripper
	host string
}

func (s toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Wanted-Host", r.URL.Host)
	r.URL.Scheme, r.URL.Host = "http", s.host
	return s.base.RoundTrip(r)
}

// shoutrrr's services, against receivers on loopback: the payloads that Slack,
// Discord and a generic webhook document, and mail.
func TestReceivers(t *testing.T) {
	var mu sync.Mutex
	bodies := map[string]string{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		bodies[r.Header.Get("X-Wanted-Host")] = r.URL.Path + " " + string(body)
		mu.Unlock()
		if strings.Contains(r.Header.Get("X-Wanted-Host"), "discord") {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		io.WriteString(w, "ok")
	}))
	defer srv.Close()
	old := http.DefaultTransport
	http.DefaultTransport = toServer{old, srv.Listener.Addr().String()}
	defer func() { http.DefaultTransport = old }()
	mail := newMailServer(t)

	a := alertOf(recovery.Critical, "gave_up", "app")
	m := newMessage(a, "node7")
	title, text := m.Title, m.Text
	for receiver, host := range map[string]string{
		"slack://hook:T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX@webhook": "hooks.slack.com",
		"discord://token@1234567890":                                        "discord.com",
		"generic+http://hook.example/path?template=json":                    "hook.example",
	} {
		if err := CheckReceiver(receiver); err != nil {
			t.Errorf("%s: %v", receiver, err)
		}
		if err := sendByShoutrrr(Delivery{URL: receiver, Title: title, Text: text, Severity: a.Severity}); err != nil {
			t.Errorf("%s: %v", receiver, err)
		}
		mu.Lock()
		body := bodies[host]
		mu.Unlock()
		if !strings.Contains(body, "gave_up") || !strings.Contains(body, "last output of the failed probe") {
			t.Errorf("%s received %q", host, body)
		}
		_, payload, _ := strings.Cut(body, " ")
		switch host {
		case "hooks.slack.com":
			var doc struct{ Text string }
			if err := json.Unmarshal([]byte(payload), &doc); err != nil || !strings.HasPrefix(body, "/services/T00000000/B00000000/") {
				t.Errorf("not Slack's: %s", body)
			}
		case "discord.com":
			var doc struct {
				Embeds []struct{ Description string }
			}
			if err := json.Unmarshal([]byte(payload), &doc); err != nil || len(doc.Embeds) == 0 || !strings.HasPrefix(body, "/api/webhooks/1234567890/token") {
				t.Errorf("not Discord's: %s", body)
			}
		case "hook.example":
			var doc map[string]string
			if err := json.Unmarshal([]byte(payload), &doc); err != nil || doc["title"] != title || doc["message"] != text {
				t.Errorf("not the template: %s", body)
			}
		}
	}
	host, port, _ := net.SplitHostPort(mail.addr)
	q := url.Values{"from": {"watchdog@example.com"}, "to": {"me@example.com"}, "encryption": {"None"}, "auth": {"None"}, "usestarttls": {"no"}}
	if err := sendByShoutrrr(Delivery{"smtp://" + host + ":" + port + "/?" + q.Encode(), title, text, a.Severity, ""}); err != nil {
		t.Error(err)
	}
	if got := mail.text(); !strings.Contains(got, "Subject: [critical] app on node7") || !strings.Contains(got, "gave_up") || !strings.Contains(got, "RCPT TO:<me@example.com>") {
		t.Errorf("the mail is %q", got)
	}
	for _, bad := range []string{"", "nonsense", "slack://", "ftp://x", "generic+https://"} {
		if err := CheckReceiver(bad); err == nil && bad != "generic+https://" {
			t.Errorf("%q is accepted", bad)
		}
	}
	srv.Close()
	if err := sendByShoutrrr(Delivery{"generic+http://hook.example/SECRET", title, text, a.Severity, ""}); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("%v", err)
	}
}

// mailServer takes one mail after the other, as RFC 5321 has it.
type mailServer struct {
	addr     string
	mu       sync.Mutex
	received strings.Builder
}

func (m *mailServer) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.received.String()
}

func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	m := &mailServer{addr: ln.Addr().String()}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go m.serve(c)
		}
	}()
	return m
}

func (m *mailServer) serve(c net.Conn) {
	defer c.Close()
	reply := func(text string) { io.WriteString(c, text+"\r\n") }
	reply("220 test ESMTP")
	data := false
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		m.mu.Lock()
		m.received.WriteString(line)
		m.mu.Unlock()
		switch command := strings.ToUpper(strings.TrimSpace(line)); {
		case data && command == ".":
			data = false
			reply("250 taken")
		case data:
		case command == "DATA":
			data = true
			reply("354 go on")
		case command == "QUIT":
			reply("221 bye")
			return
		default:
			reply("250 ok")
		}
	}
}
