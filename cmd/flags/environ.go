package flags

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"healthcheck/probe"
)

const fileSuffix = "_FILE"

// Environ is how variables become values of flags: PREFIX_CPU_MAX is that of
// --cpu-max, and PREFIX_CPU_MAX_FILE names a file that holds it.
type Environ struct {
	Prefix string // with its underscore
	Flags  *pflag.FlagSet
	// None says of a flag why it has no variable.
	None map[string]string
	// Others are flags of the program's other commands: their variables may be
	// set, and are not read.
	Others []string
	// Foreign are variables of that prefix that other programs set.
	Foreign []string
	// Lenient lets variables of that prefix be that are like no flag's: images
	// have some of their own. Ignored then names them.
	Lenient bool
	Ignored []string
	// Theirs, if set, says of a variable with a flag's name that its value is
	// another program's, so that it is left alone as those are.
	Theirs func(name, value string) bool
	// First, if set, is the flag that is read before the others.
	First string
	// Verbatim are flags whose values may stand in quotes.
	Verbatim []string
	// Example completes the hint for a bad value.
	Example func(*pflag.Flag) string
	// Sample is the flag that a hint shows with its variable.
	Sample string
	// Reader is the hint about a file that cannot be read.
	Reader string
	// Read reads a file: ReadFile, with a time limit.
	Read func(path string) (string, error)

	sources map[string]string // by flag: the variable that has set it
}

// Variable is the name of a flag's variable.
func (e *Environ) Variable(flag string) string {
	return e.Prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Source names a flag as it was given: --db, HEALTHCHECK_DB or
// HEALTHCHECK_DB_FILE.
//
// Inlined at each of its calls it would take 4 KB more.
//
//go:noinline
func (e *Environ) Source(flag string) string {
	if v, ok := e.sources[flag]; ok {
		return v
	}
	return "--" + flag
}

// Given is Source with the value, for errors.
func (e *Environ) Given(flag string) string {
	f := e.Flags.Lookup(flag)
	if f == nil { // not declared
		return e.Source(flag)
	}
	return e.GivenAs(flag, f.Value.String())
}

// GivenAs is Source with one of the flag's values. What comes from a file may
// be a secret that stands in the wrong file, and is not repeated.
func (e *Environ) GivenAs(flag, value string) string {
	source := e.Source(flag)
	if source == e.Variable(flag)+fileSuffix {
		return source
	}
	return fmt.Sprintf("%s %q", source, Clip(value))
}

// Apply sets every flag that was not given from its variable, or from the file
// that the variable with _FILE behind its name points to. An empty variable is
// as good as none. Its error is an *Error.
func (e *Environ) Apply(environ []string) error {
	e.sources = map[string]string{}
	vars := map[string]string{}
	var names []string
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		// A file of variables or a command's output leaves an end of line.
		value = strings.Trim(value, "\r\n")
		if _, twice := vars[name]; strings.HasPrefix(name, e.Prefix) && value != "" && !twice { // the first counts, as for os.Getenv
			if e.Theirs != nil && e.Theirs(name, value) {
				e.Ignored = append(e.Ignored, name)
				continue
			}
			names = append(names, name)
			vars[name] = value
		}
	}
	if len(names) == 0 {
		return nil // the most frequent case: two thirds of the work of reading arguments
	}
	flags := map[string]*pflag.Flag{}
	e.Flags.VisitAll(func(f *pflag.Flag) {
		if _, none := e.None[f.Name]; !none {
			flags[e.Variable(f.Name)] = f
		}
	})
	others := map[string]bool{}
	for _, name := range e.Others {
		others[e.Variable(name)] = true
	}
	for _, name := range names {
		plain := strings.TrimSuffix(name, fileSuffix)
		if flags[name] == nil && flags[plain] == nil && !others[name] && !others[plain] && !slices.Contains(e.Foreign, name) && !isServiceLink(e.Prefix, name, vars) {
			if e.Lenient && !e.meant(plain) {
				e.Ignored = append(e.Ignored, name)
				continue
			}
			return Errorf(e.hint(name), "unknown variable %s", Clip(probe.Clean(name)))
		}
	}
	if first := e.Flags.Lookup(e.First); first != nil {
		if err := e.set(first, vars); err != nil {
			return err
		}
	}
	var bad error
	e.Flags.VisitAll(func(f *pflag.Flag) {
		if _, none := e.None[f.Name]; !none && bad == nil && f.Name != e.First {
			bad = e.set(f, vars)
		}
	})
	return bad
}

