package protocol

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// lineServer answers each line that comes with what talk says to it; the
// greeting is what it says to an empty one.
func lineServer(t *testing.T, talk func(line string) string) string {
	t.Helper()
	return rawServer(t, func(c net.Conn) { lineTalk(c, talk) })
}

func lineTalk(c net.Conn, talk func(line string) string) {
	io.WriteString(c, talk(""))
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		io.WriteString(c, talk(strings.TrimRight(line, "\r\n")))
	}
}

// The recipes of docs/targets.md, against servers that answer as the real ones
// are documented to; memcached itself is asked in e2e.
func TestRecipes(t *testing.T) {
	text, err := os.ReadFile("../../docs/targets.md")
	must(t, err)
	_, table, _ := strings.Cut(string(text), "| server | target |")
	table, _, _ = strings.Cut(table, "\n\n")
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("`(?:tcp|unix)://[^#`]+(#[^`]+)`").FindAllStringSubmatch(table, -1) {
		documented[m[1]] = !strings.Contains(m[1], "starttls") // which TestStartTLS asks for
	}
	for settings, talk := range map[string]map[string]string{
		`#send=version\r\n,expect=^VERSION`:      {"version": "VERSION 1.6.38\r\n"},
		`#send=ruok,expect=^imok$`:               {"ruok": "imok"},
		`#send=zPING\0,expect=^PONG`:             {"zPING\x00": "PONG\x00"},
		`#expect=^220,send=QUIT\r\n,expect=^221`: {"": "220 mail ESMTP\r\n", "QUIT": "221 Bye\r\n"},
		`#expect=^SSH-2.0-`:                      {"": "SSH-2.0-OpenSSH_9.2p1\r\n"},
	} {
		if !documented[settings] {
			t.Errorf("docs/targets.md lacks %s", settings)
		}
		delete(documented, settings)
		addr := rawServer(t, func(c net.Conn) {
			io.WriteString(c, talk[""])
			buf := make([]byte, 64)
			n, _ := c.Read(buf)
			io.WriteString(c, talk[strings.TrimRight(string(buf[:n]), "\r\n")])
			untilClosed(c)
		})
		if f, err := probeOnce(t, TCP, "tcp://"+addr+settings, patience); err != nil || !strings.Contains(f.Message, "tcp://"+addr+": answered ") {
			t.Errorf("%s: %q, %v", settings, f.Message, err)
		}
		// The exec form's JSON may have filled the line ends in.
		if _, err := probeOnce(t, TCP, "tcp://"+addr+strings.ReplaceAll(settings, `\r\n`, "\r\n"), patience); err != nil {
			t.Errorf("%q: %v", settings, err)
		}
		// The same server with another answer fails.
		other := rawServer(t, func(c net.Conn) { io.WriteString(c, "-ERR out of order\r\n") })
		_, err := probeOnce(t, TCP, "tcp://"+other+settings, patience)
		wantFailure(t, err, probe.StageResponse, `it sent "-ERR out of order"`)
	}
	for settings, untested := range documented {
		if untested {
			t.Errorf("the recipe %s is not tested", settings)
		}
	}
}

func TestConversations(t *testing.T) {
	smtp := lineServer(t, func(line string) string {
		switch line {
		case "":
			return "220-mail.example\r\n220 ESMTP\r\n"
		case "EHLO probe":
			return "250-mail.example\r\n250 PIPELINING\r\n"
		case "QUIT":
			return "221 Bye\r\n"
		}
		return "502 what?\r\n"
	})
	f, err := probeOnce(t, TCP, "tcp://"+smtp+`#expect=^220 ,send=EHLO probe\r\n,expect=^250 PIPELINING,send=QUIT\r\n,expect=^221 .*`, patience)
	if err != nil || f.Message != "tcp://"+smtp+`: answered "221 Bye"` {
		t.Errorf("%q, %v", f.Message, err)
	}
	// Without settings it connects; without expect= it only speaks.
	for _, settings := range []string{"", `#send=QUIT\r\n`} {
		if f, err := probeOnce(t, TCP, "tcp://"+smtp+settings, patience); err != nil || f.Message != "tcp://"+smtp+": connected" {
			t.Errorf("%q, %v", f.Message, err)
		}
	}
	_, err = probeOnce(t, TCP, "tcp://"+smtp+`#send=NOOP\r\n,expect=^250`, 300*time.Millisecond)
	wantFailure(t, err, probe.StageResponse, `no answer within 300ms, want "^250": it sent "220-mail.example\r\n220 ESMTP\r\n502 what?"`)
	silent := rawServer(t, untilClosed)
	_, err = probeOnce(t, TCP, "tcp://"+silent+`#expect=^220`, 300*time.Millisecond)
	wantFailure(t, err, probe.StageResponse, `no answer within 300ms, want "^220": it said nothing`)
	endless := rawServer(t, func(c net.Conn) { forever(c, strings.Repeat("x", 4096), time.Microsecond) })
	_, err = probeOnce(t, TCP, "tcp://"+endless+`#expect=^220`, patience)
	wantFailure(t, err, probe.StageResponse, "nothing in the first 65536 bytes matches")
	// Bytes of all kinds, and what is secret is not shown.
	echo := rawServer(t, func(c net.Conn) { io.Copy(c, c) })
	f, err = probeOnce(t, TCP, "tcp://"+echo+`#send=a\x00\t\\%25,expect=^a\x00\t\\%25$`, patience)
	if err != nil || !strings.HasSuffix(f.Message, `: answered "a\x00\t\\%"`) {
		t.Errorf("%q, %v", f.Message, err)
	}
}

