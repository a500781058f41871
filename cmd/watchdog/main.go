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
	"unicode/utf8"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program; it returns the exit code, 0 or 1.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "run":
		return runDaemon(ctx, args[1:], environ, stdout, stderr)
	case "status":
		return runStatus(ctx, args[1:], stdout, stderr)
	case "history":
		return runHistory(ctx, args[1:], stdout, stderr)
	case "reset":
		return runReset(ctx, args[1:], stdout, stderr)
	case "lint":
		return runLint(ctx, args[1:], os.Stdin, stdout, stderr)
	case "version", "--version":
		fmt.Fprintf(stdout, "watchdog %s %s/%s %s\n", buildVersion(), runtime.GOOS, runtime.GOARCH, runtime.Version())
		return 0
	case "--help", "-h", "help":
		io.WriteString(stdout, helpText())
		return 0
	case "":
		return fail(stderr, usagef("watchdog run", "no command"))
	}
	return fail(stderr, usagef("the commands are run, status, history, reset, lint, version and help", "unknown command %q", command))
}

// usageError is bad input: what is wrong, and what to write instead.
type usageError struct{ problem, hint string }

func (e *usageError) Error() string { return e.problem }

func usagef(hint, format string, args ...any) *usageError {
	return &usageError{fmt.Sprintf(format, args...), hint}
}

// helpOrFail is what a command does when its flags cannot be read.
func helpOrFail(err error, stdout, stderr io.Writer) int {
	if errors.Is(err, pflag.ErrHelp) {
		io.WriteString(stdout, helpText())
		return 0
	}
	return fail(stderr, flagError(err))
}

// fail reports what is wrong and returns the exit code for it.
func fail(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "error: %s\n", err)
	if ue, ok := errors.AsType[*usageError](err); ok && ue.hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", ue.hint)
	}
	return 1
}

// helpText is made from the flags themselves.
func helpText() string {
	fs, _ := newFlags()
	var b strings.Builder
	b.WriteString(`Usage: watchdog run [flags]
       watchdog status [--output json]
       watchdog history [--output json]
       watchdog reset NAME
       watchdog lint [--compose FILE | --kubernetes FILE]
       watchdog version

Restarts unhealthy containers: those with the label watchdog.enable=true, those
named by --services, or with --all every one that has a healthcheck.

Each flag has a variable (WATCHDOG_MAX_ATTEMPTS for --max-attempts), and those
that concern one container a label (watchdog.max-attempts).

`)
	flagLines(&b, fs)
	b.WriteString("\nlint:\n")
	lintFlags, _ := newLintFlags()
	flagLines(&b, lintFlags)
	return b.String()
}

// flagLines writes a line for each flag.
func flagLines(b *strings.Builder, fs *pflag.FlagSet) {
	fs.VisitAll(func(f *pflag.Flag) {
		left := "  --" + f.Name
		if f.Value.Type() != "bool" {
			left += " " + strings.ToUpper(f.Value.Type())
		}
		right := f.Usage
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0s" {
			right += " (" + f.DefValue + ")"
		}
		if line := fmt.Sprintf("%-26s %s", left, right); len(left) > 25 || utf8.RuneCountInString(line) > 80 {
			fmt.Fprintf(b, "%s\n      %s\n", left, right)
		} else {
			b.WriteString(line + "\n")
		}
	})
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
