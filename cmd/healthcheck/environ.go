package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
)

// readFile reads a secret's file within a time limit.
type readFile func(path string, within time.Duration) (string, error)

// variablePrefix begins the name of every variable that is a setting.
const variablePrefix = "HEALTHCHECK_"

// newEnviron is how HEALTHCHECK_ variables become flags.
func newEnviron(fs *pflag.FlagSet, r *raw, read readFile) flags.Environ {
	const success = "every probe would succeed"
	others := []string{"wait-timeout"}
	if r.wait {
		others = nil
	}
	return flags.Environ{
		Others: others,
		Prefix: variablePrefix, Flags: fs, None: map[string]string{"version": success, "help": success, "body-file": "HEALTHCHECK_BODY_FILE holds the path for --body"},
		First:    "timeout", // it bounds how long the files may take
		Lenient:  true,
		Verbatim: []string{"expect-body", "not-body", "body"}, // a JSON text, perhaps
		// Where HEALTHCHECK_PORT is an image's own, HEALTHCHECK_HOST may be, too.
		Theirs: func(name, value string) bool {
			return name == "HEALTHCHECK_HOST" && (strings.ContainsAny(value, ".:/") || strings.EqualFold(value, "localhost"))
		},
		Example: example, Sample: "cpu-max",
		Reader: "the file must be readable by the user that the probe runs as",
		Read:   func(path string) (string, error) { return read(path, time.Duration(r.timeout)) },
	}
}

// ignoredText says of variables that they are no settings; empty for none.
func ignoredText(names []string) string {
	const most = 5
	switch {
	case len(names) == 0:
		return ""
	case len(names) > most:
		names = append(slices.Clone(names[:most]), fmt.Sprintf("and %d more", len(names)-most))
	}
	for i, name := range names {
		names[i] = flags.Clip(name)
	}
	return "ignored, as no setting has such a name: " + strings.Join(names, ", ")
}
