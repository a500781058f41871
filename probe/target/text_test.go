package target

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"healthcheck/probe"
)

func TestCleanEscapesWhatATerminalWouldObey(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü text":     "plain ü text",
		"a\nb":             `a\nb`,
		"\x1b[31mred":      `\x1b[31mred`,
		"\xff":             `\xff`,
		"right\u202eleft":  `right\u202eleft`,
		"\u2028separator":  `\u2028separator`,
		"tab\tand\x00null": `tab\tand\x00null`,
	} {
		if got := probe.Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestQuoteBoundsWhatAServerSaid(t *testing.T) {
	var s Secrets
	got := s.Quote(strings.Repeat("ü", 1000))
	if len(got) > EchoBytes+8 || !strings.HasSuffix(got, `"…`) || !utf8.ValidString(got) {
		t.Errorf("got %d bytes: %s", len(got), got)
	}
}

func TestQuoteRedactsBeforeItCuts(t *testing.T) {
	var s Secrets
	s.Add("hunter2hunter2")
	got := s.Quote(strings.Repeat("x", EchoBytes-7) + "hunter2hunter2")
	if strings.Contains(got, "hunter") {
		t.Errorf("part of the secret survived the cut: %s", got)
	}
}

// What only looks like a secret stays readable.
func TestShortSecretsStandAlone(t *testing.T) {
	var s Secrets
	s.Add("x")
	s.Add("p@w")
	for in, want := range map[string]string{
		"x509: password x": "x509: password ***", "x": "***", "the (x)": "the (***)", "box x box": "box *** box", "u:p@w@h": "u:***@h", "xx": "xx",
	} {
		if got := s.Redact(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A text that ends in the middle of a secret gives no part of it away.
func TestQuoteCut(t *testing.T) {
	var s Secrets
	s.Add("hunter2hunter2")
	for in, want := range map[string]string{
		"token hunter2hun": `"token ***"`, "token hunter2hunter2": `"token ***"`, "token": `"token"`, "token h": `"token h"`, "": `""`,
	} {
		if got := s.QuoteCut(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func FuzzSecretsNeverSurvive(f *testing.F) {
	for _, seed := range []string{"p@ss/w:rd", `a"b\c`, "%41%zz", "pässwörd", "with space", "***", "\x00\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pw string) {
		if len(pw) < 6 || strings.Trim(pw, "*") == "" || strings.Contains("user:", pw) {
			return // too short to tell from the words around it
		}
		var s Secrets
		s.AddUser(url.UserPassword("user", pw))
		for _, form := range []string{pw, url.QueryEscape(pw), url.PathEscape(pw),
			base64.StdEncoding.EncodeToString([]byte("user:" + pw)), url.UserPassword("user", pw).String()} {
			if got := s.Redact("<" + form + ">"); strings.Contains(got, pw) {
				t.Errorf("Redact(%q) = %q", form, got)
			}
		}
	})
}

// The connection string that an application failed with is none to print.
func TestQuoteHidesPasswordsInURLs(t *testing.T) {
	var s Secrets
	for in, want := range map[string]string{
		"no route to postgresql://app:hunter2@db:5432/app, redis://:pw@r:6379": "no route to postgresql://app:***@db:5432/app, redis://:***@r:6379",
		"{'url': 'amqp://u:p@ss@h'}":                       "{'url': 'amqp://u:***@h'}",
		"http://h:80/a@b:c and http://u@h and http://u:@h": "http://h:80/a@b:c and http://u@h and http://u:@h",
		"://://a:b@": "://://a:***@", "a://": "a://",
	} {
		if got := s.Quote(in); got != strconv.Quote(want) {
			t.Errorf("%s: %s, want %q", in, got, want)
		}
	}
}

func TestRecognize(t *testing.T) {
	for first, want := range map[string]string{
		"HTTP/1.1 400": "HTTP", "INFO {\"server": "NATS", "INFO hello": "", "\x15\x03\x01\x00\x02\x02\x46": "TLS", "J\x00\x00\x00\x0a8.0.36\x00": "MySQL", "J\x00\x00\x00\x0a11.4.2\x00": "MySQL",
		"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00": "HTTP/2",
		// MongoDB's length and number of an answer, PostgreSQL's, and too little.
		"\x40\x00\x00\x00\x0a\x00\x00\x00\x01": "", "R\x00\x00\x00\b\x00\x00\x00\x00": "", "J\x00\x00\x00\x0a": "", "": "",
	} {
		if got := Recognize([]byte(first)); got != want {
			t.Errorf("%q: %q, want %q", first, got, want)
		}
	}
}
