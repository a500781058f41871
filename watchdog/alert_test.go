package watchdog

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func alertOf(sev Severity, topic, key string) Action {
	return Action{Kind: DoAlert, Severity: sev, Topic: topic, Key: key, Name: key, Attempt: 1, Policy: DefaultPolicy(), Text: topic, Output: "status 503\x1b[31m"}
}

// urls are the receivers of deliveries, in brief.
func urls(all []Delivery) string {
	var out []string
	for _, d := range all {
		prefix, _, _ := strings.Cut(d.Text, ":")
		if !strings.HasPrefix(d.Text, "resolved") && !strings.HasPrefix(d.Text, "unresolved") {
			prefix = "told"
		}
		out = append(out, d.URL+"="+prefix)
	}
	return strings.Join(out, " ")
}

func TestBook(t *testing.T) {
	b := &Book{Host: "h", Every: time.Hour, Sinks: []Sink{{Info, "info"}, {Warning, "warn"}, {Critical, "crit"}}, Escalations: []Escalation{{15 * time.Minute, "boss"}, {time.Hour, "ceo"}}}
	now := t0
	for i, c := range []struct {
		after time.Duration
		a     *Action // nil: time passes
		want  string
	}{
		{0, new(alertOf(Warning, "restarted", "app")), "info=told warn=told"},
		{time.Minute, new(alertOf(Info, "recovered", "app")), "info=resolved warn=resolved"},
		{time.Minute, new(alertOf(Warning, "restarted", "app")), ""}, // within the hour
		{time.Minute, new(alertOf(Warning, "restarted", "db")), "info=told warn=told"},
		{time.Minute, new(alertOf(Critical, "gave-up", "app")), "crit=told info=told warn=told"},
		{14 * time.Minute, nil, ""},
		{time.Minute, nil, "boss=unresolved for 15m0s"},
		{time.Minute, nil, ""},
		{44 * time.Minute, nil, "ceo=unresolved for 1h0m0s"},
		{time.Hour, nil, ""},
		{time.Minute, new(alertOf(Info, "recovered", "app")), "boss=resolved ceo=resolved crit=resolved info=resolved warn=resolved"},
		{time.Hour, nil, ""},
		{0, new(alertOf(Info, "recovered", "nobody")), "info=resolved"},
		{0, new(alertOf(Critical, "engine-lost", "")), "crit=told info=told warn=told"},
		{time.Minute, new(alertOf(Info, "engine-back", "")), "crit=resolved info=resolved warn=resolved"},
		{2 * time.Hour, nil, ""},
	} {
		now = now.Add(c.after)
		var got []Delivery
		if c.a != nil {
			got = b.Take(*c.a, now)
		} else {
			got = b.Tick(now)
		}
		if urls(got) != c.want {
			t.Fatalf("step %d: %q, want %q", i, urls(got), c.want)
		}
	}
	if next := b.Next(); !next.IsZero() {
		t.Errorf("next at %s", next)
	}
}

func TestMessage(t *testing.T) {
	b := &Book{Host: "node7"}
	a := alertOf(Critical, "gave-up", "p/web/1")
	a.Name, a.Text = "p-web-1", "gave up after 3 restarts"
	title, text := b.message(a, "")
	if want := "[critical] p/web/1 on node7"; title != want {
		t.Errorf("%q, want %q", title, want)
	}
	for _, part := range []string{"gave up after 3 restarts\n", "service: p/web/1\n", "container: p-web-1\n", "host: node7\n", "attempt: 1 of 3\n", "next: nothing, until it is healthy, recreated, or reset (watchdog reset p-web-1)\n", "last output of the failed probe: status 503?[31m"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

// inNotifier runs a notifier in fake time.
func inNotifier(t *testing.T, b Book, send func(Delivery) error, play func(n *Notifier)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &Notifier{Book: b, Log: slog.New(slog.DiscardHandler), Send: send}
		ctx, cancel := context.WithCancel(t.Context())
		n.Start(ctx)
		synctest.Wait()
		play(n)
		cancel()
		synctest.Wait()
	})
}

func TestNotifierEscalatesInTime(t *testing.T) {
	var mu sync.Mutex
	var got []string
	begin := time.Time{}
	inNotifier(t, Book{Sinks: []Sink{{Warning, "a"}}, Escalations: []Escalation{{15 * time.Minute, "boss"}}, Every: time.Hour}, func(d Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprintf("%s@%s", d.URL, time.Since(begin)))
		return nil
	}, func(n *Notifier) {
		begin = time.Now()
		n.Alert(alertOf(Critical, "gave-up", "app"))
		time.Sleep(time.Hour)
		n.Alert(alertOf(Info, "recovered", "app"))
		synctest.Wait()
		if s := strings.Join(got, " "); s != "a@0s boss@15m0s a@1h0m0s boss@1h0m0s" && s != "a@0s boss@15m0s boss@1h0m0s a@1h0m0s" {
			t.Errorf("got %s", s)
		}
	})
}

