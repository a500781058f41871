package target

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"

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

// Redact replaces every secret in text. It is applied to a server's text
// before that is cut, so that no part of a secret survives the cut.
func (s *Secrets) Redact(text string) string {
	if s == nil {
		return text
	}
	for _, v := range s.values {
		text = strings.ReplaceAll(text, v, redacted)
	}
	return text
}

// Quote bounds, redacts and quotes text that came from outside; control
// characters, invalid UTF-8 and invisible runes come out escaped.
func (s *Secrets) Quote(text string) string {
	text = s.Redact(strings.TrimSpace(text))
	cut := probe.Cut(text, EchoBytes)
	q := strconv.Quote(cut)
	if len(cut) < len(text) {
		q += "…"
	}
	return q
}
