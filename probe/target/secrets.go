package target

import (
	"encoding/base64"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"healthcheck/probe"
)

// redacted stands in the output wherever a secret stood.
const redacted = "***"

// EchoBytes bounds what is shown of a text that a server sent.
const EchoBytes = 160

// Secrets are the values of one target that must never be printed. The zero
// value holds none.
type Secrets struct{ values []string }

// Add marks v as a secret, with the forms in which servers and drivers echo
// it: percent-encoded and with quotes escaped.
func (s *Secrets) Add(v string) {
	quoted := strconv.Quote(v)
	for _, form := range []string{v, url.QueryEscape(v), url.PathEscape(v), quoted[1 : len(quoted)-1]} {
		if form != "" && !slices.Contains(s.values, form) {
			s.values = append(s.values, form)
		}
	}
	// The longest first: a secret that contains another is replaced whole.
	slices.SortFunc(s.values, func(a, b string) int { return len(b) - len(a) })
}

// IsPlain says whether a value is a number, a switch or an address, such as 5,
// true or 127.0.0.1: a header or a parameter that has it is no token, whatever
// its name.
func IsPlain(v string) bool {
	if _, err := strconv.ParseBool(v); err == nil {
		return true
	}
	_, err := strconv.Atoi(v)
	const digits = 5 // a longer number may be a PIN
	return err == nil && len(v) <= digits || net.ParseIP(v) != nil || v == "on" || v == "off" || v == "yes" || v == "no"
}

// AddToken marks a user that has no password, or an empty one: it is a token,
// and goes over the wire as the user of HTTP's basic authentication.
func (s *Secrets) AddToken(v string) {
	if v == "" {
		return
	}
	s.Add(v)
	s.Add(base64.StdEncoding.EncodeToString([]byte(v + ":")))
}

// AddUser marks the password of u, and the form that HTTP's basic
// authentication gives it.
func (s *Secrets) AddUser(u *url.Userinfo) {
	if u == nil {
		return
	}
	pw, ok := u.Password()
	if !ok || pw == "" {
		return
	}
	s.Add(pw)
	s.Add(base64.StdEncoding.EncodeToString([]byte(u.Username() + ":" + pw)))
	// The form that stands in the URL itself may differ from both encodings.
	_, raw, _ := strings.Cut(u.String(), ":")
	s.Add(raw)
}

// userIsName says whether a user without a password is a name: in URLs of some
// schemes, and where the password is in a file; elsewhere it is a token.
func (t Target) userIsName() bool {
	scheme, _, _ := strings.Cut(t.URL.Scheme, "+")
	return slices.Contains([]string{"postgres", "postgresql", "pgvector", "mysql", "mariadb", "mongodb", "memcached", "mqtt", "mqtts", "amqp", "amqps", "kafka", "kafkas",
		"clickhouse", "clickhouses"}, scheme) ||
		slices.ContainsFunc(t.Settings, func(s Setting) bool { return s.Key == "password-file" })
}

// SoundsSecret says whether a parameter of that name holds a credential.
func SoundsSecret(name string) bool { return isSecretParam(name) }

// Redact replaces every secret in text. It is applied to a server's text
// before that is cut, so that no part of a secret survives the cut.
func (s *Secrets) Redact(text string) string {
	if s == nil {
		return text
	}
	for _, v := range s.values {
		text = replaceSecret(text, v)
	}
	return text
}

// shortSecret is the length in bytes below which a secret is replaced only
// where it stands alone: the password x is not part of the word x509.
const shortSecret = 6

func replaceSecret(text, v string) string {
	if len(v) >= shortSecret {
		return strings.ReplaceAll(text, v, redacted)
	}
	var b strings.Builder
	rest := text
	for {
		i := strings.Index(rest, v)
		if i < 0 {
			break
		}
		at := len(text) - len(rest) + i
		if alone(text, at, at+len(v)) {
			b.WriteString(rest[:i] + redacted)
		} else {
			b.WriteString(rest[:i+len(v)])
		}
		rest = rest[i+len(v):]
	}
	b.WriteString(rest)
	return b.String()
}

// alone says whether text[from:to] is no part of a longer word or number.
func alone(text string, from, to int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:from])
	after, _ := utf8.DecodeRuneInString(text[to:])
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }
	first, _ := utf8.DecodeRuneInString(text[from:to])
	last, _ := utf8.DecodeLastRuneInString(text[from:to])
	return !(word(before) && word(first)) && !(word(after) && word(last))
}

// QuoteCut is Quote for a text that was cut at its end already, perhaps in the
// middle of a secret: what may be the beginning of one is left out.
func (s *Secrets) QuoteCut(text string) string {
	text = s.Redact(text)
	if s != nil {
		const least = 3 // bytes that tell something
		for n := min(len(text), s.longest()-1); n >= least; n-- {
			end := text[len(text)-n:]
			if slices.ContainsFunc(s.values, func(v string) bool { return strings.HasPrefix(v, end) }) {
				text = text[:len(text)-n] + redacted
				break
			}
		}
	}
	return s.Quote(text)
}

// longest is the length of the longest secret, which is the first.
func (s *Secrets) longest() int {
	if len(s.values) == 0 {
		return 0
	}
	return len(s.values[0])
}

// Quote bounds, redacts and quotes text that came from outside; control
// characters, invalid UTF-8 and invisible runes come out escaped.
func (s *Secrets) Quote(text string) string {
	text = hidePasswords(s.Redact(strings.TrimSpace(text)))
	cut := probe.Cut(text, EchoBytes)
	q := strconv.Quote(cut)
	if len(cut) < len(text) {
		q += "…"
	}
	return q
}

// hidePasswords takes the passwords out of the URLs in a text: an application
// may answer with the connection string that it failed with.
func hidePasswords(text string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "://")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		b.WriteString("://")
		authority := rest
		if i := strings.IndexAny(rest, "/?# \t\r\n\"'`<>\\"); i >= 0 {
			authority = rest[:i]
		}
		text = rest
		user, password, ok := strings.Cut(authority[:strings.LastIndex(authority, "@")+1], ":")
		if ok && password != "@" {
			b.WriteString(user + ":" + redacted + "@")
			text = rest[len(user)+1+len(password):]
		}
	}
}
