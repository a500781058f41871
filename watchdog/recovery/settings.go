package recovery

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"healthcheck/probe"
)

// Settings say what is watched and how.
type Settings struct {
	Policy
	// All takes every container that has a healthcheck.
	All bool
	// Services are watched by name, without a label: containers, or compose's
	// service, project/service or project/service/number.
	Services []string
	// OptInLabel is a further label that opts in when it is true.
	OptInLabel string
	// SelfID is the container that this program runs in, if any.
	SelfID string
	// MaxConcurrent restarts at once, and MaxRestarts in Window, are the limits
	// over all containers.
	MaxConcurrent, MaxRestarts int
	Window                     time.Duration
	// Receivers are the names that a label may name; nil: nobody knows, and any
	// name will do.
	Receivers []string
}

// DefaultReceivers is the name of those who receive the alerts of services that
// name nobody.
const DefaultReceivers = "default"

// maxReceivers bounds how many receivers a label names.
const maxReceivers = 16

// parseReceivers reads names with commas between them.
func parseReceivers(value string) (names []string, err error) {
	for name := range strings.SplitSeq(value, ",") {
		name = strings.Trim(name, " \t\"'")
		switch {
		case strings.Contains(name, "://"):
			return nil, errors.New("an address does not belong there, but the name of a receiver in the configuration file")
		case name != "" && !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	if len(names) == 0 || len(names) > maxReceivers {
		return nil, fmt.Errorf("want 1 to %d names of receivers, with commas between them", maxReceivers)
	}
	return names, nil
}

// unknown lists the receivers that a label names and the configuration does not.
func (s Settings) unknown(names []string) (wrong []string) {
	for _, name := range names {
		if s.Receivers != nil && name != DefaultReceivers && !slices.Contains(s.Receivers, name) {
			wrong = append(wrong, fmt.Sprintf("label watchdog.notify: there is no receiver %q; the default ones apply", probe.Cut(name, maxName)))
		}
	}
	return wrong
}

// Watched says whether a container is to be recovered. Opting out wins over
// everything; what others replace by themselves is never touched.
func (s Settings) Watched(c Container) bool {
	if s.excluded(c) {
		return false
	}
	for _, label := range s.optIns() {
		if on, ok := readBool(c.Labels[label]); ok && on {
			return true
		}
	}
	if slices.ContainsFunc(s.Services, c.called) {
		return true
	}
	return s.All && (c.HasHealthcheck || c.Health != "")
}

// optIns are the labels that opt in.
func (s Settings) optIns() []string {
	labels := []string{"watchdog.enable", "autoheal", "autoheal.monitor.enable", "deunhealth.restart.on.unhealthy"}
	if s.OptInLabel != "" {
		labels = append(labels, s.OptInLabel)
	}
	return labels
}

// LabelMatters says whether a label may decide anything: those of this program and of
// those that it takes over from, those of compose and Swarm that are read here,
// and all that are true or false, since --opt-in-label may name any.
func LabelMatters(label, value string) bool {
	switch label {
	case composeProject, composeService, composeNumber, composeDependsOn, composeOneoff, swarmTask:
		return true
	}
	if _, ok := readBool(value); ok {
		return true
	}
	return strings.HasPrefix(label, "watchdog.") || strings.HasPrefix(label, "autoheal") || strings.HasPrefix(label, "deunhealth.")
}

// excluded says whether a container must never be restarted.
func (s Settings) excluded(c Container) bool {
	if c.ID != "" && c.ID == s.SelfID || c.Labels[swarmTask] != "" {
		return true
	}
	if on, ok := readBool(c.Labels[composeOneoff]); ok && on {
		return true
	}
	for _, label := range []string{"watchdog.enable", "autoheal", "autoheal.monitor.enable"} {
		if on, ok := readBool(c.Labels[label]); ok && !on {
			return true
		}
	}
	return false
}

// hasSettings says whether one of the labels may change a policy, or be wrong.
func hasSettings(labels map[string]string) bool {
	for label, value := range labels {
		if label != "watchdog.enable" && label != "autoheal" {
			if strings.HasPrefix(label, "watchdog.") || label == "autoheal.stop.timeout" {
				return true
			}
		} else if _, ok := readBool(value); !ok {
			return true
		}
	}
	return false
}

// For returns the policy for a container, and what is wrong with its labels.
func (s Settings) For(c Container) (Policy, []string) {
	p := s.Policy
	if !hasSettings(c.Labels) {
		return p, nil
	}
	var wrong []string
	for _, label := range slices.Sorted(maps.Keys(c.Labels)) {
		value := strings.Trim(c.Labels[label], " \t\"'")
		name, ours := strings.CutPrefix(label, "watchdog.")
		if label == "autoheal.stop.timeout" {
			name, ours = "stop-timeout", true
		}
		if !ours || name == "enable" || label == reportedByLabel || strings.HasPrefix(label, dependencyLabel) {
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
	return p, append(wrong, s.unknown(p.Receivers)...)
}

// Reason says why a container is watched; empty where it is not.
func (s Settings) Reason(c Container) string {
	if !s.Watched(c) {
		return ""
	}
	for _, label := range s.optIns() {
		if on, ok := readBool(c.Labels[label]); ok && on {
			return "label " + clean(label)
		}
	}
	if slices.ContainsFunc(s.Services, c.called) {
		return "--services"
	}
	return "--all"
}

// Unmatched lists the names of --services that no container has.
func (s Settings) Unmatched(all []Container) (names []string) {
	for _, name := range s.Services {
		if !slices.ContainsFunc(all, func(c Container) bool { return c.called(name) }) {
			names = append(names, name)
		}
	}
	return names
}
