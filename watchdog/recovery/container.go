package recovery

import (
	"cmp"
	"time"
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
	StartedAt     time.Time
	ExitCode      int
	// RestartPolicy is the engine's own: empty or "no" for none.
	RestartPolicy string
	// The healthcheck's configuration; zero values are the engine's defaults.
	HasHealthcheck                 bool
	Interval, Timeout, StartPeriod time.Duration
	Retries                        int
	// StopTimeout is the container's own, in seconds; nil is the engine's.
	StopTimeout *int
	// NetworkOf is the container whose network this one uses, by id or name.
	NetworkOf string
	// LastOutput is the beginning of what the last failed probe printed.
	LastOutput string
	// ProbeInterrupted says that the last probe could not start, or was killed,
	// as it happens while a container ends and its state still says running.
	ProbeInterrupted bool
	// For lint alone: the image, the probe's command, and the log of probes.
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
// container keeps, or else the container's own.
func (c Container) Service() string {
	if p, s := c.Labels[composeProject], c.Labels[composeService]; p != "" && s != "" {
		return p + "/" + s + "/" + cmp.Or(c.Labels[composeNumber], "1")
	}
	return c.Name
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

func (c Container) retries() int { return cmp.Or(c.Retries, DefaultRetries) }

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