// The connection is a Unix socket, of either kind, or TLS.
func TestStreamsOfAllKinds(t *testing.T) {
	pong := func(line string) string { return map[string]string{"PING": "PONG\n"}[line] }
	file := filepath.Join(t.TempDir(), "a.sock")
	abstract := "@healthcheck/test-" + filepath.Base(filepath.Dir(filepath.Dir(file))) + fmt.Sprint(time.Now().UnixNano())
	for _, name := range []string{file, abstract} {
		ln, err := net.Listen("unix", name)
		must(t, err)
		defer ln.Close()
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() { defer c.Close(); lineTalk(c, pong) }()
			}
		}()
		f, err := probeOnce(t, Unix, "unix://"+name+`#send=PING\n,expect=^PONG`, patience)
		if err != nil || f.Message != "unix://"+name+`: answered "PONG"` {
			t.Errorf("%q, %v", f.Message, err)
		}
		_, err = probeOnce(t, Unix, "unix://"+name+`:/health`, 300*time.Millisecond)
		wantFailure(t, err, probe.StageResponse, "GET unix://"+name+":/health: ")
	}
	a := newAuthority(t)
	pair, _, _ := a.issue("localhost", 10*day+time.Hour)
	port := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{pair}}, func(c net.Conn) { lineTalk(c, pong) })
	f, err := probeOnce(t, TCP, "tls://localhost:"+port+`#send=PING\n,expect=^PONG,ca-cert=`+a.file, patience)
	if err != nil || f.Message != "tls://localhost:"+port+`: answered "PONG"` {
		t.Errorf("%q, %v", f.Message, err)
	}
	f, err = probeOnce(t, TCP, "tls://localhost:"+port+`#cert-days=14,ca-cert=`+a.file, patience)
	if err != nil || f.Status != probe.Warn || !strings.Contains(f.Message, ": connected, TLS: certificate expires on ") {
		t.Errorf("%s %q, %v", f.Status, f.Message, err)
	}
	_, err = probeOnce(t, TCP, "tls://localhost:"+port, patience)
	wantFailure(t, err, probe.StageTLS, "signed by an unknown authority")
}

func TestUDP(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if string(buf[:n]) == "ping" {
				pc.WriteTo([]byte("pong"), from)
			}
		}
	}()
	_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
	for _, settings := range []string{"#send=ping", "#send=ping,expect=^p.ng$"} {
		if f, err := probeOnce(t, UDP, "udp://localhost:"+port+settings, patience); err != nil || !strings.HasSuffix(f.Message, `: answered "pong"`) {
			t.Errorf("%q, %v", f.Message, err)
		}
	}
	_, err = probeOnce(t, UDP, "udp://localhost:"+port+"#send=pnig", 300*time.Millisecond)
	wantFailure(t, err, probe.StageResponse, "no answer within 300ms", "it said nothing")
	closed, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	addr := closed.LocalAddr().String()
	closed.Close()
	_, err = probeOnce(t, UDP, "udp://"+addr+"#send=ping", patience)
	wantFailure(t, err, probe.StageConnect, "connection refused")
}

