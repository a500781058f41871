package recovery

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/report"
)

// Container is what the engine says of one, as far as it matters here. What
// comes from a list alone has no StartedAt and no health details.
type Container struct {
	ID, Name string
	Labels   map[string]string
	// State is running, paused, restarting, exited, dead, created or removing.
	State string
	// Health is healthy, unhealthy, starting, or empty for none.
	Health        string
	FailingStreak int
	// StartedAt and FinishedAt are those of the last life, by the engine's clock.
	StartedAt, FinishedAt time.Time
	ExitCode              int
	OOMKilled             bool
	// Error is the engine's own, where it could not start the container.
	Error string
	// RestartPolicy is the engine's own: empty or "no" for none. MaxRetries
	// bounds on-failure; 0 is without a bound. RestartCount is how often it was
	// applied since somebody last started the container.
	RestartPolicy            string
	MaxRetries, RestartCount int
	// The healthcheck's configuration; zero values are the engine's defaults.
	HasHealthcheck                 bool
	Interval, Timeout, StartPeriod time.Duration
	Retries                        int
	// StopTimeout is the container's own, in seconds; nil is the engine's, and
	// below zero is without a bound. StopSignal is what stops it; empty: SIGTERM.
	StopTimeout *int
	StopSignal  string
	// MemoryLimit is in bytes; 0 for none.
	MemoryLimit int64
	// NetworkOf is the container whose network this one uses, by id or name.
	NetworkOf string
	// LastOutput is what the last failed probe printed, bounded; LastProbe is
	// when the last one of all ended.
	LastOutput string
	LastProbe  time.Time
	// Networks are those that it is in; Failures are the failed checks of the
	// last probe, where it printed a report of this project's own.
	Networks []Network
	Failures []report.Failure
	// Figures are what the last probe's report tells of each check, where the
	// engine's client reads them.
	Figures []report.Figure
	// ProbeInterrupted says that the last probe could not start, or was killed,
	// as it happens while a container ends and its state still says running.
	ProbeInterrupted bool
	// ProbeTimedOut says that the last probe ran out of time: the engine ended
	// it, or a check did that blames no other.
	ProbeTimedOut bool
	// NotLabels are environment variables of it that were meant as the label
	// that opts in.
	NotLabels []string
	// Details are for lint alone; nil where nobody asked for them.
	Details *Details
}

// Details are what only lint reads of a container: the image, the probe's
// command, and the log of probes.
type Details struct {
	Image string
	Test  []string
	Log   []ProbeResult
}

// The engine's defaults for a healthcheck (moby, daemon/health.go).
const (
	DefaultInterval = 30 * time.Second
	DefaultTimeout  = 30 * time.Second
	DefaultRetries  = 3
)

// Labels that others set.
const (
	composeProject   = "com.docker.compose.project"
	composeService   = "com.docker.compose.service"
	composeNumber    = "com.docker.compose.container-number"
	composeDependsOn = "com.docker.compose.depends_on"
	composeOneoff    = "com.docker.compose.oneoff"
	swarmTask        = "com.docker.swarm.task.id"
)

// Service is the name that attempts belong to: compose's, which a recreated
// container keeps, or else the container's own. Labels are anybody's text: the
// name is bounded and escaped here, once for all that print it.
func (c Container) Service() string {
	if p, s := c.Labels[composeProject], c.Labels[composeService]; p != "" && s != "" {
		return clean(p) + "/" + clean(s) + "/" + clean(cmp.Or(c.Labels[composeNumber], "1"))
	}
	return clean(c.Name)
}

// called says whether a person means this container by name: the container's
// own, compose's service, project/service, or project/service/number.
func (c Container) called(name string) bool {
	service := c.Labels[composeService]
	return name == c.Name || service != "" && (name == service || name == c.Service() || name+"/"+cmp.Or(c.Labels[composeNumber], "1") == c.Service())
}

// maxName bounds each part of a service's name, in bytes.
const maxName = 128

// clean makes a name safe to print: escaped, on one line, bounded. Names that
// differ behind the bound stay different.
func clean(name string) string {
	if len(name) > maxName {
		h := fnv.New32a()
		h.Write([]byte(name))
		name = fmt.Sprintf("%s…%08x", strings.ToValidUTF8(name[:maxName], ""), h.Sum32())
	}
	quoted := strconv.Quote(name)
	return quoted[1 : len(quoted)-1]
}

// failure says what the last failed probe found, in one bounded line: the first
// failed check, or the first line of another's output.
func (c Container) failure() string {
	if len(c.Failures) > 0 {
		f := c.Failures[0]
		if f.Check == "" {
			return f.Text
		}
		return f.Check + ": " + f.Text
	}
	const most = 200
	first, _, _ := strings.Cut(c.LastOutput, "\n")
	return probe.Ellipsis(probe.Clean(strings.TrimSpace(first)), most)
}

// interruptedRetries is how many more probes must fail when the last one was
// interrupted: the container may only be ending.
const interruptedRetries = 2

// failing says whether an unhealthy status stands for probes that failed: a
// pause leaves it behind as well, with no streak of failures, and a container
// that ends may fail one probe more, whoever ended it.
func (c Container) failing() bool {
	retries := c.retries()
	if c.ProbeInterrupted {
		retries += interruptedRetries
	}
	return c.Health == "unhealthy" && c.FailingStreak >= retries
}

func (c Container) interval() time.Duration { return cmp.Or(c.Interval, DefaultInterval) }
func (c Container) timeout() time.Duration  { return cmp.Or(c.Timeout, DefaultTimeout) }
func (c Container) retries() int            { return cmp.Or(c.Retries, DefaultRetries) }

// frozen says whether the engine has ceased to run the probes of a container
// that it calls healthy or unhealthy, as after a live restore.
func (c Container) frozen(now time.Time) bool {
	limit := 3 * (c.interval() + c.timeout())
	return c.HasHealthcheck && !c.LastProbe.IsZero() && c.State == "running" && now.Sub(c.LastProbe) > limit && now.Sub(c.StartedAt) > limit
}

// ownPolicy says whether the engine itself revives the container.
func (c Container) ownPolicy() bool {
	return c.RestartPolicy != "" && c.RestartPolicy != "no"
}

// ProbeResult is one entry of the engine's log of probes.
type ProbeResult struct {
	Start, End time.Time
	ExitCode   int
	Output     string
}
