package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/lint"
	"healthcheck/watchdog/recovery"
)

// lintTimeout bounds the inspection of all running containers.
const lintTimeout = time.Minute

// maxLintFile is the largest file that is read, in bytes.
const maxLintFile = 16 << 20

// lintFlags are the flags of watchdog lint.
type lintFlags struct {
	compose, kubernetes, envFiles []string
	host, output                  string
	options                       lint.Options
	settings                      recovery.Settings
}

func newLintFlags() (*pflag.FlagSet, *lintFlags) {
	f := &lintFlags{}
	fs := newFlagSet("lint")
	fs.StringArrayVarP(&f.compose, "compose", "f", nil, "`FILE` a compose file, - for the standard input; repeatable, merged")
	fs.StringArrayVar(&f.kubernetes, "kubernetes", nil, "`FILE` a Kubernetes manifest; further ones may follow")
	fs.StringArrayVar(&f.envFiles, "env-file", nil, "`FILE` variables for compose files, in place of .env")
	fs.StringVar(&f.host, "host", "", "`URL` the engine's address, unix:// or tcp://; before DOCKER_HOST")
	fs.StringVar(&f.output, "output", "text", "`FORMAT` text, json, github or sarif")
	fs.StringSliceVar(&f.options.Ignore, "ignore", nil, "`RULE,…` leave out these rules")
	fs.StringSliceVar(&f.settings.Services, "services", nil, "`NAME,…` these count as watched")
	fs.BoolVar(&f.settings.All, "all", false, "all with a healthcheck count as watched")
	return fs, f
}

// runLint is watchdog lint: what will go wrong, in the running containers, in
// compose files or in manifests. It exits 1 when it has found an error, and for
// bad input.
func runLint(ctx context.Context, g given, stdout, stderr io.Writer) int {
	fs, f := newLintFlags()
	environ, err := g.parse(fs, anyNumber)
	if err != nil {
		return failOrHelp(err, "lint", stdout, stderr)
	}
	format, ok := lint.Formats[f.output]
	unknown := slices.IndexFunc(f.options.Ignore, func(name string) bool { return !lint.IsRule(name) })
	empty := slices.Contains(slices.Concat(f.compose, f.kubernetes, f.envFiles), "")
	switch {
	case fs.NArg() > 0 && len(f.kubernetes) == 0:
		return fail(stderr, usagef("watchdog lint --compose FILE", "unexpected argument %q", flags.Clip(fs.Arg(0))))
	case empty:
		return fail(stderr, usagef("watchdog lint --compose FILE", "the name of a file is empty"))
	case !ok:
		return fail(stderr, usagef("--output text, json, github or sarif", "%s: want text, json, github or sarif", environ.Given("output")))
	case len(f.compose) > 0 && len(f.kubernetes) > 0:
		return fail(stderr, usagef("run watchdog lint once for each", "--compose and --kubernetes together"))
	case unknown >= 0:
		return fail(stderr, usagef(fmt.Sprintf("the rules are in docs/lint.md%s", didYouMean(f.options.Ignore[unknown])), "%s: there is no such rule", environ.GivenAs("ignore", f.options.Ignore[unknown])))
	}
	f.kubernetes = append(f.kubernetes, fs.Args()...)
	f.options.Services = f.settings.Services
	if len(f.compose) == 0 && len(f.kubernetes) == 0 {
		if err := checkEngine(environ.Source("host"), f.host, g.environ); err != nil {
			return fail(stderr, err)
		}
	}
	target, err := lintTarget(ctx, f, g.stdin)
	if err != nil {
		return fail(stderr, err)
	}
	findings := lint.Check(target, f.options)
	format(stdout, findings, buildVersion())
	if slices.ContainsFunc(findings, func(f lint.Finding) bool { return f.Level == "error" }) {
		return 1
	}
	return 0
}

// didYouMean is the name of a rule that was meant.
func didYouMean(name string) string {
	if near := lint.NearestRule(name); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// lintTarget reads what is to be judged: files, or the engine where none is
// named.
func lintTarget(ctx context.Context, f *lintFlags, stdin io.Reader) (lint.Target, error) {
	switch {
	case len(f.compose) > 0:
		in, err := composeInput(f, stdin)
		if err != nil {
			return lint.Target{}, err
		}
		target, err := lint.Compose(ctx, in)
		if refused, ok := errors.AsType[*lint.ComposeError](err); ok {
			return lint.Target{}, usagef(refused.Hint, "compose refuses %s: %s", strings.Join(f.compose, ", "), refused.Reason)
		}
		return target, err
	case len(f.kubernetes) > 0:
		var files []lint.File
		for _, name := range f.kubernetes {
			file, err := lintFile(name, stdin)
			if err != nil {
				return lint.Target{}, err
			}
			files = append(files, file)
		}
		target, err := lint.Kubernetes(files)
		if err != nil {
			return lint.Target{}, usagef("the file is no valid YAML there; render a template first: helm template … | watchdog lint --kubernetes -", "%v", err)
		}
		if len(target.Subjects) == 0 {
			return lint.Target{}, usagef("name the manifest of a Deployment, a Pod or another workload", "no containers in %s", strings.Join(f.kubernetes, ", "))
		}
		return target, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lintTimeout)
	defer cancel()
	engine, err := docker.New(f.host, nil)
	if err == nil {
		var target lint.Target
		if target, err = lint.Engine(ctx, engine, f.settings); err == nil {
			return target, nil
		}
	}
	return lint.Target{}, usagef("watchdog lint looks at the engine, watchdog lint --compose FILE at a file", "%v", err)
}

// lintFile reads a file, or the standard input for -.
func lintFile(name string, stdin io.Reader) (lint.File, error) {
	if name == "-" {
		data, err := io.ReadAll(io.LimitReader(stdin, maxLintFile))
		if err != nil {
			return lint.File{}, usagef("give the file's text on the standard input", "reading the standard input: %v", err)
		}
		return lint.File{Name: "stdin", Data: data}, nil
	}
	data, err := readLintFile(name)
	if err != nil {
		return lint.File{}, usagef("name a file that exists and can be read", "%v", err)
	}
	return lint.File{Name: name, Data: data}, nil
}

// readLintFile reads a regular file of a bounded size: a pipe or a device might
// never end.
func readLintFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", name)
	case info.Size() > maxLintFile:
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxLintFile>>20)
	}
	return os.ReadFile(name)
}

// composeInput reads the files that are named, and the environment and .env as
// compose does.
func composeInput(f *lintFlags, stdin io.Reader) (lint.ComposeInput, error) {
	logrus.SetOutput(io.Discard) // the library's warnings are findings here
	in := lint.ComposeInput{Read: readLintFile, Settings: f.settings}
	for _, name := range f.compose {
		file, err := lintFile(name, stdin)
		if err != nil {
			return in, err
		}
		in.Files = append(in.Files, file)
	}
	project, err := cli.NewProjectOptions(f.compose, cli.WithOsEnv, cli.WithEnvFiles(f.envFiles...), cli.WithDotEnv)
	if err != nil {
		return in, usagef("mend the file of variables, or name another: --env-file FILE", "%v", err)
	}
	if in.Dir, err = project.GetWorkingDir(); err != nil {
		return in, err
	}
	in.Env = project.Environment
	in.Profiles = strings.FieldsFunc(in.Env["COMPOSE_PROFILES"], func(r rune) bool { return r == ',' || r == ' ' })
	return in, nil
}
