package watchdog

import (
	"slices"
	"strings"
	"time"
)

// Decision is one line of the history.
type Decision struct {
	Time      time.Time `json:"time"`
	Severity  Severity  `json:"severity"`
	Service   string    `json:"service,omitempty"`
	Container string    `json:"container,omitempty"`
	What      string    `json:"what"`
	Cause     string    `json:"cause,omitempty"`
	Attempt   int       `json:"attempt,omitempty"`
	// Took is the time from the first failure to health, in seconds.
	Took float64 `json:"took_seconds,omitempty"`
}

// historyLength is how many decisions are remembered.
const historyLength = 1000

// Stats count what was done since the program began.
type Stats struct {
	Restarts, Failures, GiveUps map[string]int
	// Recoveries are the times from the first failure to health, in seconds.
	Recoveries []float64
}

// ServiceStatus is one line of the status.
type ServiceStatus struct {
	Service      string    `json:"service"`
	Container    string    `json:"container"`
	ID           string    `json:"id"`
	Health       string    `json:"health"`
	Phase        string    `json:"phase"`
	Attempts     int       `json:"attempts"`
	MaxAttempts  int       `json:"max_attempts"`
	Due          time.Time `json:"due,omitzero"`
	LastRestart  time.Time `json:"last_restart,omitzero"`
	Reason       string    `json:"reason,omitempty"`
	HealthySince time.Time `json:"healthy_since,omitzero"`
}

// Status lists the watched services by name.
func (m *Machine) Status() []ServiceStatus {
	out := make([]ServiceStatus, 0, len(m.Services))
	for _, s := range m.Services {
		if !s.watched {
			continue
		}
		health := orElse(s.container.Health, s.container.State)
		if s.container.State != "running" {
			health = s.container.State
		}
		phase := string(s.Phase)
		if s.Phase == Idle {
			phase = "watching"
		}
		v := ServiceStatus{Service: s.Key, Container: s.Name, ID: short(s.ID), Health: health, Phase: phase, Attempts: s.Attempts,
			MaxAttempts: s.policy.MaxAttempts, Due: s.Due, LastRestart: s.LastRestart, HealthySince: s.HealthySince}
		if s.Phase != Idle {
			v.Reason = s.Reason
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b ServiceStatus) int { return strings.Compare(a.Service, b.Service) })
	return out
}
