package main

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
)

// config is what watchdog run was given, checked and resolved.
type config struct {
	settings     recovery.Settings
	configFile   string
	overrides    recovery.Overrides
	host         string // the engine's address; empty: DOCKER_HOST, or the default
	stateFile    string
	reconcile    time.Duration
	startDelay   time.Duration
	listen       string
	hosts        []string // the names that requests to it may be for
	jsonLog      bool
	router       alert.Router
	control      string
	probeFigures bool
	// evidence is kept before each restart, and so many lines of the log go into
	// alerts.
	evidence      bool
	evidenceLines int
	// notifyStart sends a message at the start.
	notifyStart bool
	heartbeat   string   // an address, a secret; empty for none
	notes       []string // logged once at the start
}

// raw holds the flags that need a second look.
type raw struct {
	config
	maxRestarts string
	logFormat   string
	stopTimeout int
	quietHours  string
	action      string
	onGiveUp    string
	notify      []string
	title, text string
	receivers   []namedReceiver
	escalate    []string
	hooks       []hook
	hostSource  string // what named the engine: a flag or a variable
	environ     *flags.Environ
}

// hook is a receiver that a variable of docker-autoheal's names.
type hook struct{ variable, url string }

// receiverStart is how an address of --notify begins.
var receiverStart = regexp.MustCompile(`^([A-Za-z]+=)?[a-z][a-z0-9+.-]*://`).MatchString

// escalationStart is how one of --escalate-after begins.
var escalationStart = regexp.MustCompile(`^[0-9.hms]+=`).MatchString

// newFlags declares the flags of watchdog run, in the order of the help text.
func newFlags() (*pflag.FlagSet, *raw) {
	r := &raw{config: config{settings: recovery.Settings{Policy: recovery.DefaultPolicy()}}}
	s := &r.settings
	fs := newFlagSet("run")
	fs.StringVar(&r.configFile, "config", "", "`FILE` in YAML, with flags by their names and settings per-service; read anew on SIGHUP")
	fs.Var(&flags.List{Values: &s.Services, Begins: flags.Anything, Commas: true, Kind: "NAME,…"}, "services", "watch these services or containers, by a name that watchdog status prints, as project/service/1, or project/service for all of a service")
	fs.BoolVar(&s.All, "all", false, "watch every container that has a healthcheck")
	fs.IntVar(&s.MaxAttempts, "max-attempts", s.MaxAttempts, "restarts before giving up")
	fs.DurationVar(&s.Base, "backoff-base", s.Base, "restart n+1 waits base × multiplier^n after restart n")
	fs.Float64Var(&s.Multiplier, "backoff-multiplier", s.Multiplier, "`FACTOR` see --backoff-base")
	fs.DurationVar(&s.Max, "backoff-max", s.Max, "the longest wait")
	fs.Float64Var(&s.Jitter, "backoff-jitter", s.Jitter, "`SHARE` waits are longer by up to this")
	fs.DurationVar(&s.StableFor, "stable-for", s.StableFor, "healthy so long: attempts are forgotten")
	fs.DurationVar(&s.VerifyTimeout, "verify-timeout", 0, "for a verdict after a restart; 0s: by healthcheck")
	fs.DurationVar(&s.UnhealthyFor, "unhealthy-for", 0, "wait so long before the first restart")
	fs.BoolVar(&s.RestartExited, "restart-exited", s.RestartExited, "recover what died by itself, too")
	fs.IntVar(&s.MaxConcurrent, "max-concurrent", 4, "restarts at once, over all containers")
	fs.StringVar(&r.maxRestarts, "max-restarts", "20/5m", "`N/DURATION` restarts in a time, over all containers")
	fs.BoolVar(&s.ByCause, "by-cause", s.ByCause, "restart the culprit, by the causes that probes report")
	fs.DurationVar(&s.HoldMax, "hold-max", s.HoldMax, "longest hold where nothing is known of the culprit")
	fs.BoolVar(&s.Cascade, "cascade", s.Cascade, "restart dependents after a recovery")
	fs.StringVar(&r.quietHours, "quiet-hours", "", "`TIMES` restart nothing then, by the local clock: Sun 02:00-04:00, or several with commas")
	fs.StringVar(&r.action, "action", string(s.Remedy), "`ACTION` against what needs a restart: restart, stop, or notify people alone")
	fs.StringVar(&r.onGiveUp, "on-give-up", "none", "`ACTION` stop: stop a container that no restart has helped")
	fs.IntVar(&r.stopTimeout, "stop-timeout", -2, "`SECONDS` time to stop in; -1: no limit, -2: the container's")
	fs.BoolVar(&s.DryRun, "dry-run", false, "decide and report, restart nothing")
	fs.DurationVar(&r.reconcile, "reconcile", time.Minute, "compare with a fresh list so often")
	fs.StringVar(&r.stateFile, "state-file", "/var/lib/watchdog/state.json", "`PATH` what survives a restart; none: nothing")
	r.addReceivers(fs)
	fs.DurationVar(&r.router.Every, "notify-every", time.Hour, "the same alert is not repeated within")
	fs.BoolVar(&r.evidence, "evidence", false, "keep log, processes, usage and inspection of a container before its restart")
	fs.IntVar(&r.evidenceLines, "evidence-lines", 0, "`N` so many of the log's last lines go into alerts")
	fs.BoolVar(&r.notifyStart, "notify-start", false, "send a message when the watchdog has started")
	fs.StringVar(&r.heartbeat, "heartbeat", "", "`URL` is asked for once a minute while all is well here: for a dead man's switch")
	fs.StringVar(&r.listen, "listen", "127.0.0.1:9181", "`HOST:PORT` serve the page, /healthz, /metrics and /api/status there; none: nowhere")
	fs.BoolVar(&r.probeFigures, "probe-figures", false, "serve what the containers' reports tell of each check in /metrics, too")
	fs.StringVar(&r.control, "control", defaultControl, "`PATH` socket of status, history and reset; none: nowhere")
	fs.StringVar(&r.host, "host", "", "`URL` the engine's address, unix:// or tcp://; before DOCKER_HOST")
	fs.StringVar(&r.logFormat, "log-format", "text", "`FORMAT` text or json")
	return fs, r
}

