package main

import (
	"time"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
)

// readFile reads a secret's file within a time limit.
type readFile func(path string, within time.Duration) (string, error)

// newEnviron is how HEALTHCHECK_ variables become flags.
func newEnviron(fs *pflag.FlagSet, r *raw, read readFile) flags.Environ {
	const success = "every probe would succeed"
	others := []string{"wait-timeout"}
	if r.wait {
		others = nil
	}
	return flags.Environ{
		Others: others,
		Prefix: "HEALTHCHECK_", Flags: fs, None: map[string]string{"version": success, "help": success},
		First:   "timeout", // it bounds how long the files may take
		Example: example, Sample: "cpu-max",
		Reader: "the file must be readable by the user that the probe runs as",
		Read:   func(path string) (string, error) { return read(path, time.Duration(r.timeout)) },
	}
}
