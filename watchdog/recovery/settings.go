package recovery

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

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
	// MaxConcurrent restarts at once, and MaxRestarts in Window, are the limits
	// over all containers.
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
