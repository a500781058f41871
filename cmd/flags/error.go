// Package flags reads the arguments and the environment of both programs: the
// variables of flags and the files that they name, and what is said about bad
// input.
package flags

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"healthcheck/probe"
)

// Error is bad input: what is wrong, and what to write instead. Neither holds
// a secret.
type Error struct{ Problem, Hint string }

func (e *Error) Error() string { return e.Problem }

// Errorf makes an Error, whose problem is formatted.
//
// Inlined at each of its calls it would take 4 KB more.
//
//go:noinline
func Errorf(hint, format string, args ...any) *Error {
	return &Error{fmt.Sprintf(format, args...), hint}
}

// Want is the complaint of a flag's value: what it should have been.
type Want string

func (e Want) Error() string { return string(e) }

// ParseError puts pflag's complaint about the arguments of a command into this
// project's words; example completes the hint for a bad value.
func ParseError(command string, fs *pflag.FlagSet, err error, example func(*pflag.Flag) string) *Error {
	help := command + " --help lists the flags"
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := "--" + e.GetSpecifiedName()
		if short := e.GetSpecifiedShortnames(); short != "" {
			name = "-" + e.GetSpecifiedName()
			if long, _, _ := strings.Cut(short, "="); fs.Lookup(long) != nil {
				return Errorf("did you mean --"+long+"?", "unknown flag -%s", long)
			}
		}
		if first, _, several := strings.Cut(name, " "); several { // what is behind it may hold a password
			return severalInOne(fs, strings.TrimPrefix(first, "--"))
		}
		if near := Nearest(e.GetSpecifiedName(), Names(fs)); near != "" {
			return Errorf("did you mean --"+near+"?", "unknown flag %s", Clip(probe.Clean(name)))
		}
		return Errorf(help, "unknown flag %s", Clip(probe.Clean(name)))
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		kind, _ := Kind(e.GetFlag())
		return Errorf("--"+e.GetFlag().Name+" "+kind, "--%s needs a value", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return valueError(fmt.Sprintf("--%s %q", e.GetFlag().Name, Clip(e.GetValue())), e.GetValue(), e.GetFlag(), e.Unwrap(), example)
	}
	return Errorf(help, "malformed argument")
}

// ArgumentError is about an argument that no command takes. What looks like an
// address is not repeated, as it holds a password more often than not.
func ArgumentError(hint, arg string) *Error {
	if scheme, _, ok := strings.Cut(arg, "://"); ok {
		return Errorf(hint, "unexpected argument: a %s URL", probe.Clean(Clip(scheme)))
	}
	return Errorf(hint, "unexpected argument %q", Clip(arg))
}

// severalInOne is about a flag and its value in one element of the exec form.
func severalInOne(fs *pflag.FlagSet, name string) *Error {
	const problem = "a flag and what follows it are one argument: %s …"
	f := fs.Lookup(name)
	if f == nil {
		return Errorf("make each an element of its own", problem, Clip(probe.Clean("--"+name)))
	}
	hint := `"--` + name + `"`
	if kind, _ := Kind(f); kind != "" {
		hint += `, "` + strings.ToUpper(kind) + `"`
	}
	return Errorf("make each an element of its own: "+hint, problem, "--"+name)
}

// valueError says what is wrong with a value; source names it as it was given.
func valueError(source, value string, f *pflag.Flag, err error, example func(*pflag.Flag) string) *Error {
	want, ok := errors.AsType[Want](err)
	switch {
	case ok:
	case f.Value.Type() == "bool":
		want = "want true or false"
	case f.Value.Type() == "int":
		want = "want a whole number"
	case f.Value.Type() == "float64":
		want = "want a number"
	case f.Value.Type() == "duration":
		want = "want a duration with its unit, such as 30s or 500ms"
	default:
		want = "not valid"
	}
	hint := "for example: " + example(f)
	if strings.EqualFold(f.Value.Type(), "duration") && strings.Trim(value, "0") != "" && strings.Trim(value, "0123456789") == "" && len(value) < 6 {
		hint = "with its unit: " + value + "s"
	}
	if strings.Contains(value, " --") {
		hint = "make each argument an element of its own"
	}
	return Errorf(hint, "%s: %s", source, want)
}

// Kind is the type of a flag's value as people read it, empty for a flag that
// is on or off, and what the flag means. A kind of its own stands in backquotes
// at the beginning of the usage.
func Kind(f *pflag.Flag) (kind, usage string) {
	kind, usage = pflag.UnquoteUsage(f)
	switch kind {
	case "int":
		kind = "N"
	case "duration", "string":
		kind = strings.ToUpper(kind)
	}
	if strings.HasPrefix(f.Usage, "`") {
		usage = strings.TrimSpace(strings.TrimPrefix(usage, kind))
	}
	return kind, usage
}

// Names lists the names of all flags.
func Names(fs *pflag.FlagSet) (names []string) {
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// Clip bounds what an error repeats of its input, to 60 characters. Of what
// looks like an address it leaves the beginning and the end: a password stands
// in between more often than not.
func Clip(s string) string {
	if i := strings.Index(s, "://"); i >= 0 {
		s = s[:i+3] + "…"
	} else if i := strings.LastIndex(s, "@"); i > 0 {
		s = "…" + s[i:]
	}
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
