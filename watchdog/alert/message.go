package alert

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"

	"healthcheck/watchdog/recovery"
)

// Message is what a person reads: what, where, why, and what comes next.
type Message struct {
	Severity recovery.Severity `json:"severity"`
	Title    string            `json:"title"`
	Text     string            `json:"text"`
	// Fields are what templates make their own of.
	Fields Fields `json:"fields,omitzero"`
}

// The states of an alert, as Fields has them.
const (
	stateOpen       = "open"
	stateResolved   = "resolved"
	stateUnresolved = "unresolved"
	stateTest       = "test"
)

func newMessage(a recovery.Action, host string) Message {
	f := newFields(a, host)
	lines := []string{f.Text}
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, name+": "+value)
		}
	}
	add("service", f.Service)
	if f.Container != f.Service {
		add("container", f.Container)
	}
	add("host", host)
	if f.Attempt > 0 {
		add("attempt", fmt.Sprintf("%d of %d", f.Attempt, f.Attempts))
	}
	add("next", f.Next)
	add("last output of the failed probe", f.Output)
	add("last lines of its log", f.Log)
	title := fmt.Sprintf("[%s] %s on %s", a.Severity, cmp.Or(f.Service, "watchdog"), host)
	return Message{a.Severity, oneLine(title), strings.Join(lines, "\n"), f}
}

// newFields is an alert as templates see it; time is added as it is routed.
func newFields(a recovery.Action, host string) Fields {
	f := Fields{Severity: string(a.Severity), State: stateOpen, Event: string(a.Event), Text: oneLine(a.Text), Service: oneLine(a.Key), Container: oneLine(a.Name),
		ID: recovery.ShortID(a.ID), Host: oneLine(host), Cause: oneLine(a.Cause), Next: nextStep(a)}
	if parts := strings.Split(f.Service, "/"); len(parts) == 3 { // project/service/number
		f.Project, f.ComposeService = parts[0], parts[1]
	}
	if a.Attempt > 0 {
		f.Attempt, f.Attempts = a.Attempt, a.Policy.MaxAttempts
	}
	if a.Severity != recovery.Info {
		f.Output, f.Log = printable(a.Output), printable(a.Lines)
	}
	return f
}

// nextStep says what will happen by itself.
func nextStep(a recovery.Action) string {
	switch a.Event {
	case recovery.EventRestarted:
		switch a.Policy.Remedy { // a person has asked for this restart
		case recovery.RemedyStop:
			return "if this does not help, it is stopped"
		case recovery.RemedyNotify:
			return "if this does not help, people are notified"
		case recovery.RemedyRestart:
		}
		if a.Attempt >= a.Policy.MaxAttempts {
			if a.Policy.StopOnGiveUp {
				return "if this does not help, it is stopped"
			}
			return "if this does not help, it is left alone"
		}
		return "if this does not help, restart " + fmt.Sprint(a.Attempt+1) + " comes after " + a.Policy.Delay(a.Attempt).String()
	case recovery.EventGaveUp, recovery.EventNotRestarted, recovery.EventStopFailed:
		if a.Phase == recovery.Waiting {
			return "it is stopped"
		}
		return "nothing, until it is healthy, recreated, or reset (watchdog reset " + oneLine(a.Name) + ")"
	case recovery.EventShutDown:
		return "nothing, until it is started, recreated, or reset (watchdog reset " + oneLine(a.Name) + ")"
	case recovery.EventThrottled:
		return "the restarts that wait follow as the limit allows"
	case recovery.EventOverloaded:
		return "decided anew when the load is over; what loads the host is for a person to find"
	case recovery.EventEngineLost:
		return "it is tried again until it answers"
	}
	return ""
}

// printable replaces what a terminal, a mail program or a chat would obey in
// text of others: control characters (C1 among them) and those that change the
// direction of writing.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) && r != ' ' {
			return '?'
		}
		return r
	}, text)
}

// oneLine is printable text without line ends.
func oneLine(text string) string { return strings.ReplaceAll(printable(text), "\n", "?") }
