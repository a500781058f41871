package main

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/probe"
)

const (
	envPrefix  = "HEALTHCHECK_"
	fileSuffix = "_FILE"
)

func variable(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// serviceLink matches the variables that Kubernetes and Docker's links set in
// every container beside a service whose name begins with healthcheck.
var serviceLink = pattern(`^HEALTHCHECK_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// applyEnviron sets every flag that was not given from its variable, or from
// the file that the variable with _FILE behind its name points to.
func applyEnviron(fs *pflag.FlagSet, r *raw, environ []string, read readFile) error {
	vars := map[string]string{}
	var names []string
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, envPrefix) && value != "" {
			names = append(names, name)
			vars[name] = value
		}
	}
	flags := map[string]*pflag.Flag{}
	var known []string
	fs.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(noVariable, f.Name) {
			flags[variable(f.Name)] = f
			known = append(known, variable(f.Name))
		}
	})
	for _, name := range names {
		_, isVar := flags[name]
		_, isFile := flags[strings.TrimSuffix(name, fileSuffix)]
		if !isVar && !isFile && !serviceLink(name) {
			return usagef(variableHint(name, fs), "unknown variable %s", clip(probe.Clean(name)))
		}
	}
	// The timeout first: it bounds how long the files may take.
	slices.SortStableFunc(known, func(a, b string) int { return boolInt(b == variable("timeout")) - boolInt(a == variable("timeout")) })
	for _, name := range known {
		if err := r.applyVariable(flags[name], name, vars, read); err != nil {
			return err
		}
	}
	return nil
}

// variableHint says which variable was meant.
func variableHint(name string, fs *pflag.FlagSet) string {
	flag := strings.TrimPrefix(strings.TrimSuffix(name, fileSuffix), envPrefix)
	flag = strings.ToLower(strings.ReplaceAll(flag, "_", "-"))
	if slices.Contains(noVariable, flag) {
		return "--" + flag + " has no variable: every probe would succeed"
	}
	if near := nearest(flag, flagNames(fs)); near != "" && !slices.Contains(noVariable, near) {
		return "did you mean " + variable(near) + "?"
	}
	return "a variable is a flag's name: --cpu-max is " + variable("cpu-max")
}

// applyVariable sets one flag, unless it was given.
func (r *raw) applyVariable(f *pflag.Flag, name string, vars map[string]string, read readFile) error {
	value, isSet := vars[name]
	path, isFile := vars[name+fileSuffix]
	switch {
	case !isSet && !isFile, f.Changed: // a flag wins over its variable
		return nil
	case isSet && isFile:
		return usagef("unset one of them", "%s and %s are both set", name, name+fileSuffix)
	case isFile:
		text, err := read(path, time.Duration(r.timeout))
		if err != nil {
			return usagef("the file must be readable by the user that the probe runs as", "%s: reading %q: %s", name+fileSuffix, clip(path), err)
		}
		value = strings.TrimSpace(text)
		name += fileSuffix
		if value == "" {
			return usagef("put the value into it", "%s: %q is empty", name, clip(path))
		}
	}
	if list, ok := f.Value.(*listValue); ok {
		list.setAll(value)
	} else if err := f.Value.Set(value); err != nil {
		return valueError(name, f, value, err)
	}
	f.Changed = true
	r.variables[f.Name] = name
	return nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// noVariable are the flags that would turn every probe into a success if an
// image happened to set HEALTHCHECK_VERSION.
var noVariable = []string{"version", "help"}

// readFile reads a secret's file within a time limit.
type readFile func(path string, within time.Duration) (string, error)
