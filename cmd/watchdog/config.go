package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
)

// config is what watchdog run was given, checked and resolved.
type config struct {
	settings   recovery.Settings
	host       string // the engine's address; empty: DOCKER_HOST, or the default
	stateFile  string
	reconcile  time.Duration
	startDelay time.Duration
	listen     string
	jsonLog    bool
	router     alert.Router
	control    string
	notes      []string // logged once at the start
	help       bool
}

const helpHint = "watchdog run --help lists the flags"

// raw holds the flags that need a second look.
type raw struct {
	config
	maxRestarts string
	logFormat   string
	stopTimeout int
	notify      []string
	escalate    []string
}

// newFlags declares the flags of watchdog run, in the order of the help text.
func newFlags() (*pflag.FlagSet, *raw) {
	r := &raw{config: config{settings: recovery.Settings{Policy: recovery.DefaultPolicy()}}}
	s := &r.settings
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	fs.StringSliceVar(&s.Services, "services", nil, "watch these compose services or containers")
	fs.BoolVar(&s.All, "all", false, "watch every container that has a healthcheck")
	fs.IntVar(&s.MaxAttempts, "max-attempts", s.MaxAttempts, "restarts before giving up")
	fs.DurationVar(&s.Base, "backoff-base", s.Base, "restart n+1 waits base × multiplier^n after restart n")
	fs.Float64Var(&s.Multiplier, "backoff-multiplier", s.Multiplier, "see --backoff-base")
	fs.DurationVar(&s.Max, "backoff-max", s.Max, "the longest wait")
	fs.Float64Var(&s.Jitter, "backoff-jitter", s.Jitter, "waits are longer by up to this share")
	fs.DurationVar(&s.StableFor, "stable-for", s.StableFor, "healthy so long: attempts are forgotten")
	fs.DurationVar(&s.VerifyTimeout, "verify-timeout", 0, "for a verdict after a restart; 0s: by healthcheck")
	fs.DurationVar(&s.UnhealthyFor, "unhealthy-for", 0, "wait so long before the first restart")
	fs.BoolVar(&s.RestartExited, "restart-exited", s.RestartExited, "recover what died by itself, too")
	fs.IntVar(&s.MaxConcurrent, "max-concurrent", 4, "restarts at once, over all containers")
	fs.StringVar(&r.maxRestarts, "max-restarts", "20/5m", "restarts in a time, over all containers")
	fs.BoolVar(&s.ByCause, "by-cause", s.ByCause, "restart the culprit, by the causes that probes report")
	fs.DurationVar(&s.HoldMax, "hold-max", s.HoldMax, "longest hold where nothing is known of the culprit")
	fs.BoolVar(&s.Cascade, "cascade", s.Cascade, "restart dependents after a recovery")
	fs.IntVar(&r.stopTimeout, "stop-timeout", -2, "seconds to stop in; -1: no limit, -2: the container's")
	fs.BoolVar(&s.DryRun, "dry-run", false, "decide and report, restart nothing")
	fs.DurationVar(&r.reconcile, "reconcile", time.Minute, "compare with a fresh list so often")
	fs.StringVar(&r.stateFile, "state-file", "/var/lib/watchdog/state.json", "what survives a restart; none: nothing")
	fs.StringArrayVar(&r.notify, "notify", nil, "[SEVERITY=]URL of shoutrrr's that receives alerts")
	fs.StringArrayVar(&r.escalate, "escalate-after", nil, "DURATION=URL that receives unresolved critical ones")
	fs.DurationVar(&r.router.Every, "notify-every", time.Hour, "the same alert is not repeated within")
	fs.StringVar(&r.router.Host, "host-name", "", "the host's name in alerts, if not its own")
	fs.StringVar(&r.listen, "listen", "127.0.0.1:9181", "serve /healthz and /metrics there; none: nowhere")
	fs.StringVar(&r.control, "control", defaultControl, "socket of status and reset; none: nowhere")
	fs.StringVar(&r.host, "host", "", "the engine's address, before DOCKER_HOST")
	fs.StringVar(&r.logFormat, "log-format", "text", "text or json")
	fs.BoolVarP(&r.help, "help", "h", false, "print this, and exit")
	return fs, r
}

// defaultControl is where the daemon and the commands that ask it meet.
const defaultControl = "/var/lib/watchdog/control.sock"

const envPrefix = "WATCHDOG_"

func variable(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// lookup returns a function that finds a variable's value, empty for none.
func lookup(environ []string) func(name string) string {
	values := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if _, twice := values[name]; !twice { // as os.Getenv has it
			values[name] = value
		}
	}
	return func(name string) string { return values[name] }
}

// parseRun turns arguments and environment into a configuration. Its error is
// a *usageError.
func parseRun(args, environ []string) (*config, error) {
	getenv := lookup(environ)
	fs, r := newFlags()
	if err := fs.Parse(args); err != nil {
		return nil, flagError(err)
	}
	if fs.NArg() > 0 {
		return nil, usagef(helpHint, "unexpected argument %q", fs.Arg(0))
	}
	if r.help {
		return &r.config, nil
	}
	var bad error
	fs.VisitAll(func(f *pflag.Flag) {
		value := getenv(variable(f.Name))
		if f.Changed || value == "" || f.Name == "help" || bad != nil {
			return
		}
		values := []string{value}
		if f.Value.Type() == "stringArray" { // one a line
			values = strings.Fields(value)
		}
		var err error
		for _, v := range values {
			if err == nil {
				err = fs.Set(f.Name, v)
			}
		}
		if err != nil {
			bad = usagef(helpHint, "%s %q: not a value for --%s", variable(f.Name), value, f.Name)
		}
	})
	if bad != nil {
		return nil, bad
	}
	if err := r.autoheal(fs, getenv); err != nil {
		return nil, err
	}
	return r.resolve()
}