// SetFrom sets a flag that was given neither as such nor by a variable to the
// values of a configuration file, where source says they stand. Its error is an
// *Error. It is for after Apply.
func (e *Environ) SetFrom(flag string, values []string, source string) error {
	f := e.Flags.Lookup(flag)
	if f.Changed {
		return nil
	}
	for _, value := range values {
		if err := f.Value.Set(value); err != nil {
			return valueError(source, value, f, err, e.Example)
		}
	}
	f.Changed = true
	e.sources[flag] = source
	return nil
}

// meant says whether a variable may be a misspelt one of a flag's: at most a
// third of it is wrong.
func (e *Environ) meant(variable string) bool {
	flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, e.Prefix), "_", "-"))
	return slices.ContainsFunc(slices.Concat(Names(e.Flags), e.Others), func(name string) bool {
		return Distance(flag, name) <= max(1, len(flag)/3)
	})
}

// hint says which variable was meant.
func (e *Environ) hint(name string) string {
	flag := strings.TrimPrefix(strings.TrimSuffix(name, fileSuffix), e.Prefix)
	flag = strings.ToLower(strings.ReplaceAll(flag, "_", "-"))
	if why, ok := e.None[flag]; ok {
		return "--" + flag + " has no variable: " + why
	}
	candidates := slices.Concat(Names(e.Flags), e.Others)
	candidates = slices.DeleteFunc(candidates, func(name string) bool { _, none := e.None[name]; return none })
	if near := Nearest(flag, candidates); near != "" {
		return "did you mean " + e.Variable(near) + "?"
	}
	return "a variable is a flag's name: --" + e.Sample + " is " + e.Variable(e.Sample)
}

// set sets one flag, unless it was given: a flag wins over its variable.
func (e *Environ) set(f *pflag.Flag, vars map[string]string) error {
	name := e.Variable(f.Name)
	value, isSet := vars[name]
	path, isFile := vars[name+fileSuffix]
	source := fmt.Sprintf("%s %q", name, Clip(value))
	switch {
	case !isSet && !isFile, f.Changed:
		return nil
	case isSet && isFile:
		return Errorf("unset one of them", "%s and %s are both set", name, name+fileSuffix)
	case isFile:
		text, err := e.Read(path)
		name += fileSuffix
		switch {
		case err != nil && !filepath.IsAbs(path): // the secret itself, perhaps
			return Errorf("the path of a file belongs there; a value goes into "+strings.TrimSuffix(name, fileSuffix), "%s: reading the file: %s", name, err)
		case err != nil:
			return Errorf(e.Reader, "%s: reading %q: %s", name, Clip(path), err)
		}
		if value = strings.TrimSpace(text); value == "" {
			return Errorf("put the value into it", "%s: %q is empty", name, Clip(path))
		}
		source = name
	}
	if quote := value[:1]; strings.Trim(quote, `"'`) == "" && len(value) > 1 && strings.HasSuffix(value, quote) &&
		!strings.Contains(value[1:len(value)-1], quote) && !slices.Contains(e.Verbatim, f.Name) {
		return Errorf("leave them out: an env file keeps quotes as part of the value", "%s: the value stands in quotes", name)
	}
	switch list := f.Value.(type) {
	case interface{ SetAll(text string) }:
		list.SetAll(value)
	case pflag.SliceValue:
		list.Replace(SplitList(value, func(_, _ string) bool { return f.Value.Type() == "stringSlice" })) // no text is refused
	default:
		if f.Value.Type() != "string" {
			value = strings.TrimSpace(value)
		}
		if err := f.Value.Set(value); err != nil {
			return valueError(source, value, f, err, e.Example)
		}
	}
	f.Changed = true
	e.sources[f.Name] = name
	return nil
}
