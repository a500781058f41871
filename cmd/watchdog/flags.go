package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
	"healthcheck/probe"
)

// usageError is bad input: what is wrong, and what to write instead.
type usageError = flags.Error

func usagef(hint, format string, args ...any) *usageError {
	return flags.Errorf(hint, format, args...)
}

// given is what a command was given: its arguments, and the environment.
type given struct {
	args, environ []string
	// read reads the file that a variable names.
	read func(path string) (string, error)
	// stdin is the standard input.
	stdin io.Reader
}

// fileTimeout bounds how long the file of a variable may take.
const fileTimeout = 5 * time.Second

// readFile reads the file that a variable names.
func readFile(path string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), fileTimeout, fmt.Errorf("no answer within %s", fileTimeout))
	defer cancel()
	return flags.ReadFile(ctx, path)
}

// prefix begins the variables of all commands.
const prefix = "WATCHDOG_"

// systemd sets these for a service with WatchdogSec (sd_watchdog_enabled(3)).
var systemd = []string{"WATCHDOG_USEC", "WATCHDOG_PID"}

// newFlagSet begins the flags of a command; each of them has a variable.
func newFlagSet(command string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(command, pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	return fs
}

// errHelp is returned where the help text is asked for.
var errHelp = errors.New("help is asked for")

// anyNumber of arguments is what parse leaves.
const anyNumber = math.MaxInt

// parse sets the flags of a command from what was given, the same way for each
// of them. It leaves at most so many arguments. Its error is errHelp or a
// *usageError, and holds no secret.
func (g given) parse(fs *pflag.FlagSet, arguments int) (*flags.Environ, error) {
	name := "watchdog " + fs.Name()
	addHelp(fs)
	if err := fs.Parse(g.args); err != nil {
		return nil, flags.ParseError(name, fs, err, example)
	}
	if help, _ := fs.GetBool("help"); help {
		return nil, errHelp
	}
	if fs.NArg() > arguments {
		return nil, flags.ArgumentError(argumentHint(fs, arguments), fs.Arg(arguments))
	}
	environ := &flags.Environ{Prefix: prefix, Flags: fs, None: map[string]string{"help": "nothing would be watched"}, Foreign: systemd,
		Example: example, Sample: "max-attempts", Reader: "the file must be readable by the user that the watchdog runs as", Read: g.read}
	for _, c := range commands() {
		if c.name != fs.Name() && c.flags != nil {
			environ.Others = append(environ.Others, flags.Names(c.flags())...)
		}
	}
	if err := environ.Apply(g.environ); err != nil {
		return nil, err
	}
	return environ, nil
}

// argumentHint says what was meant by an argument too many.
func argumentHint(fs *pflag.FlagSet, arguments int) string {
	switch last := fs.Arg(arguments); {
	case last == "true" || last == "false":
		return "the value of a flag that is on or off stands behind =, as in --cascade=" + last
	case strings.Contains(last, "://") && fs.Lookup("notify") != nil:
		return "a receiver is --notify URL, the engine --host URL"
	}
	return "watchdog " + fs.Name() + " --help lists the flags"
}

func addHelp(fs *pflag.FlagSet) { fs.BoolP("help", "h", false, "print this, and exit") }

// example shows a good value: the default, or one of its type.
func example(f *pflag.Flag) string {
	value := f.DefValue
	switch {
	case f.Value.Type() == "bool":
		return "--" + f.Name + ", or --" + f.Name + "=false"
	case f.Value.Type() == "duration" && value == "0s":
		value = "30s"
	case value == "" || value == "[]":
		value = "3"
	}
	return "--" + f.Name + " " + value
}

// helpWidth is the width of a terminal that nobody has widened.
const helpWidth = 80

// helpText is the help of one command, made from its flags.
func (c command) helpText() string {
	var b strings.Builder
	usage := "Usage: watchdog " + c.name
	if c.arguments != "" {
		usage += " " + c.arguments
	}
	if c.flags == nil {
		b.WriteString(usage + "\n\n" + wrap(c.about, 0))
		return b.String()
	}
	b.WriteString(usage + " [flags]\n\n" + wrap(c.about, 0) + "\nFlags:\n")
	fs := c.flags()
	first := flags.Names(fs)[0]
	addHelp(fs)
	fs.VisitAll(func(f *pflag.Flag) { b.WriteString(flagText(f)) })
	variable := (&flags.Environ{Prefix: prefix}).Variable(first)
	fmt.Fprintf(&b, "\n%s", wrap(fmt.Sprintf("Each flag but --help has a variable: %s for --%s. %s_FILE names a file that holds the value: for secrets.", variable, first, variable), 0))
	return b.String()
}

// flagText is a flag's part of the help: name, type, meaning and default.
func flagText(f *pflag.Flag) string {
	kind, usage := flags.Kind(f)
	left := "  "
	if f.Shorthand != "" {
		left += "-" + f.Shorthand + ", "
	}
	left += "--" + f.Name
	if kind != "" {
		left += " " + kind
	}
	switch f.DefValue {
	case "", "[]", "false", "0s":
	default:
		usage += " (" + f.DefValue + ")"
	}
	const column = 28
	text := wrap(usage, column)
	if width := utf8.RuneCountInString(left); width < column-1 {
		return left + text[width:] // in place of spaces
	}
	return left + "\n" + text
}

// wrap breaks a text into lines of helpWidth, indented.
func wrap(text string, indent int) string {
	var b strings.Builder
	margin := strings.Repeat(" ", indent)
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := margin
		for word := range strings.FieldsSeq(paragraph) {
			if utf8.RuneCountInString(line)+utf8.RuneCountInString(word)+1 > helpWidth && line != margin {
				b.WriteString(strings.TrimRight(line, " ") + "\n")
				line = margin
			}
			if line != margin {
				line += " "
			}
			line += word
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// engineSchemes are those of an engine's address.
var engineSchemes = []string{"unix", "tcp", "http", "https"}

// checkEngine refuses the address of an engine that cannot be reached as
// Docker's own client reaches it, through ssh. It looks at DOCKER_HOST where no
// flag names another.
func checkEngine(source, host string, environ []string) error {
	if host == "" {
		source, host = "DOCKER_HOST", lookup(environ)("DOCKER_HOST")
	}
	scheme, _, ok := strings.Cut(host, "://")
	if host == "" || ok && slices.Contains(engineSchemes, scheme) {
		return nil
	}
	const addresses = "unix:///var/run/docker.sock, or tcp://HOST:2376 with DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
	switch {
	case !ok:
		return usagef(addresses, "%s: want the address of an engine", source)
	case scheme == "ssh":
		return usagef(addresses+"; or forward the socket: ssh -L /tmp/docker.sock:/var/run/docker.sock HOST", "%s: ssh:// is not supported", source)
	}
	return usagef(addresses, "%s: %s:// is not supported", source, probe.Clean(flags.Clip(scheme)))
}
