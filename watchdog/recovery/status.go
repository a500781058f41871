package recovery

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// ServiceStatus is one line of the status.
type ServiceStatus struct {
	Service     string    `json:"service"`
	Container   string    `json:"container"`
	ID          string    `json:"id"`
	Health      string    `json:"health"`
	Phase       string    `json:"phase"`
	Attempts    int       `json:"attempts"`
	MaxAttempts int       `json:"max_attempts"`
	Due         time.Time `json:"due,omitzero"`
	LastRestart time.Time `json:"last_restart,omitzero"`
	Cause       string    `json:"cause,omitempty"`
	// Next is what is done to a service that waits, or is held until Due, when its
	// time comes.
	Next Remedy `json:"next,omitempty"`
	// Waits is what a held or dependent service waits for.
	Waits        string    `json:"waits_for,omitempty"`
	HealthySince time.Time `json:"healthy_since,omitzero"`
	// PausedUntil is the end of a pause in which it is not restarted, and Paused
	// why.
	PausedUntil time.Time `json:"paused_until,omitzero"`
	Paused      string    `json:"paused,omitempty"`
}

// health is the container's health or, without one, its state.
func (s *Service) health() string {
	if s.container.State != "running" {
		return s.container.State
	}
	return cmp.Or(s.container.Health, s.container.State)
}

// Standing is the phase and the health of a watched service, as Status has
// them; false for one that is not watched or gone.
func (m *Machine) Standing(key string) (phase Phase, health string, ok bool) {
	s := m.Services[key]
	if s == nil || !s.watched || !s.Gone.IsZero() {
		return Idle, "", false
	}
	return s.Phase, s.health(), true
}

// Status lists the watched services by name, as they are now.
func (m *Machine) Status(now time.Time) []ServiceStatus {
	out := make([]ServiceStatus, 0, len(m.Services))
	for _, s := range m.Services {
		if !s.watched || !s.Gone.IsZero() {
			continue
		}
		v := ServiceStatus{Service: s.Key, Container: s.Name, ID: ShortID(s.ID), Health: s.health(), Phase: s.Phase.String(), Attempts: s.Attempts,
			MaxAttempts: s.policy.MaxAttempts, Due: s.Due, LastRestart: s.LastRestart, HealthySince: s.HealthySince}
		if s.Phase == Waiting || s.Phase == Held && !s.Due.IsZero() {
			v.Next = s.comesNext()
		}
		if s.Phase != Idle {
			v.Cause, v.Waits = s.Cause, cmp.Or(s.Hold.String(), s.After)
		}
		v.PausedUntil, v.Paused = m.pause(s, now)
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b ServiceStatus) int { return strings.Compare(a.Service, b.Service) })
	return out
}

// Called says whether a person means this service by name: as it is printed,
// by its container, or by compose's service with or without the project.
func (s ServiceStatus) Called(name string) bool { return calledBy(s.Service, s.Container, name) }

// calledBy compares a name with a service's key and its container.
func calledBy(key, container, name string) bool {
	if name == key || name == container {
		return true
	}
	parts := strings.Split(key, "/") // project/service/number
	return len(parts) == 3 && (name == parts[1] || name == parts[0]+"/"+parts[1])
}

// ShortID is an id as the engine's own client prints it.
func ShortID(id string) string { return id[:min(12, len(id))] }