func TestStartTLS(t *testing.T) {
	a := newAuthority(t)
	pair, _, _ := a.issue("localhost", 100*day)
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}}
	// agree answers each request in the clear, then speaks TLS and echoes.
	agree := func(greeting string, answers ...string) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, greeting)
			for _, answer := range answers {
				c.Read(make([]byte, 512))
				io.WriteString(c, answer)
			}
			tc := tls.Server(c, cfg)
			defer tc.Close()
			io.Copy(tc, tc)
		}
	}
	const ldapOK = "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"
	for _, c := range []struct {
		kind  string
		serve func(net.Conn)
		stage probe.Stage
		says  string
	}{
		{"smtp", agree("220-a\r\n220 b\r\n", "250-a\r\n250-STARTTLS\r\n250 b\r\n", "220 go ahead\r\n"), "", ""},
		{"imap", agree("* OK IMAP4rev1 ready\r\n", "* CAPABILITY x\r\na OK begin\r\n"), "", ""},
		{"postgres", agree("", "S"), "", ""},
		{"ldap", agree("", ldapOK), "", ""},
		// Active Directory writes lengths in the long form.
		{"ldap", agree("", "\x30\x84\x00\x00\x00\x10\x02\x01\x01\x78\x84\x00\x00\x00\x07\x0a\x01\x00\x04\x00\x04\x00"), "", ""},
		{"smtp", agree("220 a\r\n", "250 a\r\n", "454 not now\r\n"), probe.StageTLS, `the server refuses TLS: "454 not now"`},
		{"smtp", agree("421 too busy\r\n"), probe.StageStatus, `the server answers "421 too busy", want 220 or 250`},
		{"smtp", agree("220 a\r\n", "250 a\r\n", "220 go\r\n250 injected\r\n"), probe.StageTLS, `says more in the clear once TLS is agreed on: "250 injected"`},
		{"imap", agree("* OK ready\r\n", "a BAD what?\r\n"), probe.StageTLS, `the server refuses TLS: "a BAD what?"`},
		{"imap", agree("+OK POP3\r\n"), probe.StageResponse, `want "^\\* OK.*\\n": it sent "+OK POP3"`},
		{"postgres", agree("", "N"), probe.StageTLS, `the server refuses TLS: "N"`},
		{"ldap", agree("", "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"), probe.StageTLS, "the server refuses TLS"},
		{"ldap", agree("", "HTTP/1.1 400 Bad Request\r\n"), probe.StageResponse, `does not speak LDAP: it sent "HTTP/1.1 400`},
		{"ldap", func(c net.Conn) { c.Read(make([]byte, 512)); io.WriteString(c, ldapOK[:5]) }, probe.StageResponse, "the server closed the connection"},
		{"ldap", untilClosed, probe.StageResponse, "no answer within 300ms"},
	} {
		limit := patience
		if strings.Contains(c.says, "300ms") || c.kind == "imap" && c.stage == probe.StageResponse {
			limit = 300 * time.Millisecond
		}
		text := "tcp://localhost:" + portOf(rawServer(t, c.serve)) + `#starttls=` + c.kind + `,send=PING\n,expect=^PING$,ca-cert=` + a.file
		f, err := probeOnce(t, TCP, text, limit)
		if c.stage != "" {
			wantFailure(t, err, c.stage, c.says)
		} else if err != nil || !strings.HasSuffix(f.Message, `: answered "PING"`) {
			t.Errorf("%s: %q, %v", c.kind, f.Message, err)
		}
	}
}

// The header stands before everything else, TLS included.
func TestProxyProtocol(t *testing.T) {
	const v2 = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	got := make(chan string, 1)
	read := func(c net.Conn, n int) {
		buf := make([]byte, n)
		io.ReadFull(c, buf)
		got <- string(buf)
		untilClosed(c)
	}
	addr := rawServer(t, func(c net.Conn) { read(c, len(v2)+3) })
	_, err := probeOnce(t, TCP, "tcp://"+addr+"#proxy-protocol=2,send=abc", patience)
	must(t, err)
	if text := <-got; text != v2+"abc" {
		t.Errorf("%q", text)
	}
	addr = rawServer(t, func(c net.Conn) {
		text, err := bufio.NewReader(c).ReadString('\n')
		want := fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %s %s\r\n", portOf(c.RemoteAddr().String()), portOf(c.LocalAddr().String()))
		if err != nil || text != want {
			t.Errorf("%q, %v, want %q", text, err, want)
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	_, err = probeOnce(t, HTTP, "http://"+addr+"/#proxy-protocol=1", patience)
	must(t, err)
	file := filepath.Join(t.TempDir(), "a.sock")
	ln, err := net.Listen("unix", file)
	must(t, err)
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err == nil {
			defer c.Close()
			read(c, len("PROXY UNKNOWN\r\nabc"))
		}
	}()
	_, err = probeOnce(t, Unix, "unix://"+file+"#proxy-protocol=1,send=abc", patience)
	must(t, err)
	if text := <-got; text != "PROXY UNKNOWN\r\nabc" {
		t.Errorf("%q", text)
	}
}

func TestBadStreams(t *testing.T) {
	for in, want := range map[string]string{
		`tcp://x:1#send=`:                "it is empty",
		`tcp://x:1#send=a\`:              `ends in a single \`,
		`tcp://x:1#send=\q`:              `unknown escape \q`,
		`tcp://x:1#send=\x4`:             "two hexadecimal digits",
		`tcp://x:1#send=\xzz`:            "two hexadecimal digits",
		`tcp://x:1#expect=(`:             "missing closing )",
		`tcp://x:1#starttls=pop3`:        "want smtp, imap, postgres, ldap",
		`tls://x:1#starttls=smtp`:        "tls:// speaks TLS from the beginning",
		`tls://x`:                        "a tls target needs a host and a port: tls://host:port",
		`udp://x:1`:                      "needs something to send",
		`udp://x:1#expect=a`:             "needs something to send",
		`udp://x:1#send=a,starttls=smtp`: "starttls= is for tcp://",
		`unix:///a.sock#starttls=smtp`:   "over tcp://",
		`unix://@`:                       "unix://@name",
		`tcp://x:1#status=200`:           `takes no setting "status"`,
	} {
		tg, err := target.ParseTarget(in, testBase)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if _, err = New(tg, testOptions(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}
