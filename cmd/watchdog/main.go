// Watchdog restarts the unhealthy containers of a Docker host: at once, then
// with backoff, verifying by the engine's own health events that it helped,
// and notifying people when it did not.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	_ "time/tzdata" // an image FROM scratch has no time zones

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
	"healthcheck/probe"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is one of the program's commands.
type command struct {
	name, arguments string
	short, about    string // in the list of commands, and in the command's own help
	// flags declares its flags; nil: it has none.
	flags func() *pflag.FlagSet
	run   func(ctx context.Context, g given, stdout, stderr io.Writer) int
}

// commands lists them in the order of the help text.
func commands() []command {
	return []command{
		{"run", "", "watch and restart: the daemon",
			"Restarts unhealthy containers: those with the label watchdog.enable=true, those named by --services, or with --all every one that has a healthcheck. A flag that concerns one container is a label, too: watchdog.max-attempts=5.",
			func() *pflag.FlagSet { fs, _ := newFlags(); return fs }, runDaemon},
		{"status", "", "what is watched, how it is, and what comes next", "Asks the daemon what it watches, how that is, and what comes next.",
			func() *pflag.FlagSet { fs, _ := newQuestionFlags("status"); return fs }, runStatus},
		{"history", "[NAME]", "the last decisions", "Asks the daemon for its last decisions, about all or about one service or container. Times are local: TZ=Europe/Berlin says otherwise.",
			func() *pflag.FlagSet { fs, _, _ := newHistoryFlags(); return fs }, runHistory},
		{"reset", "NAME", "forget the attempts of a service", "Forgets the attempts of a service or container, by a name of watchdog status. What was given up is looked at again.",
			func() *pflag.FlagSet { fs, _ := newQuestionFlags("reset"); return fs }, runReset},
		{"snooze", "NAME DURATION", "restart nothing for a while", "Keeps a service or container, or with --all every one, from being restarted for so long: watchdog snooze NAME 30m. It goes on being watched; what needs a restart then is decided anew at the end. Alerts about what only a person can mend go out all the same.",
			func() *pflag.FlagSet { fs, _ := newPauseFlags("snooze"); return fs }, runSnooze},
		{"resume", "NAME", "end a snooze", "Ends the snooze of a service or container, or with --all every snooze there is.",
			func() *pflag.FlagSet { fs, _ := newPauseFlags("resume"); return fs }, runResume},
		{"notify", "test [NAME|URL]", "send a test message", "Sends a test message to the receivers of --notify, --escalate-after and the configuration file, or to one by its name there or its URL, and says which have taken it. Exits 1 when one has not.",
			func() *pflag.FlagSet { fs, _ := newNotifyFlags(); return fs }, runNotify},
		{"config", "check [FILE]", "is a configuration file good", "Reads a configuration file, or that of --config, together with flags and variables as watchdog run does, and says what is wrong. Exits 1 then.",
			func() *pflag.FlagSet { fs, _ := newFlags(); fs.Init("config", pflag.ContinueOnError); return fs }, runConfig},
		{"lint", "", "what will go wrong, in containers or in files", "Says what will go wrong with the healthchecks of the running containers, of compose files, or of manifests for Kubernetes. Exits 1 when it has found an error.",
			func() *pflag.FlagSet { fs, _ := newLintFlags(); return fs }, runLint},
		{"version", "", "what this is", "Says which version this is.", nil, runVersion},
		{"help", "[COMMAND]", "the flags of a command", "Lists the commands, or the flags of one.", nil, runHelp},
	}
}

// commandNamed finds a command.
func commandNamed(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

// run is the program; it returns the exit code, 0 or 1.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	if len(args) == 0 {
		return fail(stderr, usagef("watchdog run; watchdog help lists the commands", "no command"))
	}
	name := args[0]
	switch name {
	case "--help", "-h":
		name = "help"
	case "--version":
		name = "version"
	}
	c, ok := commandNamed(name)
	if !ok {
		hint := "the commands are " + strings.Join(names, ", ")
		if near := flags.Nearest(name, names); near != "" {
			hint = "did you mean watchdog " + near + "?"
		} else if strings.HasPrefix(name, "-") {
			hint = "the command comes first: watchdog run " + flags.Clip(name)
		}
		if strings.Contains(name, "://") {
			return fail(stderr, flags.ArgumentError(hint, name))
		}
		return fail(stderr, usagef(hint, "unknown command %q", flags.Clip(name)))
	}
	return c.run(ctx, given{args[1:], environ, readFile, os.Stdin}, stdout, stderr)
}

// runVersion is watchdog version.
func runVersion(_ context.Context, g given, stdout, stderr io.Writer) int {
	g.environ = nil // whatever it holds, this can be asked
	if _, err := g.parse(newFlagSet("version"), 0); err != nil {
		return failOrHelp(err, "version", stdout, stderr)
	}
	fmt.Fprintf(stdout, "watchdog %s %s/%s %s\n", buildVersion(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	return 0
}

// runHelp is watchdog help.
func runHelp(_ context.Context, g given, stdout, stderr io.Writer) int {
	if len(g.args) > 0 && g.args[0] != "--help" && g.args[0] != "-h" {
		c, ok := commandNamed(g.args[0])
		if !ok || len(g.args) > 1 {
			return fail(stderr, flags.ArgumentError("watchdog help lists the commands", g.args[len(g.args)-1]))
		}
		io.WriteString(stdout, c.helpText())
		return 0
	}
	io.WriteString(stdout, "Usage: watchdog COMMAND [flags]\n\nRestarts the unhealthy containers of a Docker host.\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(stdout, "  %-16s %s\n", strings.TrimSpace(c.name+" "+c.arguments), c.short)
	}
	io.WriteString(stdout, "\nwatchdog COMMAND --help lists the flags of a command.\n")
	return 0
}

// failOrHelp ends a command whose flags could not be read: the help was asked
// for, or something is wrong with them.
func failOrHelp(err error, name string, stdout, stderr io.Writer) int {
	c, _ := commandNamed(name)
	if errors.Is(err, errHelp) {
		io.WriteString(stdout, c.helpText())
		return 0
	}
	return fail(stderr, err)
}

// fail reports what is wrong and returns the exit code for it.
func fail(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "error: %s\n", probe.Clean(err.Error()))
	if ue, ok := errors.AsType[*usageError](err); ok && ue.Hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", probe.Clean(ue.Hint))
	}
	return 1
}

// version is set by the linker for a release: -X main.version=v1.2.3.
var version = ""

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
