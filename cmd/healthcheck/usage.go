package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
)

// usageError is bad input: what is wrong, and what to write instead.
type usageError = flags.Error

func usagef(hint, format string, args ...any) *usageError {
	return flags.Errorf(hint, format, args...)
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

func (r *raw) argumentError(arg string) error {
	if r.wait && !strings.Contains(arg, "://") && !strings.HasPrefix(arg, "/") {
		return flags.ArgumentError("the command stands behind --: healthcheck wait --db tcp://db:5432 -- COMMAND", arg)
	}
	if strings.Contains(arg, "://") || strings.HasPrefix(arg, "/") {
		return flags.ArgumentError("name the layer that it belongs to: --api, --db or --vector", arg)
	}
	return flags.ArgumentError("healthcheck --help lists the flags", arg)
}

// targetError names a target by its place: its text may hold a password.
func targetError(source string, i, n int, err error) error {
	which := source
	if n > 1 {
		which = fmt.Sprintf("%s number %d", source, i+1)
	}
	hint := "a target is a path (/health) or a URL (http://localhost:5000/health, tcp://db:5432)"
	if ue, ok := errors.AsType[*usageError](err); ok {
		hint = ue.Hint
	}
	return usagef(hint, "%s: %s", which, err)
}
