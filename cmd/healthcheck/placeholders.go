package main

import (
	"net/url"
	"strings"
)

// fill puts variables in the place of {NAME} and {NAME:-DEFAULT} in arguments,
// up to a "--": an exec form has no shell that would. What stands in double
// braces, behind a dollar as a shell has it, or behind a backslash and a letter as \x{2F} in a regular expression,
// is left as it is.
func fill(args, environ []string) ([]string, error) {
	var out []string // nil as long as nothing is filled in
	for i, arg := range args {
		if arg == "--" {
			break
		}
		filled, err := fillOne(arg, environ)
		if err != nil {
			return nil, usagef("set it in the container, or give a default: {"+err.Error()+":-8080}", "%s: {%s} stands for a variable that is not set", flagOf(args, i), err)
		}
		if filled != arg {
			if out == nil {
				out = append(out, args...)
			}
			out[i] = filled
		}
	}
	if out == nil {
		return args, nil
	}
	return out, nil
}

// flagOf names the flag that an argument belongs to, for an error.
func flagOf(args []string, i int) string {
	if name, _, ok := strings.Cut(args[i], "="); ok && strings.HasPrefix(name, "--") {
		return name
	}
	if i > 0 && strings.HasPrefix(args[i-1], "--") {
		return args[i-1]
	}
	return "an argument"
}

// unset is the name of a variable that is not set.
type unset string

func (u unset) Error() string { return string(u) }

func fillOne(arg string, environ []string) (string, error) {
	if !strings.Contains(arg, "{") {
		return arg, nil
	}
	var b strings.Builder
	for rest := arg; ; {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			b.WriteString(rest)
			return b.String(), nil
		}
		name, fallback, length := placeholder(rest[open:])
		before := b.String() + rest[:open]
		if length == 0 || strings.HasSuffix(before, "{") || strings.HasSuffix(before, "$") || escaped(before) {
			b.WriteString(rest[:open+1])
			rest = rest[open+1:]
			continue
		}
		value := lookup(environ, name)
		if value == "" {
			if fallback == nil {
				return "", unset(name)
			}
			value = *fallback
		}
		b.WriteString(rest[:open])
		rest = rest[open+length:]
		if inUser(before, rest) {
			value = url.PathEscape(value)
		}
		b.WriteString(value)
	}
}

// placeholder reads {NAME} or {NAME:-DEFAULT} at the beginning of a text; the
// length is 0 where there is none.
func placeholder(text string) (name string, fallback *string, length int) {
	end := strings.IndexByte(text, '}')
	if end < 0 || strings.HasPrefix(text[end:], "}}") {
		return "", nil, 0
	}
	name, value, given := strings.Cut(text[1:end], ":-")
	if name == "" || name[0] >= '0' && name[0] <= '9' || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return "", nil, 0
	}
	if given {
		fallback = &value
	}
	return name, fallback, end + 1
}

// escaped says whether a brace behind this text belongs to a regular
// expression: \x{2F}, \p{L}, \{.
func escaped(before string) bool {
	n := len(before)
	return n >= 1 && before[n-1] == '\\' || n >= 2 && before[n-2] == '\\'
}

// inUser says whether what stands between the two is a URL's user or password,
// where a value is not to end it.
func inUser(before, behind string) bool {
	at := strings.IndexAny(behind, "@/?#")
	_, authority, ok := strings.Cut(before, "://")
	return ok && !strings.ContainsAny(authority, "/?#") && at >= 0 && behind[at] == '@'
}

func lookup(environ []string, name string) string {
	for _, e := range environ {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}
