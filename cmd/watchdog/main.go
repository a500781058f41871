// Watchdog restarts the unhealthy containers of a Docker host: at once, then
// with backoff, verifying by the engine's own health events that it helped,
// and telling people when it did not.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"healthcheck/watchdog"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program; it returns the exit code, 0 or 1.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "run":
		return runDaemon(ctx, args[1:], getenv, stdout, stderr)
	case "status", "history", "reset":
		return runClient(ctx, command, args[1:], stdout, stderr)
	case "lint":
		return runLint(ctx, args[1:], stdout, stderr)
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

// runDaemon is watchdog run.
func runDaemon(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	cfg, err := parseRun(args, getenv)
	if err != nil {
		return fail(stderr, err)
	}
	if cfg.help {
		io.WriteString(stdout, helpText())
		return 0
	}
	var handler slog.Handler = slog.NewTextHandler(stderr, nil)
	if cfg.jsonLog {
		handler = slog.NewJSONHandler(stderr, nil)
	}
	log := slog.New(handler)
	engine, err := watchdog.NewDocker(cfg.host)
	if err != nil {
		return fail(stderr, usagef("--host unix:///var/run/docker.sock", "%v", err))
	}
	cfg.settings.SelfID = watchdog.SelfID()
	notifier := &watchdog.Notifier{Book: cfg.book, Log: log}
	told, stopTelling := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTelling()
	notifier.Start(told)
	loop := &watchdog.Loop{Engine: engine, Settings: cfg.settings, Store: watchdog.Store{Path: cfg.stateFile}, Log: log,
		Reconcile: cfg.reconcile, StartDelay: cfg.startDelay, Notify: notifier.Alert}
	for _, n := range cfg.notes {
		log.Warn(n)
	}
	if cfg.listen != "" {
		addr, close, err := serve(cfg.listen, loop, notifier)
		if err != nil {
			return fail(stderr, usagef("--listen none serves nothing", "listening on %s: %v", cfg.listen, err))
		}
		defer close()
		log.Info("listening", "address", addr)
	}
	if cfg.control != "" {
		close, err := serveControl(cfg.control, loop)
		if err != nil {
			// It watches all the same: a person can read the log.
			log.Warn("status, history and reset are not served", "error", err)
		} else {
			defer close()
		}
	}
	log.Info("watching", "engine", engine.Host(), "version", buildVersion(), "dry_run", cfg.settings.DryRun)
	loop.Run(ctx)
	log.Info("stopped")
	return 0
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
       watchdog lint [--compose FILE] [--output json|github|sarif]
       watchdog version

Restarts unhealthy containers: those with the label watchdog.enable=true, those
named by --services, or with --all every one that has a healthcheck.

Each flag has a variable (WATCHDOG_MAX_ATTEMPTS for --max-attempts), and those
that concern one container a label (watchdog.max-attempts).

`)
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
			fmt.Fprintf(&b, "%s\n      %s\n", left, right)
		} else {
			b.WriteString(line + "\n")
		}
	})
	return b.String()
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
