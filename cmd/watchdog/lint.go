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

// lintFlags are the flags of watchdog lint.
type lintFlags struct {
	compose, host, output string
	settings              recovery.Settings
}

func newLintFlags() (*pflag.FlagSet, *lintFlags) {
	f := &lintFlags{}
	fs := newFlagSet("lint")
	fs.StringVar(&f.compose, "compose", "", "`FILE` a compose file, in place of the running containers")
	fs.StringVar(&f.host, "host", "", "`URL` the engine's address, unix:// or tcp://; before DOCKER_HOST")
	fs.StringVar(&f.output, "output", "text", "`FORMAT` text, json, github or sarif")
	fs.StringSliceVar(&f.settings.Services, "services", nil, "`NAME,…` these count as watched")
	fs.BoolVar(&f.settings.All, "all", false, "all with a healthcheck count as watched")
	return fs, f
}

// runLint is watchdog lint: what will go wrong, in the running containers or in
// a compose file. It exits 1 when it has found an error.
func runLint(ctx context.Context, g given, stdout, stderr io.Writer) int {
	fs, f := newLintFlags()
	environ, err := g.parse(fs, 0)
	if err == nil {
		err = checkEngine(environ.Source("host"), f.host, g.environ)
	}
	if err != nil {
		return failOrHelp(err, "lint", stdout, stderr)
	}
	format, ok := lint.Formats[f.output]
	if !ok {
		return fail(stderr, usagef("--output text, json, github or sarif", "%s: want text, json, github or sarif", environ.Given("output")))
	}
	subjects, err := lintSubjects(ctx, f.compose, f.host, f.settings)
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
