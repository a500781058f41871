package lint

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Subject is one service as the rules see it, from a running engine or from a
// compose file; what cannot be seen there is zero.
type Subject struct {
	Name string
	// Place is where it stands: a file with Line, or the engine.
	Place string
	Line  int
	Image string
	// Watched says that the watchdog would restart it.
	Watched bool
	// Probe is the healthcheck; nil for none, or none that can be seen.
	Probe *Probe
	// Unknown says that the image may bring a healthcheck that is not seen.
	Unknown bool
	// RestartPolicy is the engine's own: always, unless-stopped, on-failure.
	RestartPolicy string
	// StartTook is how long the last start took until the first good probe,
	// where that was observed; ProbeTook is the slowest probe of late.
	StartTook, ProbeTook time.Duration
	// CannotRun is what the engine said of a probe that it could not start.
	CannotRun string
	// ScriptWorst is how long the probe's script may take at worst, by its own
	// timeouts; 0 where that is not known.
	ScriptWorst time.Duration
}

// Probe is a healthcheck's configuration, with the engine's defaults filled in.
type Probe struct {
	Test                           []string
	Interval, Timeout, StartPeriod time.Duration
}

// Finding is what one rule found in one service.
type Finding struct {
	Rule    string `json:"rule"`
	Level   string `json:"level"` // error or warning
	Service string `json:"service"`
	Place   string `json:"place"`
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
	Instead string `json:"instead"`
}

// Rule looks for one kind of fault.
type Rule struct {
	Name, What string
	Level      string // error or warning
	// find returns what is wrong and what to write instead; an empty message
	// is no finding. It sees a nil Probe only where needsNoProbe is set.
	find         func(Subject) (message, instead string)
	needsNoProbe bool
}

const ownProbe = `test: ["CMD", "/healthcheck"]`

// Rules is the table of all rules, in the order of their findings.
var Rules = []Rule{
	{"competing-restart-policy", "a restart policy beside the watchdog", "warning", competingPolicy, true},
	{"no-healthcheck", "a service without a healthcheck: nobody notices when it hangs", "warning", noHealthcheck, true},
	{"watched-without-healthcheck", "a watched service without a healthcheck: only its death is noticed", "error", watchedWithout, true},
	{"timeout-not-shorter-than-interval", "a probe that may outlive its interval", "error", timeoutTooLong, false},
	{"no-shell", "curl, wget or a shell in an image that has none", "error", noShell, false},
	{"probe-cannot-run", "a probe that the engine cannot start", "error", cannotRun, false},
	{"start-period-too-short", "a start period shorter than the start that was observed", "warning", startPeriodTooShort, false},
	{"slow-probe", "a probe that takes more than half of its timeout", "warning", slowProbe, false},
	{"probe-outlasts-timeout", "a probe whose own timeouts add up to more than the engine allows", "error", outlastsTimeout, false},
	{"liveness-looks-at-dependencies", "a watched service that is restarted when its database is down", "warning", livenessOfDependencies, false},
}

// Check applies all rules to one service.
func Check(s Subject) (out []Finding) {
	for _, r := range Rules {
		if s.Probe == nil && !r.needsNoProbe {
			continue
		}
		if message, instead := r.find(s); message != "" {
			out = append(out, Finding{r.Name, r.Level, s.Name, s.Place, s.Line, message, instead})
		}
	}
	return out
}

func competingPolicy(s Subject) (message, instead string) {
	if !s.Watched || s.RestartPolicy == "" || s.RestartPolicy == "no" {
		return "", ""
	}
	return fmt.Sprintf("restart: %s revives it without a limit, while the watchdog counts attempts", s.RestartPolicy),
		`restart: "no", or watchdog.restart-exited=false`
}

const addHealthcheck = `HEALTHCHECK CMD ["/healthcheck"] in its image`

func noHealthcheck(s Subject) (message, instead string) {
	if s.Probe != nil || s.Unknown || s.Watched {
		return "", ""
	}
	return "it has no healthcheck", addHealthcheck
}

