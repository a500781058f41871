package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
	"healthcheck/probe/target"
)

// usageError is bad input: what is wrong, and what to write instead.
type usageError = flags.Error

// usagef is a usage error with its hint.
//
// Inlined at each of its calls it would take 8 KB more.
//
//go:noinline
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

// others are flags of other probes and of the engine, with what to write here.
var others = []struct{ names, hint string }{
	{"url uri http https endpoint target address addr port path host tcp grpc dns", "the layer says why, and the scheme how: --api http://localhost:5000/health, --db tcp://db:5432"},
	{"cpu-warn mem-warn disk-warn warn-cpu warn-mem warn-disk warn-pids warn-inode warn", "each limit has a twin beyond which it only warns: --warn-cpu-max 80, --warn-disk-min-free 5GiB"},
	{"retries retry start-period start-interval initial-delay", "that is the engine's: HEALTHCHECK --retries=3 CMD …, failureThreshold in Kubernetes"},
}

// parseError is flags.ParseError, with a hint for flags that other programs
// have.
func parseError(fs *pflag.FlagSet, err error) *usageError {
	ue := flags.ParseError("healthcheck", fs, err, example)
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		for _, o := range others {
			if slices.Contains(strings.Fields(o.names), e.GetSpecifiedName()) {
				ue.Hint = o.hint
			}
		}
	}
	return ue
}

// argumentError is about arg, which belongs to no flag.
func (r *raw) argumentError(fs *pflag.FlagSet, args []string, arg string) error {
	before := ""
	if i := slices.Index(args, arg); i > 0 {
		before = args[i-1]
	}
	f := fs.Lookup(strings.TrimPrefix(before, "--"))
	_, notBool := strconv.ParseBool(arg)
	switch {
	case f != nil && f.Value.Type() == "bool" && notBool == nil:
		return usagef(before+", or "+before+"=false", "%s is followed by %q, which belongs to no flag", before, arg)
	case strings.HasSuffix(before, ":"): // a token, perhaps
		return usagef("quotes around it: --header 'NAME: VALUE'", "unexpected argument behind %q", flags.Clip(before))
	case strings.HasPrefix(arg, `"`), strings.HasPrefix(arg, "'"):
		return flags.ArgumentError("leave the quotes out: the exec form keeps them", arg)
	case r.wait && !strings.Contains(arg, "://") && !strings.HasPrefix(arg, "/"):
		return flags.ArgumentError("the command stands behind --: healthcheck wait --db tcp://db:5432 -- COMMAND", arg)
	case strings.Contains(arg, "://") || strings.HasPrefix(arg, "/"):
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
	if m, ok := errors.AsType[*target.Misuse](err); ok {
		hint = m.Hint
	}
	return usagef(hint, "%s: %s", which, err)
}
