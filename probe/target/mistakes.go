package target

import (
	"strings"
	"unicode"
)

// Misuse is a target that is not what was meant, and what to write instead.
// Neither text repeats any of the target, which may hold a password.
type Misuse struct{ Problem, Hint string }

func (m *Misuse) Error() string { return m.Problem }

var (
	errQuotes = &Misuse{"it stands in quotes", "leave them out: an env file and the exec form keep quotes as part of the value"}
	// errUnfilled would be asked for literally: the dollar, and all.
	errUnfilled = &Misuse{"a variable in it was not filled in",
		"the exec form has no shell, and quotes may keep one from filling it in: write the value, or {PORT} in an argument, which this program fills in; a $ that is meant is written %24, a { %7B"}
	// errSeveral would be one address, which a server that answers everything
	// calls healthy.
	errSeveral = &Misuse{"it is more than one target or argument, or has white space in it",
		"put commas between targets; make each argument an element of its own; a blank that is meant is written %20, a comma %2C, a ; %3B"}
)

// Mistake recognises what was not written as one target: one in quotes, one
// with a variable that nothing has filled in, several in one. It returns nil
// where there is no such mistake.
func Mistake(s string) *Misuse {
	address, rest := s, ""
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		address, rest = s[:i], s[i:]
	}
	query, _, _ := strings.Cut(rest, "#")
	scheme, _, isURL := strings.Cut(s, "://")
	web := !isURL || strings.HasPrefix(s, "/") || scheme == "unix" || IsHTTP(strings.ToLower(scheme))
	switch {
	case strings.HasPrefix(s, `"`), strings.HasPrefix(s, "'"):
		return errQuotes
	case isUnfilled(s):
		return errUnfilled
	case strings.ContainsFunc(address, unicode.IsSpace), web && strings.ContainsFunc(query, unicode.IsSpace), holdsAnother(s):
		return errSeveral
	}
	return nil
}

// isUnfilled finds $NAME, ${NAME} and {{ NAME }}. A dollar of a URL's own, as
// in ?$filter= and in a password, is none.
func isUnfilled(s string) bool {
	if strings.HasPrefix(s, "$") || strings.Contains(s, "${") || strings.Contains(s, "{{") {
		return true
	}
	if _, rest, isURL := strings.Cut(s, "://"); isURL && !strings.HasPrefix(s, "/") {
		authority, tail := cutAuthority(rest)
		at := strings.LastIndex(authority, "@") + 1
		_, password, _ := strings.Cut(strings.TrimSuffix(authority[:at], "@"), ":")
		host, fragment, _ := strings.Cut(authority[at:], "#") // $ ends an expression there
		if strings.Contains(host, "$") || isVariable(password) && strings.Trim(password[1:], nameChars) == "" {
			return true
		}
		s = fragment + tail
	}
	for i := range s {
		if isVariable(s[i:]) {
			return true
		}
	}
	return false
}

// isVariable says whether s begins with a dollar and a name as the
// environment's are.
func isVariable(s string) bool {
	return len(s) > 1 && s[0] == '$' && (s[1] == '_' || s[1] >= 'A' && s[1] <= 'Z')
}

// nameChars are those of a variable's name.
const nameChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

// holdsAnother finds a second target, or a flag, behind a comma, a semicolon,
// a bar or white space.
func holdsAnother(s string) bool {
	for i, r := range s {
		blank := unicode.IsSpace(r)
		if !blank && r != ',' && r != ';' && r != '|' {
			continue
		}
		before, behind := s[:i], strings.TrimLeft(s[i+1:], " \t\r\n")
		if blank && strings.HasSuffix(before, ":") && strings.Contains(before, "#") {
			continue // the value of a header: Referer: http://x/
		}
		if Begins(before, behind) || blank && strings.HasPrefix(behind, "--") {
			return true
		}
	}
	return false
}

// Begins says whether text begins with a target, [NAME=]TARGET, and not with
// a setting of the target that stands before it.
func Begins(before, text string) bool {
	name, rest := cutName(text)
	if name != "" && strings.Contains(before, "#") && isSetting(name) {
		return false
	}
	if strings.HasPrefix(rest, "/") {
		return true
	}
	scheme, _, ok := strings.Cut(rest, "://")
	return ok && scheme != "" && IsLetter(rune(scheme[0])) && !strings.ContainsFunc(scheme, func(r rune) bool {
		return !IsLetter(r) && !IsDigit(r) && !strings.ContainsRune("+.-", r)
	})
}
