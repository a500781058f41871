package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/watchdog"
)

// runLint is watchdog lint: what will bite, in the running containers or in a
// compose file. It exits 1 when it has found an error.
func runLint(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := pflag.NewFlagSet("lint", pflag.ContinueOnError)
	fs.Usage = func() {}
	compose := fs.String("compose", "", "")
	host := fs.String("host", "", "")
	format := fs.String("output", "text", "")
	settings := watchdog.Settings{}
	fs.StringSliceVar(&settings.Services, "services", nil, "")
	fs.BoolVar(&settings.All, "all", false, "")
	if err := fs.Parse(args); err != nil {
		return helpOrFail(err, stdout, stderr)
	}
	writers := map[string]func(io.Writer, []watchdog.Finding){"text": lintText, "json": lintJSON, "github": lintGitHub, "sarif": lintSARIF}
	write, ok := writers[*format]
	switch {
	case fs.NArg() > 0:
		return fail(stderr, usagef("watchdog lint --compose FILE", "unexpected argument %q", fs.Arg(0)))
	case !ok:
		return fail(stderr, usagef("--output text, json, github or sarif", "--output %q: want text, json, github or sarif", *format))
	}
	var subjects []watchdog.Subject
	var err error
	if *compose != "" {
		subjects, err = lintCompose(*compose, settings)
	} else {
		subjects, err = lintEngine(ctx, *host, settings)
	}
	if err != nil {
		return fail(stderr, usagef("watchdog lint looks at the engine, watchdog lint --compose FILE at a file", "%v", err))
	}
	findings := []watchdog.Finding{}
	for _, s := range subjects {
		findings = append(findings, watchdog.Lint(s)...)
	}
	write(stdout, findings)
	for _, f := range findings {
		if f.Level == "error" {
			return 1
		}
	}
	return 0
}

// lintEngine looks at the containers that run.
func lintEngine(ctx context.Context, host string, settings watchdog.Settings) ([]watchdog.Subject, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	engine, err := watchdog.NewDocker(host)
	if err != nil {
		return nil, err
	}
	all, err := engine.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []watchdog.Subject
	for _, c := range all {
		if c.State != "running" {
			continue
		}
		if c, err = engine.Inspect(ctx, c.ID); err == nil {
			out = append(out, watchdog.LintContainer(c, settings.Watched(c)))
		}
	}
	return out, nil
}

func place(f watchdog.Finding) string {
	if f.Line > 0 {
		return fmt.Sprintf("%s:%d", f.Place, f.Line)
	}
	return f.Place
}

func lintText(w io.Writer, all []watchdog.Finding) {
	errors := 0
	for _, f := range all {
		if f.Level == "error" {
			errors++
		}
		fmt.Fprintf(w, "%s: %s: %s: %s [%s]\n    instead: %s\n", place(f), f.Level, f.Service, f.Message, f.Rule, f.Instead)
	}
	fmt.Fprintf(w, "%d errors, %d warnings\n", errors, len(all)-errors)
}

func lintJSON(w io.Writer, all []watchdog.Finding) {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(all)
}

// lintGitHub writes workflow commands, which GitHub shows beside the lines.
func lintGitHub(w io.Writer, all []watchdog.Finding) {
	escape := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range all {
		fmt.Fprintf(w, "::%s file=%s,line=%d,title=%s::%s\n", f.Level, property.Replace(f.Place), max(1, f.Line), property.Replace(f.Rule),
			escape.Replace(f.Service+": "+f.Message+"; instead: "+f.Instead))
	}
}

// lintSARIF writes SARIF 2.1.0 (OASIS), for code scanning.
func lintSARIF(w io.Writer, all []watchdog.Finding) {
	type object = map[string]any
	rules, results := []object{}, []object{}
	for _, r := range watchdog.Rules {
		rules = append(rules, object{"id": r.Name, "shortDescription": object{"text": r.What}})
	}
	for _, f := range all {
		results = append(results, object{"ruleId": f.Rule, "level": f.Level, "message": object{"text": f.Service + ": " + f.Message + "; instead: " + f.Instead},
			"locations": []object{{"physicalLocation": object{"artifactLocation": object{"uri": f.Place}, "region": object{"startLine": max(1, f.Line)}}}}})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(object{"version": "2.1.0", "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json",
		"runs": []object{{"tool": object{"driver": object{"name": "watchdog lint", "version": buildVersion(), "rules": rules}}, "results": results}}})
}