// maxEvidenceLines bounds what an alert shows of a log.
const maxEvidenceLines = 50

// defaultControl is where the daemon and the commands that ask it meet.
const defaultControl = "/var/lib/watchdog/control.sock"

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

// parseRun turns arguments and environment into a configuration. It is pure
// but for g.read. Its error is errHelp or a *usageError.
func parseRun(g given) (*config, error) {
	fs, r := newFlags()
	var err error
	if r.environ, err = g.parse(fs, 0); err != nil {
		return nil, err
	}
	return r.complete(g, fs)
}

// complete adds the configuration file and the variables of docker-autoheal,
// and checks everything together.
func (r *raw) complete(g given, fs *pflag.FlagSet) (*config, error) {
	if err := r.readConfigFile(g, fs); err != nil {
		return nil, err
	}
	r.hostSource = r.environ.Source("host")
	if err := r.autoheal(fs, lookup(g.environ)); err != nil {
		return nil, err
	}
	if err := checkEngine(r.hostSource, r.host, g.environ); err != nil {
		return nil, err
	}
	return r.resolve()
}

// resolve checks the flags together.
func (r *raw) resolve() (*config, error) {
	s := &r.settings
	given := r.environ.Given
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"backoff-base", s.Base}, {"backoff-max", s.Max}, {"stable-for", s.StableFor}, {"verify-timeout", s.VerifyTimeout}, {"unhealthy-for", s.UnhealthyFor}, {"hold-max", s.HoldMax}, {"notify-every", r.router.Every},
	} {
		if d.value < 0 {
			return nil, usagef("--"+d.flag+" 1m", "%s: want 0s or more", given(d.flag))
		}
	}
	count, window, ok := strings.Cut(r.maxRestarts, "/")
	var err1, err2 error
	s.MaxRestarts, err1 = strconv.Atoi(count)
	s.Window, err2 = time.ParseDuration(window)
	switch {
	case !ok || err1 != nil || err2 != nil || s.MaxRestarts < 1 || s.Window <= 0:
		return nil, usagef("--max-restarts 20/5m", "%s: want a number, a slash and a duration", given("max-restarts"))
	case s.MaxAttempts < 0:
		return nil, usagef("--max-attempts 0 only alerts", "%s: want 0 or more", given("max-attempts"))
	case !(s.Multiplier >= 1 && s.Multiplier < 1e6):
		return nil, usagef("--backoff-multiplier 2", "%s: want 1 or more, and less than a million", given("backoff-multiplier"))
	case !(s.Jitter >= 0 && s.Jitter <= 10):
		return nil, usagef("--backoff-jitter 0.1", "%s: want 0 to 10", given("backoff-jitter"))
	case s.MaxConcurrent < 1:
		return nil, usagef("--max-concurrent 4", "%s: want 1 or more", given("max-concurrent"))
	case r.reconcile < time.Second:
		return nil, usagef("--reconcile 1m", "%s: want 1s or more", given("reconcile"))
	case r.evidenceLines < 0 || r.evidenceLines > maxEvidenceLines:
		return nil, usagef("--evidence-lines 10", "%s: want 0 to %d", given("evidence-lines"), maxEvidenceLines)
	case r.evidenceLines > 0 && !r.evidence:
		return nil, usagef("--evidence --evidence-lines 10", "%s: wants --evidence", given("evidence-lines"))
	case r.evidence && r.stateFile == "none":
		return nil, usagef("--evidence needs a --state-file, beside which it lies", "%s: there is no state file", given("evidence"))
	case r.stopTimeout < -2:
		return nil, usagef("--stop-timeout 10", "%s: want seconds, -1 or -2", given("stop-timeout"))
	case r.logFormat != "text" && r.logFormat != "json":
		return nil, usagef("--log-format text or --log-format json", "%s: want text or json", given("log-format"))
	}
	var err error
	if s.QuietHours, err = recovery.ParseQuietHours(r.quietHours); err != nil {
		return nil, usagef("--quiet-hours 'Sun 02:00-04:00'", "%s: %s", given("quiet-hours"), err)
	}
	if s.Remedy, err = recovery.ParseRemedy(r.action); err != nil {
		return nil, usagef("--action restart, --action stop or --action notify", "%s: want restart, stop or notify", given("action"))
	}
	if s.StopOnGiveUp, err = recovery.ParseOnGiveUp(r.onGiveUp); err != nil {
		return nil, usagef("--on-give-up stop, or none", "%s: want none or stop", given("on-give-up"))
	}
	if u, err := url.Parse(r.heartbeat); r.heartbeat != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return nil, usagef("--heartbeat https://…; a secret one goes into WATCHDOG_HEARTBEAT_FILE", "%s: want an http or https URL", r.environ.Source("heartbeat"))
	}
	if r.stopTimeout > -2 {
		s.StopTimeout = &r.stopTimeout
	}
	r.jsonLog = r.logFormat == "json"
	if err := r.resolvePlaces(); err != nil {
		return nil, err
	}
	if err := r.resolveAlerts(); err != nil {
		return nil, err
	}
	return &r.config, nil
}

// resolvePlaces reads where things are kept and served.
func (r *raw) resolvePlaces() error {
	given := r.environ.Given
	if r.stateFile == "none" {
		r.stateFile = ""
	} else if !filepath.IsAbs(r.stateFile) {
		return usagef("give an absolute path, or none", "%s: not an absolute path", given("state-file"))
	}
	if r.control == "none" {
		r.control = ""
	} else if !filepath.IsAbs(r.control) {
		return usagef("give an absolute path, or none", "%s: not an absolute path", given("control"))
	}
	if r.listen == "none" {
		r.listen = ""
		return nil
	}
	host, _, err := net.SplitHostPort(r.listen)
	if err != nil {
		return usagef("--listen 127.0.0.1:9181, or none", "%s: want HOST:PORT", given("listen"))
	}
	name, _ := os.Hostname()
	r.hosts = []string{host, name, r.router.Host}
	return nil
}
