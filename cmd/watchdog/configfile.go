package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"

	"healthcheck/cmd/flags"
	"healthcheck/probe"
	"healthcheck/watchdog/recovery"
)

// perService and namedReceivers are the keys of the configuration file that are
// no flag's.
const (
	perService     = "per-service"
	namedReceivers = "receivers"
)

// fileSetting is one flag's value in a configuration file.
type fileSetting struct {
	name   string
	values []string
	line   int
}

// configFile is what a configuration file says.
type configFile struct {
	settings  []fileSetting
	overrides recovery.Overrides
	receivers []namedReceiver
}

// parseConfigFile reads YAML: flags of watchdog run by their names, and under
// per-service what else are labels, by the service's name. It is pure; its
// error is a *usageError and repeats no value.
func parseConfigFile(path string, data []byte, fs *pflag.FlagSet) (c configFile, err error) {
	wrong := func(n *yaml.Node, hint, format string, args ...any) error {
		return usagef(hint, "%s, line %d: %s", path, n.Line, fmt.Sprintf(format, args...))
	}
	const form = "a file of lines as max-attempts: 5, notify: [slack://…], and per-service: {shop/db: {max-attempts: 1}}"
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return c, nil
	case err != nil:
		return c, usagef(form, "%s: not YAML: %s", path, flags.Clip(probe.Clean(err.Error())))
	}
	if dec.Decode(&yaml.Node{}) != io.EOF {
		return c, usagef(form, "%s: more than one document", path)
	}
	root := &doc
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		root = doc.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return c, nil // comments alone
	}
	entries, err := members(root, func(n *yaml.Node, text string) error { return wrong(n, form, "%s", text) })
	if err != nil {
		return c, err
	}
	for _, e := range entries {
		switch e.name {
		case perService:
			if c.overrides, err = parseOverrides(e.value, wrong); err != nil {
				return c, err
			}
			continue
		case namedReceivers:
			if c.receivers, err = parseReceivers(path, e.value, wrong); err != nil {
				return c, err
			}
			continue
		}
		f := fs.Lookup(e.name)
		if f == nil || e.name == "config" || e.name == "help" {
			hint := "watchdog run --help lists the flags, whose names are the keys"
			if near := flags.Nearest(e.name, append(flags.Names(fs), perService, namedReceivers)); near != "" && near != "config" {
				hint = "did you mean " + near + "?"
			}
			return c, wrong(e.key, hint, "there is no setting %q", flags.Clip(probe.Clean(e.name)))
		}
		values, err := scalars(e.value)
		_, isList := f.Value.(*flags.List)
		switch {
		case err != nil:
			return c, wrong(e.value, form, "%s: %s", e.name, err)
		case len(values) != 1 && !isList:
			return c, wrong(e.value, form, "%s: want one value", e.name)
		}
		c.settings = append(c.settings, fileSetting{e.name, values, e.value.Line})
	}
	return c, nil
}

// entry is one member of a mapping.
type entry struct {
	name       string
	key, value *yaml.Node
}

// members lists those of a mapping, each name once.
func members(n *yaml.Node, wrong func(n *yaml.Node, text string) error) (all []entry, err error) {
	if n.Kind != yaml.MappingNode {
		return nil, wrong(n, "want names with values")
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || value.Kind == yaml.AliasNode || key.Tag == "!!merge":
			return nil, wrong(key, "anchors, aliases and names that are no text are not understood here")
		case slices.ContainsFunc(all, func(e entry) bool { return e.name == key.Value }):
			return nil, wrong(key, fmt.Sprintf("%q stands there twice", flags.Clip(probe.Clean(key.Value))))
		}
		all = append(all, entry{key.Value, key, value})
	}
	return all, nil
}

// scalars are the values of a node: one, or a list of them.
func scalars(n *yaml.Node) ([]string, error) {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	var out []string
	for _, n := range nodes {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return nil, errors.New("want a value, or a list of values")
		}
		out = append(out, n.Value)
	}
	return out, nil
}

// parseOverrides reads what stands under per-service.
func parseOverrides(n *yaml.Node, wrong func(n *yaml.Node, hint, format string, args ...any) error) (all recovery.Overrides, err error) {
	const form = "per-service: {NAME: {max-attempts: 1, quiet-hours: Sun 02:00-04:00}}, by the names of watchdog status and of the labels"
	plain := func(n *yaml.Node, text string) error { return wrong(n, form, "%s", text) }
	services, err := members(n, plain)
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		settings, err := members(s.value, plain)
		if err != nil {
			return nil, err
		}
		o := recovery.Override{Name: s.name, Labels: map[string]string{}}
		for _, e := range settings {
			values, err := scalars(e.value)
			if err != nil || len(values) != 1 {
				return nil, wrong(e.value, form, "%s: want one value", flags.Clip(probe.Clean(e.name)))
			}
			one := recovery.Override{Labels: map[string]string{e.name: values[0]}}
			if problems := one.Check(recovery.Settings{}); len(problems) > 0 {
				return nil, wrong(e.key, form, "%s", strings.TrimSuffix(strings.TrimPrefix(problems[0], "label watchdog."), "; the default applies"))
			}
			o.Labels[e.name] = values[0]
		}
		all = append(all, o)
	}
	return all, nil
}

// readConfigFile reads the file of --config into the flags that were given
// neither as such nor by a variable.
func (r *raw) readConfigFile(g given, fs *pflag.FlagSet) error {
	if r.configFile == "" {
		return nil
	}
	text, err := g.read(r.configFile)
	if err != nil {
		return usagef("the file must be readable by the user that the watchdog runs as", "%s: %s", r.environ.Given("config"), err)
	}
	c, err := parseConfigFile(r.configFile, []byte(text), fs)
	if err != nil {
		return err
	}
	r.overrides, r.receivers = c.overrides, c.receivers
	for _, s := range c.settings {
		if err := r.environ.SetFrom(s.name, s.values, fmt.Sprintf("%s, line %d: %s", r.configFile, s.line, s.name)); err != nil {
			return err
		}
	}
	return nil
}

// runConfig is watchdog config check [FILE].
func runConfig(_ context.Context, g given, stdout, stderr io.Writer) int {
	fs, r := newFlags()
	fs.Init("config", pflag.ContinueOnError)
	environ, err := g.parse(fs, 2)
	if err == nil && fs.Arg(0) != "check" {
		err = usagef("watchdog config check FILE", "config: the word check comes first")
	}
	if err == nil && fs.NArg() == 2 {
		r.configFile = fs.Arg(1)
	}
	if err == nil && r.configFile == "" {
		err = usagef("watchdog config check FILE, or --config FILE", "config: no file is given")
	}
	if err == nil {
		r.environ = environ
		_, err = r.complete(g, fs)
	}
	if err != nil {
		return failOrHelp(err, "config", stdout, stderr)
	}
	fmt.Fprintf(stdout, "%s is good\n", clean(r.configFile))
	return 0
}
