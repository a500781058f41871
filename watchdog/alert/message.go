package alert

import (
	"cmp"
	"fmt"
	"strings"

	"healthcheck/watchdog/recovery"
)

// message is what a person reads: what, where, why, and what comes next.
func message(a recovery.Action, host, prefix string) (title, text string) {
	title = fmt.Sprintf("[%s] %s on %s", a.Severity, cmp.Or(a.Key, "watchdog"), host)
	lines := []string{prefix + a.Text}
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, name+": "+value)
		}
	}
	add("service", a.Key)
	if a.Name != a.Key {
		add("container", a.Name)
	}
	add("host", host)
	if a.Attempt > 0 {
		add("attempt", fmt.Sprintf("%d of %d", a.Attempt, a.Policy.MaxAttempts))
	}
	add("next", nextStep(a))
	if a.Severity != recovery.Info {
		add("last output of the failed probe", printable(a.Output))
	}
	return title, strings.Join(lines, "\n")
}

// nextStep says what will happen by itself.
func nextStep(a recovery.Action) string {
	switch a.Event {
	case recovery.EventRestarted:
		if a.Attempt >= a.Policy.MaxAttempts {
			return "if this does not help, it is left alone"
		}
		return "if this does not help, restart " + fmt.Sprint(a.Attempt+1) + " comes after " + a.Policy.Delay(a.Attempt).String()
	case recovery.EventGaveUp:
		return "nothing, until it is healthy, recreated, or reset (watchdog reset " + a.Name + ")"
	case recovery.EventThrottled:
		return "the throttled restarts follow as the limits allow"
	case recovery.EventEngineLost:
		return "it is tried again until it answers"
	}
	return ""
}

// printable replaces the control characters in a probe's output, which a
// terminal or a chat would obey.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}
