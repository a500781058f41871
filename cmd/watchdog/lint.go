package main

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/lint"
	"healthcheck/watchdog/recovery"
)

// lintTimeout bounds the inspection of all running containers.
const lintTimeout = time.Minute

// runLint is watchdog lint: what will go wrong, in the running containers or in
// a compose file. It exits 1 when it has found an error.
func runLint(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := pflag.NewFlagSet("lint", pflag.ContinueOnError)
	fs.Usage = func() {}
	compose := fs.String("compose", "", "")
	host := fs.String("host", "", "")
	output := fs.String("output", "text", "")
	settings := recovery.Settings{}
	fs.StringSliceVar(&settings.Services, "services", nil, "")
	fs.BoolVar(&settings.All, "all", false, "")
	if err := fs.Parse(args); err != nil {
		return helpOrFail(err, stdout, stderr)
	}
	format, ok := lint.Formats[*output]
	switch {
	case fs.NArg() > 0:
		return fail(stderr, usagef("watchdog lint --compose FILE", "unexpected argument %q", fs.Arg(0)))
	case !ok:
		return fail(stderr, usagef("--output text, json, github or sarif", "--output %q: want text, json, github or sarif", *output))
	}
	subjects, err := lintSubjects(ctx, *compose, *host, settings)
	if err != nil {
		return fail(stderr, usagef("watchdog lint looks at the engine, watchdog lint --compose FILE at a file", "%v", err))
	}
	findings := []lint.Finding{}
	for _, s := range subjects {
		findings = append(findings, lint.Check(s)...)
	}
	format(stdout, findings, buildVersion())
	if slices.ContainsFunc(findings, func(f lint.Finding) bool { return f.Level == "error" }) {
		return 1
	}
	return 0
}

// lintSubjects reads a compose file, or asks the engine where none is named.
func lintSubjects(ctx context.Context, compose, host string, settings recovery.Settings) ([]lint.Subject, error) {
	if compose != "" {
		return lint.Compose(compose, settings)
	}
	ctx, cancel := context.WithTimeout(ctx, lintTimeout)
	defer cancel()
	engine, err := docker.New(host)
	if err != nil {
		return nil, err
	}
	return lint.Engine(ctx, engine, settings)
}
