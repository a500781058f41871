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
}

func newMessage(a recovery.Action, host string) Message {
	lines := []string{oneLine(a.Text)}
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, name+": "+value)
		}
	}
	add("service", oneLine(a.Key))
	if a.Name != a.Key {
		add("container", oneLine(a.Name))
	}
	add("host", host)
	if a.Attempt > 0 {
		add("attempt", fmt.Sprintf("%d of %d", a.Attempt, a.Policy.MaxAttempts))
	}
	add("next", nextStep(a))
	if a.Severity != recovery.Info {
		add("last output of the failed probe", printable(a.Output))
		add("last lines of its log", printable(a.Lines))
	}
	title := fmt.Sprintf("[%s] %s on %s", a.Severity, cmp.Or(a.Key, "watchdog"), host)
	return Message{a.Severity, oneLine(title), strings.Join(lines, "\n")}
}

// nextStep says what will happen by itself.
func nextStep(a recovery.Action) string {
	switch a.Event {
	case recovery.EventRestarted:
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
