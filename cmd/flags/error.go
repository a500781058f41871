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
		if e.GetSpecifiedShortnames() != "" {
			name = "-" + e.GetSpecifiedName()
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
		return valueError(fmt.Sprintf("--%s %q", e.GetFlag().Name, Clip(e.GetValue())), e.GetFlag(), e.Unwrap(), example)
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

// valueError says what is wrong with a value; source names it as it was given.
func valueError(source string, f *pflag.Flag, err error, example func(*pflag.Flag) string) *Error {
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
	return Errorf("for example: "+example(f), "%s: %s", source, want)
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

// Clip bounds what an error repeats of its input, to 60 characters.
func Clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