// A dead receiver is tried again, bounded, counted, and holds up nobody.
func TestNotifierDeadReceiver(t *testing.T) {
	var mu sync.Mutex
	tries := map[string]int{}
	inNotifier(t, Book{Sinks: []Sink{{Info, "hangs"}, {Info, "refuses"}, {Info, "late"}, {Info, "well"}}}, func(d Delivery) error {
		mu.Lock()
		tries[d.URL]++
		nth := tries[d.URL]
		mu.Unlock()
		switch {
		case d.URL == "hangs":
			time.Sleep(24 * time.Hour)
		case d.URL == "refuses", d.URL == "late" && nth < 3:
			return errors.New("429")
		}
		return nil
	}, func(n *Notifier) {
		begin := time.Now()
		n.Alert(alertOf(Warning, "restarted", "app"))
		if time.Since(begin) != 0 {
			t.Errorf("the loop waits %s", time.Since(begin))
		}
		synctest.Wait()
		if n.Delivered.Load() != 1 {
			t.Errorf("%d delivered at once", n.Delivered.Load())
		}
		time.Sleep(30 * 24 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if fmt.Sprint(tries) != "map[hangs:4 late:3 refuses:4 well:1]" || n.Delivered.Load() != 2 || n.Failed.Load() != 2 {
			t.Errorf("%v, %d delivered, %d failed", tries, n.Delivered.Load(), n.Failed.Load())
		}
	})
	// More than can wait is counted, not waited for.
	inNotifier(t, Book{Sinks: []Sink{{Info, "hangs"}}}, func(Delivery) error { time.Sleep(24 * time.Hour); return nil }, func(n *Notifier) {
		for i := range courierQueue + 10 {
			n.Alert(alertOf(Warning, fmt.Sprint("t", i), "app"))
		}
		if n.Failed.Load() < 9 {
			t.Errorf("%d failed", n.Failed.Load())
		}
		time.Sleep(30 * 24 * time.Hour)
	})
}

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

	a := alertOf(Critical, "gave-up", "app")
	title, text := (&Book{Host: "node7"}).message(a, "")
	for receiver, host := range map[string]string{
		"slack://hook:T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX@webhook": "hooks.slack.com",
		"discord://token@1234567890":                                        "discord.com",
		"generic+http://hook.example/path?template=json":                    "hook.example",
	} {
		if err := CheckReceiver(receiver); err != nil {
			t.Errorf("%s: %v", receiver, err)
		}
		if err := sendByShoutrrr(Delivery{receiver, title, text}); err != nil {
			t.Errorf("%s: %v", receiver, err)
		}
		mu.Lock()
		body := bodies[host]
		mu.Unlock()
		if !strings.Contains(body, "gave-up") || !strings.Contains(body, "last output of the failed probe") {
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
	q := url.Values{"from": {"dog@example.com"}, "to": {"me@example.com"}, "encryption": {"None"}, "auth": {"None"}, "usestarttls": {"no"}}
	if err := sendByShoutrrr(Delivery{"smtp://" + host + ":" + port + "/?" + q.Encode(), title, text}); err != nil {
		t.Error(err)
	}
	if got := mail.text(); !strings.Contains(got, "Subject: [critical] app on node7") || !strings.Contains(got, "gave-up") || !strings.Contains(got, "RCPT TO:<me@example.com>") {
		t.Errorf("the mail is %q", got)
	}
	for _, bad := range []string{"", "nonsense", "slack://", "ftp://x", "generic+https://"} {
		if err := CheckReceiver(bad); err == nil && bad != "generic+https://" {
			t.Errorf("%q is taken", bad)
		}
	}
	srv.Close()
	if err := sendByShoutrrr(Delivery{"generic+http://hook.example/SECRET", title, text}); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("%v", err)
	}
}

// mailServer takes one mail after the other, as RFC 5321 has it.
type mailServer struct {
	addr string
	mu   sync.Mutex
	said strings.Builder
}

func (m *mailServer) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said.String()
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
	say := func(text string) { io.WriteString(c, text+"\r\n") }
	say("220 test ESMTP")
	data := false
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		m.mu.Lock()
		m.said.WriteString(line)
		m.mu.Unlock()
		switch word := strings.ToUpper(strings.TrimSpace(line)); {
		case data && word == ".":
			data = false
			say("250 taken")
		case data:
		case word == "DATA":
			data = true
			say("354 go on")
		case word == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}
