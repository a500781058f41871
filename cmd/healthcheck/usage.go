package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"healthcheck/probe"
)

// usageError is bad input: what is wrong, and what to write instead.
type usageError struct{ problem, hint string }

func (e *usageError) Error() string { return e.problem }

func usagef(hint, format string, args ...any) *usageError {
	return &usageError{fmt.Sprintf(format, args...), hint}
}

// flagError turns pflag's errors into this program's.
func flagError(fs *pflag.FlagSet, err error) error {
	const help = "healthcheck --help lists the flags"
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := "--" + e.GetSpecifiedName()
		if e.GetSpecifiedShortnames() != "" {
			name = "-" + e.GetSpecifiedName()
		}
		if near := nearest(e.GetSpecifiedName(), flagNames(fs)); near != "" {
			return usagef("did you mean --"+near+"?", "unknown flag %s", probe.Clean(name))
		}
		return usagef(help, "unknown flag %s", probe.Clean(name))
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return usagef("--"+e.GetFlag().Name+" "+e.GetFlag().Value.Type(), "--%s needs a value", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return valueError("--"+e.GetFlag().Name, e.GetFlag(), e.GetValue(), e.Unwrap())
	}
	return usagef(help, "malformed argument")
}

// valueError says what is wrong with the value of a flag or of its variable.
func valueError(source string, f *pflag.Flag, value string, err error) error {
	want, ok := errors.AsType[wantError](err)
	switch {
	case ok:
	case f.Value.Type() == "bool":
		want = "want true or false"
	case f.Value.Type() == "int":
		want = "want a whole number"
	default:
		want = "not valid"
	}
	return usagef("for example: "+example(f), "%s %q: %s", source, clip(value), want)
}

func example(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "--" + f.Name
	case "DURATION":
		return "--" + f.Name + " 2s"
	case "PERCENT", "NUMBER":
		return "--" + f.Name + " 80"
	case "SIZE":
		return "--" + f.Name + " 4GiB"
	}
	return "--" + f.Name + " 3"
}

func argumentError(arg string) error {
	hint := "healthcheck --help lists the flags"
	if scheme, _, ok := strings.Cut(arg, "://"); ok {
		// A target holds a password more often than not: it is not repeated.
		return usagef("name the layer that it belongs to: --api, --db or --vector", "unexpected argument: a %s URL", clip(scheme))
	}
	if strings.HasPrefix(arg, "/") {
		hint = "name the layer that it belongs to: --api, --db or --vector"
	}
	return usagef(hint, "unexpected argument %q", clip(arg))
}

// targetError names a target by its place: its text may hold a password.
func targetError(source string, i, n int, err error) error {
	which := source
	if n > 1 {
		which = fmt.Sprintf("%s number %d", source, i+1)
	}
	hint := "a target is a path (/health) or a URL (http://localhost:5000/health, tcp://db:5432)"
	if ue, ok := errors.AsType[*usageError](err); ok {
		hint = ue.hint
	}
	return usagef(hint, "%s: %s", which, err)
}
