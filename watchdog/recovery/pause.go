package recovery

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"healthcheck/probe"
)

// A pause is a time in which a service is watched and not restarted: a person
// has snoozed it, or its quiet hours are on. What needs a restart meanwhile
// waits for the end and is decided anew then.

// Snooze is a pause that a person asked for.
type Snooze struct {
	Until  time.Time `json:"until"`
	Asked  time.Time `json:"asked,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// LongestSnooze bounds a pause: one that was forgotten must end.
const LongestSnooze = 30 * 24 * time.Hour

// everyone is the key of the snooze of all services.
const everyone = ""

// maxReason bounds the reason of a snooze, in bytes.
const maxReason = 200

// snooze notes a pause for the services of a name, or for all where it is
// empty.
func (m *Machine) snooze(msg SnoozeAsked, now time.Time) (out []Action) {
	if longest := now.Add(LongestSnooze); msg.Until.After(longest) {
		msg.Until = longest
	}
	if !msg.Until.After(now) {
		return nil
	}
	s := Snooze{msg.Until, now, probe.Cut(probe.Clean(msg.Reason), maxReason)}
	text := "a person has snoozed it until " + clock(s.Until, now) + s.because()
	if msg.Name == everyone {
		m.Snoozes[everyone] = s
		m.changed = true
		return []Action{{Kind: DoLog, Event: EventSnoozed, Severity: Info, Text: "all services: " + text}}
	}
	for _, service := range m.Named(msg.Name) {
		m.Snoozes[service.Key] = s
		m.changed = true
		out = append(out, service.log(EventSnoozed, Info, "%s", text))
	}
	return out
}

// because is the reason as it stands behind a text.
func (s Snooze) because() string {
	if s.Reason == "" {
		return ""
	}
	return ": " + s.Reason
}

// resume ends the snoozes of a name, or of all services where it is empty:
// that of all and those of each.
func (m *Machine) resume(msg ResumeAsked) (out []Action) {
	if msg.Name == everyone {
		for _, key := range slices.Sorted(maps.Keys(m.Snoozes)) {
			out = append(out, m.endSnooze(key, "a person has ended the snooze"))
		}
		return out
	}
	for _, s := range m.Named(msg.Name) {
		if _, ok := m.Snoozes[s.Key]; ok {
			out = append(out, m.endSnooze(s.Key, "a person has ended the snooze"))
		}
	}
	return out
}

// endSnooze forgets a snooze and says so.
func (m *Machine) endSnooze(key, text string) Action {
	delete(m.Snoozes, key)
	m.changed = true
	if s := m.Services[key]; s != nil {
		delete(s.noticed, pausedTopic)
		return s.log(EventSnoozeOver, Info, "%s: decided anew", text)
	}
	for _, s := range m.Services {
		delete(s.noticed, pausedTopic)
	}
	return Action{Kind: DoLog, Event: EventSnoozeOver, Severity: Info, Key: key, Text: cmp.Or(key, "all services") + ": " + text + ": decided anew"}
}

// endSnoozes ends those whose time has come.
func (m *Machine) endSnoozes(now time.Time) (out []Action) {
	for _, key := range slices.Sorted(maps.Keys(m.Snoozes)) {
		if !m.Snoozes[key].Until.After(now) {
			out = append(out, m.endSnooze(key, "the snooze is over"))
		}
	}
	return out
}

// pausedTopic is reported once in a pause.
const pausedTopic = "paused"

// pause is how long a service is not restarted, and why; a zero time where it
// may be.
func (m *Machine) pause(s *Service, now time.Time) (until time.Time, why string) {
	for _, key := range []string{everyone, s.Key} {
		if z, ok := m.Snoozes[key]; ok && z.Until.After(now) && z.Until.After(until) {
			until, why = z.Until, "snoozed by a person"+z.because()
		}
	}
	if end := s.policy.QuietHours.Until(now); end.After(until) {
		until, why = end, "quiet hours "+s.policy.QuietHours.String()
	}
	return until, why
}

// paused says whether a service's restart waits for the end of a pause, and
// what is to be said of that, once.
func (m *Machine) paused(s *Service, now time.Time) (bool, []Action) {
	until, why := m.pause(s, now)
	if until.IsZero() {
		delete(s.noticed, pausedTopic)
		return false, nil
	}
	if !s.once(pausedTopic) {
		return true, nil
	}
	return true, []Action{s.log(EventPaused, Warning, "not restarted before %s (%s): %s", clock(until, now), why, s.Cause)}
}

// clock is a time as people read it: with the date where that is not today's.
func clock(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04:05 MST")
	}
	return t.Format("Mon " + time.DateOnly + " 15:04 MST")
}