func flagError(err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return usagef(helpHint, "unknown flag --%s", e.GetSpecifiedName())
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return usagef(helpHint, "--%s needs a value", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return usagef(helpHint, "--%s %q: not a %s", e.GetFlag().Name, e.GetValue(), e.GetFlag().Value.Type())
	}
	return usagef(helpHint, "%v", err)
}

// resolveAlerts reads who receives what. No error repeats an address, which may
// hold a token.
func (r *raw) resolveAlerts() error {
	const hint = "--notify critical=slack://…; a secret one goes into WATCHDOG_NOTIFY"
	for i, text := range r.notify {
		lowest := recovery.Info
		if word, rest, ok := strings.Cut(text, "="); ok && !strings.Contains(word, ":") {
			var err error
			if lowest, err = alert.ParseSeverity(word); err != nil {
				return usagef(hint, "--notify number %d: %v", i+1, err)
			}
			text = rest
		}
		if err := alert.CheckReceiver(text); err != nil {
			return usagef(hint, "--notify number %d: %v", i+1, err)
		}
		r.router.Sinks = append(r.router.Sinks, alert.Sink{MinSeverity: lowest, URL: text})
	}
	for i, text := range r.escalate {
		after, address, ok := strings.Cut(text, "=")
		d, err := time.ParseDuration(after)
		if !ok || err != nil || d <= 0 {
			return usagef("--escalate-after 15m=URL", "--escalate-after number %d: want a duration, = and an address", i+1)
		}
		if err := alert.CheckReceiver(address); err != nil {
			return usagef("--escalate-after 15m=URL", "--escalate-after number %d: %v", i+1, err)
		}
		r.router.Escalations = append(r.router.Escalations, alert.Escalation{After: d, URL: address})
	}
	if r.router.Host == "" {
		r.router.Host, _ = os.Hostname()
	}
	return nil
}

// resolve checks the flags together.
func (r *raw) resolve() (*config, error) {
	s := &r.settings
	count, window, ok := strings.Cut(r.maxRestarts, "/")
	var err1, err2 error
	s.MaxRestarts, err1 = strconv.Atoi(count)
	s.Window, err2 = time.ParseDuration(window)
	switch {
	case !ok || err1 != nil || err2 != nil || s.MaxRestarts < 1 || s.Window <= 0:
		return nil, usagef("--max-restarts 20/5m", "--max-restarts %q: want a number, a slash and a duration", r.maxRestarts)
	case s.MaxAttempts < 0:
		return nil, usagef("--max-attempts 0 only alerts", "--max-attempts %d: want 0 or more", s.MaxAttempts)
	case s.Base < 0 || s.Max < 0 || s.StableFor < 0 || s.VerifyTimeout < 0 || s.HoldMax < 0 || s.UnhealthyFor < 0:
		return nil, usagef(helpHint, "a duration is below 0")
	case !(s.Multiplier >= 1 && s.Multiplier < 1e6):
		return nil, usagef("--backoff-multiplier 2", "--backoff-multiplier %g: want 1 or more", s.Multiplier)
	case !(s.Jitter >= 0 && s.Jitter <= 10):
		return nil, usagef("--backoff-jitter 0.1", "--backoff-jitter %g: want 0 to 10", s.Jitter)
	case s.MaxConcurrent < 1:
		return nil, usagef("--max-concurrent 4", "--max-concurrent %d: want 1 or more", s.MaxConcurrent)
	case r.reconcile < time.Second:
		return nil, usagef("--reconcile 1m", "--reconcile %s: want 1s or more", r.reconcile)
	case r.stopTimeout < -2:
		return nil, usagef("--stop-timeout 10", "--stop-timeout %d: want seconds, -1 or -2", r.stopTimeout)
	case r.logFormat != "text" && r.logFormat != "json":
		return nil, usagef("--log-format text or --log-format json", "--log-format %q: want text or json", r.logFormat)
	}
	if r.stopTimeout > -2 {
		s.StopTimeout = &r.stopTimeout
	}
	if r.stateFile == "none" {
		r.stateFile = ""
	} else if !filepath.IsAbs(r.stateFile) {
		return nil, usagef("give an absolute path, or none", "--state-file %q is not absolute", r.stateFile)
	}
	if r.listen == "none" {
		r.listen = ""
	} else if _, _, err := net.SplitHostPort(r.listen); err != nil {
		return nil, usagef("--listen 127.0.0.1:9181, or none", "--listen %q: want HOST:PORT", r.listen)
	}
	r.jsonLog = r.logFormat == "json"
	if err := r.resolveAlerts(); err != nil {
		return nil, err
	}
	if r.control == "none" {
		r.control = ""
	} else if !filepath.IsAbs(r.control) {
		return nil, usagef("give an absolute path, or none", "--control %q is not absolute", r.control)
	}
	return &r.config, nil
}
