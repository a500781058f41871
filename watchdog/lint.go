package watchdog

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Subject is one service as lint sees it, from a running engine or from a
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

// Finding is one thing that will bite.
type Finding struct {
	Rule    string `json:"rule"`
	Level   string `json:"level"` // error or warning
	Service string `json:"service"`
	Place   string `json:"place"`
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
	Instead string `json:"instead"`
}

// Rules lists lint's rules with what they look for.
var Rules = []struct{ Name, What string }{
	{"no-healthcheck", "a service without a healthcheck: nobody notices when it hangs"},
	{"watched-without-healthcheck", "a watched service without a healthcheck: only its death is noticed"},
	{"timeout-not-shorter-than-interval", "a probe that may outlive its interval"},
	{"no-shell", "curl, wget or a shell in an image that has none"},
	{"probe-cannot-run", "a probe that the engine cannot start"},
	{"start-period-too-short", "a start period shorter than the start that was observed"},
	{"slow-probe", "a probe that takes more than half of its timeout"},
	{"probe-outlasts-timeout", "a probe whose own timeouts add up to more than the engine allows"},
	{"competing-restart-policy", "a restart policy beside the watchdog"},
	{"liveness-looks-at-dependencies", "a watched service that is restarted when its database is down"},
}

// Lint says what will bite about one service.
func Lint(s Subject) (out []Finding) {
	add := func(rule, level, instead, format string, args ...any) {
		out = append(out, Finding{rule, level, s.Name, s.Place, s.Line, fmt.Sprintf(format, args...), instead})
	}
	if s.Watched && s.RestartPolicy != "" && s.RestartPolicy != "no" {
		add("competing-restart-policy", "warning", "restart: \"no\", or watchdog.restart-exited=false",
			"restart: %s revives it without a limit, while the watchdog counts attempts", s.RestartPolicy)
	}
	p := s.Probe
	if p == nil {
		switch {
		case s.Unknown:
		case s.Watched:
			add("watched-without-healthcheck", "error", `HEALTHCHECK CMD ["/healthcheck"] in its image`, "it is watched, but has no healthcheck")
		default:
			add("no-healthcheck", "warning", `HEALTHCHECK CMD ["/healthcheck"] in its image`, "it has no healthcheck")
		}
		return out
	}
	if p.Timeout >= p.Interval {
		add("timeout-not-shorter-than-interval", "error", fmt.Sprintf("timeout: %s", max((p.Interval/3).Truncate(time.Second), time.Second)),
			"timeout %s is not shorter than interval %s", p.Timeout, p.Interval)
	}
	if tool := needsShell(p.Test); tool != "" && shellless(s.Image) {
		add("no-shell", "error", `test: ["CMD", "/healthcheck"]`, "the probe needs %s, which %s does not have", tool, s.Image)
	}
	if s.CannotRun != "" {
		add("probe-cannot-run", "error", `test: ["CMD", "/healthcheck"]`, "the engine cannot start the probe: %s", printable(bounded(s.CannotRun)))
	}
	if s.StartTook > p.StartPeriod {
		add("start-period-too-short", "warning", fmt.Sprintf("start_period: %s", (2*s.StartTook).Round(time.Second)),
			"its last start took %s, the start period is %s", s.StartTook.Round(100*time.Millisecond), p.StartPeriod)
	}
	if s.ProbeTook > p.Timeout/2 {
		add("slow-probe", "warning", fmt.Sprintf("timeout: %s", (3*s.ProbeTook).Round(time.Second)),
			"a probe took %s of its timeout of %s", s.ProbeTook.Round(time.Millisecond), p.Timeout)
	}
	if s.ScriptWorst > p.Timeout {
		add("probe-outlasts-timeout", "error", `test: ["CMD", "/healthcheck"], which ends within 8s`,
			"its requests and samples may take %s, then it is killed after %s without a cause", s.ScriptWorst, p.Timeout)
	}
	if what := looksAtDependencies(p.Test); s.Watched && what != "" {
		add("liveness-looks-at-dependencies", "warning", `CMD ["/healthcheck", "--layers", "resource,api"], or --optional db --optional vector`,
			"it is restarted when %s is down, which does not mend that", what)
	}
	return out
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

// looksAtDependencies names the dependency that a probe asks for.
func looksAtDependencies(test []string) string {
	text := strings.Join(test, " ")
	switch {
	case strings.Contains(text, "/db/") || strings.Contains(text, "--db"):
		return "its database"
	case strings.Contains(text, "/vector/") || strings.Contains(text, "--vector"):
		return "its vector store"
	case strings.Contains(text, "/ready"):
		return "what it waits for"
	}
	if i := slices.IndexFunc(test, func(w string) bool { return w == "/healthcheck" || strings.HasSuffix(w, "/bin/healthcheck") }); i >= 0 {
		if !strings.Contains(text, "--layers") && !strings.Contains(text, "--optional") {
			return "its database or its vector store"
		}
	}
	return ""
}

// LintContainer is a running container as lint sees it.
func LintContainer(c Container, watched bool) Subject {
	s := Subject{Name: c.Service(), Place: "container " + c.Name, Image: c.Image, Watched: watched, RestartPolicy: c.RestartPolicy}
	if !c.HasHealthcheck {
		return s
	}
	s.Probe = &Probe{c.Test, c.interval(), c.timeout(), c.StartPeriod}
	for _, r := range c.Log {
		s.ProbeTook = max(s.ProbeTook, r.End.Sub(r.Start))
		if r.ExitCode == -1 || r.ExitCode == 126 || r.ExitCode == 127 {
			s.CannotRun = r.Output
		}
	}
	// The log reaches back to the start only for a while.
	if len(c.Log) > 0 && c.Log[0].Start.Sub(c.StartedAt) < 2*c.interval() && c.Log[0].ExitCode != 0 {
		for _, r := range c.Log {
			if r.ExitCode == 0 {
				s.StartTook = r.End.Sub(c.StartedAt)
				break
			}
		}
	}
	return s
}

// ProbeResult is one entry of the engine's log of probes.
type ProbeResult struct {
	Start, End time.Time
	ExitCode   int
	Output     string
}
