package watchdog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
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
	// LastOutput is the end of what the last failed probe printed.
	LastOutput string
	// Dying says that the last probe could not even start, or was killed, as
	// it happens when the container is just ending: its state has not caught up.
	Dying bool
	// For lint alone: the image, the probe's command, and the log of probes.
	Image string
	Test  []string
	Log   []ProbeResult
}

func (c Container) interval() time.Duration { return orElse(c.Interval, defaultInterval) }
func (c Container) timeout() time.Duration  { return orElse(c.Timeout, defaultTimeout) }
func (c Container) retries() int            { return orElse(c.Retries, defaultRetries) }

func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

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
		return p + "/" + s + "/" + orElse(c.Labels[composeNumber], "1")
	}
	return c.Name
}

// dyingPatience is how many more probes a container that seems to be ending
// gets before it counts as ill after all.
const dyingPatience = 2

// failing says whether an unhealthy status stands for probes that failed: a
// pause leaves it behind as well, with no streak of failures, and a container
// that ends may fail one probe more, whoever ended it.
func (c Container) failing() bool {
	least := c.retries()
	if c.Dying {
		least += dyingPatience
	}
	return c.Health == "unhealthy" && c.FailingStreak >= least
}

// ownPolicy says whether the engine itself revives the container.
func (c Container) ownPolicy() bool {
	return c.RestartPolicy != "" && c.RestartPolicy != "no"
}

// Settings say what is watched and how.
type Settings struct {
	Policy
	// All takes every container that has a healthcheck.
	All bool
	// Services are watched by name, without a label: compose services or
	// containers.
	Services []string
	// OptInLabel is a further label that opts in when it is true.
	OptInLabel string
	// SelfID is the container that this program runs in, if any.
	SelfID string
	// MaxConcurrent and MaxRestarts in Window guard against storms.
	MaxConcurrent, MaxRestarts int
	Window                     time.Duration
}

// Watched says whether a container is to be recovered. Opting out wins over
// everything; what others replace by themselves is never touched.
func (s Settings) Watched(c Container) bool {
	if s.excluded(c) {
		return false
	}
	for _, label := range []string{"watchdog.enable", "autoheal", "autoheal.monitor.enable", "deunhealth.restart.on.unhealthy", s.OptInLabel} {
		if v, ok := c.Labels[label]; ok && label != "" {
			if on, err := parseBool(v); err == nil && on {
				return true
			}
		}
	}
	if slices.Contains(s.Services, c.Name) || slices.Contains(s.Services, c.Labels[composeService]) && c.Labels[composeService] != "" {
		return true
	}
	return s.All && (c.HasHealthcheck || c.Health != "")
}

// excluded says whether a container must never be restarted.
func (s Settings) excluded(c Container) bool {
	if c.ID != "" && c.ID == s.SelfID || c.Labels[swarmTask] != "" {
		return true
	}
	if on, err := parseBool(c.Labels[composeOneoff]); err == nil && on {
		return true
	}
	for _, label := range []string{"watchdog.enable", "autoheal", "autoheal.monitor.enable"} {
		if on, err := parseBool(c.Labels[label]); err == nil && !on {
			return true
		}
	}
	return false
}

// For returns the policy for a container, and what is wrong with its labels.
func (s Settings) For(c Container) (Policy, []string) {
	p := s.Policy
	var wrong []string
	for _, label := range slices.Sorted(maps.Keys(c.Labels)) {
		value := strings.Trim(c.Labels[label], " \t\"'")
		name, ours := strings.CutPrefix(label, "watchdog.")
		if label == "autoheal.stop.timeout" {
			name, ours = "stop-timeout", true
		}
		if !ours || name == "enable" {
			if label == "watchdog.enable" || label == "autoheal" {
				if _, err := parseBool(value); err != nil {
					wrong = append(wrong, fmt.Sprintf("label %s: %v", label, err))
				}
			}
			continue
		}
		known, err := p.override(name, value)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("label %s: %v; the default applies", label, err))
		} else if !known {
			wrong = append(wrong, fmt.Sprintf("label %s: there is no such setting", label))
		}
	}
	return p, wrong
}