func watchedWithout(s Subject) (message, instead string) {
	if s.Probe != nil || s.Unknown || !s.Watched {
		return "", ""
	}
	return "it is watched, but has no healthcheck", addHealthcheck
}

func timeoutTooLong(s Subject) (message, instead string) {
	if s.Probe.Timeout < s.Probe.Interval {
		return "", ""
	}
	return fmt.Sprintf("timeout %s is not shorter than interval %s", s.Probe.Timeout, s.Probe.Interval),
		fmt.Sprintf("timeout: %s", max((s.Probe.Interval/3).Truncate(time.Second), time.Second))
}

func noShell(s Subject) (message, instead string) {
	tool := needsShell(s.Probe.Test)
	if tool == "" || !shellless(s.Image) {
		return "", ""
	}
	return fmt.Sprintf("the probe needs %s, which %s does not have", tool, s.Image), ownProbe
}

func cannotRun(s Subject) (message, instead string) {
	if s.CannotRun == "" {
		return "", ""
	}
	return fmt.Sprintf("the engine cannot start the probe: %q", s.CannotRun), ownProbe
}

func startPeriodTooShort(s Subject) (message, instead string) {
	if s.StartTook <= s.Probe.StartPeriod {
		return "", ""
	}
	return fmt.Sprintf("its last start took %s, the start period is %s", s.StartTook.Round(100*time.Millisecond), s.Probe.StartPeriod),
		fmt.Sprintf("start_period: %s", (2 * s.StartTook).Round(time.Second))
}

func slowProbe(s Subject) (message, instead string) {
	if s.ProbeTook <= s.Probe.Timeout/2 {
		return "", ""
	}
	return fmt.Sprintf("a probe took %s of its timeout of %s", s.ProbeTook.Round(time.Millisecond), s.Probe.Timeout),
		fmt.Sprintf("timeout: %s", (3 * s.ProbeTook).Round(time.Second))
}

func outlastsTimeout(s Subject) (message, instead string) {
	if s.ScriptWorst <= s.Probe.Timeout {
		return "", ""
	}
	return fmt.Sprintf("its requests and samples may take %s, then it is killed after %s without a cause", s.ScriptWorst, s.Probe.Timeout),
		ownProbe + ", which ends within 8s"
}

func livenessOfDependencies(s Subject) (message, instead string) {
	dependency := looksAtDependencies(s.Probe.Test)
	if !s.Watched || dependency == "" {
		return "", ""
	}
	return fmt.Sprintf("it is restarted when %s is down, which does not mend that", dependency),
		`CMD ["/healthcheck", "--layers", "resource,api"], or --optional db --optional vector`
}

// needsShell names what a probe needs that a bare image lacks.
func needsShell(test []string) string {
	if len(test) == 0 {
		return ""
	}
	if test[0] == "CMD-SHELL" {
		return "a shell"
	}
	for _, tool := range []string{"curl", "wget", "sh", "bash"} {
		if len(test) > 1 && (test[1] == tool || strings.HasSuffix(test[1], "/"+tool)) {
			return tool
		}
	}
	return ""
}

// shellless says whether an image has no shell, by its name.
func shellless(image string) bool {
	return image == "scratch" || strings.Contains(image, "distroless") || strings.Contains(image, "/static-debian")
}

// looksAtDependencies names the dependency that a probe asks.
func looksAtDependencies(test []string) string {
	text := strings.Join(test, " ")
	switch {
	case strings.Contains(text, "/db/") || strings.Contains(text, "--db"):
		return "its database"
	case strings.Contains(text, "/vector/") || strings.Contains(text, "--vector"):
		return "its vector store"
	case strings.Contains(text, "/ready"):
		return "what it waits for"
	case strings.Contains(text, "--layers") || strings.Contains(text, "--optional"):
		return ""
	}
	if slices.ContainsFunc(test, func(w string) bool { return w == "/healthcheck" || strings.HasSuffix(w, "/bin/healthcheck") }) {
		return "its database or its vector store"
	}
	return ""
}
