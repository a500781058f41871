package recovery

import (
	"fmt"
	"time"
)

// Service is what is known and decided about one service.
type Service struct {
	Key  string `json:"key"`
	ID   string `json:"id"`
	Name string `json:"name"`
	// Phase, and when it ends by itself: the restart of waiting, the deadline of
	// verifying, the end of a hold; zero for never.
	Phase Phase     `json:"phase,omitempty"`
	Due   time.Time `json:"due,omitzero"`
	// Attempts counts restarts since the service was last stable.
	Attempts int `json:"attempts,omitempty"`
	// Stops counts how often the engine was asked to stop it since it last ran
	// as it should.
	Stops int `json:"stops,omitempty"`
	// Asked says that a person has asked for a start, which comes whatever the
	// policy is.
	Asked bool `json:"asked,omitempty"`
	// LastRestart is when the last call began or, once it is over, ended.
	LastRestart time.Time `json:"last_restart,omitzero"`
	// FailingSince and HealthySince are zero where they do not apply.
	FailingSince time.Time `json:"failing_since,omitzero"`
	HealthySince time.Time `json:"healthy_since,omitzero"`
	// Gone is when the container was removed, or opted out; zero while it is
	// watched. Attempts outlive that for a while: compose removes and renames
	// what it recreates.
	Gone time.Time `json:"gone,omitzero"`
	Life Life      `json:"life"`
	// After is the service for whose sake this one is restarted, and Needs
	// those that must have recovered before.
	After string   `json:"after,omitempty"`
	Needs []string `json:"needs,omitempty"`
	Hold  Hold     `json:"hold,omitzero"`
	// Released says that a hold went on for too long: until it is healthy, it
	// is restarted as if nothing were known of its cause.
	Released bool   `json:"released,omitempty"`
	Cause    string `json:"cause,omitempty"`
	Output   string `json:"output,omitempty"`
	// Open says that people were notified of something that is not over.
	Open bool `json:"open,omitempty"`
	// GaveUp says that people were notified that no restart is left.
	GaveUp bool `json:"gave_up,omitempty"`
	// Revivals is the engine's count of restarts by the container's own policy
	// when it was last healthy.
	Revivals int `json:"revivals,omitempty"`

	policy    *Policy // shared by those whose labels change nothing
	container Container
	watched   bool
	input     Input  // that the rule answers
	lastEnd   ending // how the life before this one ended
	evidence  evidence
	noticed   map[string]bool // what was reported once of the state that it is in
	warned    map[string]bool // what was reported once of its labels
	unseen    bool            // a list shows another state: it has to be inspected
	began     time.Time       // when the last restart was asked for
	met       time.Time       // when this life was first seen; zero: as it is known from before
	begun     bool            // the next life that is seen is the one that our call began
	err       error           // of the call that has ended
}

// Persistent says whether a service differs from one that was never seen.
func (s *Service) Persistent() bool {
	return s.Phase != Idle || s.Attempts > 0 || s.Open || len(s.Life.Marks) > 0
}

// settled is when a container without a healthcheck counts as one that stays
// up. The engine's clock may be ahead of this program's.
func (s *Service) settled(c Container) time.Time {
	if !s.met.IsZero() && s.met.Before(c.StartedAt) {
		return s.met.Add(minUptime)
	}
	return c.StartedAt.Add(minUptime)
}

// inFlight says whether a call to the engine is under way.
func (s *Service) inFlight() bool {
	return s.Phase == Restarting || s.Phase == Launching || s.Phase == ShuttingDown
}

// rest ends whatever was going on; attempts stay.
func (s *Service) rest() {
	s.Phase, s.Due = Idle, time.Time{}
	s.After, s.Needs, s.Hold, s.Released = "", nil, Hold{}, false
	s.Stops, s.Asked, s.GaveUp = 0, false, false
	s.FailingSince = time.Time{}
}

// log is an action that is only written down.
func (s *Service) log(event Event, sev Severity, format string, args ...any) Action {
	return Action{Kind: DoLog, Event: event, Severity: sev, Key: s.Key, ID: s.ID, Name: s.Name, Phase: s.Phase, Attempt: s.Attempts, Policy: *s.policy, Text: fmt.Sprintf(format, args...), Cause: s.Cause}
}

// alert is an action that people are notified of; a warning and worse opens
// the service's incident.
func (s *Service) alert(event Event, sev Severity, format string, args ...any) Action {
	a := s.log(event, sev, format, args...)
	a.Kind, a.Output = DoAlert, s.Output
	if sev != Info {
		s.Open = true
	}
	return a
}

// resolve closes the service's incident, if there is one.
func (s *Service) resolve(event Event, text string) []Action {
	if !s.Open {
		return nil
	}
	s.Open = false
	a := s.alert(event, Info, "%s", text)
	a.Closes = true
	return []Action{a}
}

// once is true the first time that it is asked of a topic in this life.
func (s *Service) once(topic string) bool {
	if s.noticed[topic] {
		return false
	}
	if s.noticed == nil {
		s.noticed = map[string]bool{}
	}
	s.noticed[topic] = true
	return true
}
