package probe

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// redacted stands in the output wherever a secret stood.
const redacted = "***"

// echoBytes bounds what is shown of a text that a server sent.
const echoBytes = 160

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

// quote bounds, redacts and quotes text that came from outside; control
// characters, invalid UTF-8 and invisible runes come out escaped.
func (s *Secrets) quote(text string) string {
	text = s.Redact(strings.TrimSpace(text))
	cut := cutRunes(text, echoBytes)
	q := strconv.Quote(cut)
	if len(cut) < len(text) {
		q += "…"
	}
	return q
}

// Clean makes text safe for one line of a terminal or a log: whatever is not
// printable, line ends included, comes out escaped.
func Clean(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if unicode.IsPrint(r) && (r != utf8.RuneError || n > 1) {
			b.WriteRune(r)
		} else {
			q := strconv.Quote(text[i : i+n])
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

// cutRunes returns the longest prefix of text that has at most max bytes and
// ends at a rune boundary.
func cutRunes(text string, max int) string {
	if len(text) <= max {
		return text
	}
	for max > 0 && !utf8.RuneStart(text[max]) {
		max--
	}
	return text[:max]
}

// ellipsis is cutRunes with a mark where something was cut.
func ellipsis(text string, max int) string {
	const mark = "…"
	if len(text) <= max {
		return text
	}
	return cutRunes(text, max-len(mark)) + mark
}
