package probe

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

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

// Cut returns the longest prefix of text that has at most max bytes and
// ends at a rune boundary.
//
// Inlined at each of its calls it would take 8 KB more.
//
//go:noinline
func Cut(text string, max int) string {
	if len(text) <= max {
		return text
	}
	for max > 0 && !utf8.RuneStart(text[max]) {
		max--
	}
	return text[:max]
}

// Ellipsis is Cut with a mark where something was cut.
func Ellipsis(text string, max int) string {
	const mark = "…"
	if len(text) <= max {
		return text
	}
	return Cut(text, max-len(mark)) + mark
}

// Round makes a duration readable: milliseconds below ten seconds, else
// seconds.
func Round(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}
