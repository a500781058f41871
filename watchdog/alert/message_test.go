package alert

import (
	"strings"
	"testing"

	"healthcheck/watchdog/recovery"
)

func TestMessage(t *testing.T) {
	a := alertOf(recovery.Critical, "gave_up", "p/web/1")
	a.Name, a.Text = "p-web-1", "gave up after 3 restarts"
	m := newMessage(a, "node7")
	if want := "[critical] p/web/1 on node7"; m.Title != want {
		t.Errorf("%q, want %q", m.Title, want)
	}
	for _, part := range []string{"gave up after 3 restarts\n", "service: p/web/1\n", "container: p-web-1\n", "host: node7\n", "attempt: 1 of 3\n", "next: nothing, until it is healthy, recreated, or reset (watchdog reset p-web-1)\n", "last output of the failed probe: status 503?[31m"} {
		if !strings.Contains(m.Text, part) {
			t.Errorf("no %q in\n%s", part, m.Text)
		}
	}
}

// What comes behind a restart that does not help is what the action says.
func TestNextStepOfARestart(t *testing.T) {
	for _, c := range []struct {
		remedy  recovery.Remedy
		attempt int
		stop    bool
		want    string
	}{
		{recovery.RemedyRestart, 1, false, "if this does not help, restart 2 comes after 2s"},
		{"", 1, true, "if this does not help, restart 2 comes after 2s"},
		{recovery.RemedyRestart, 3, false, "if this does not help, it is left alone"},
		{recovery.RemedyRestart, 3, true, "if this does not help, it is stopped"},
		{recovery.RemedyStop, 1, false, "if this does not help, it is stopped"},
		{recovery.RemedyNotify, 1, true, "if this does not help, people are notified"},
		{recovery.RemedyNotify, 3, true, "if this does not help, people are notified"},
	} {
		a := alertOf(recovery.Warning, recovery.EventRestarted, "app")
		a.Attempt, a.Policy.Remedy, a.Policy.StopOnGiveUp = c.attempt, c.remedy, c.stop
		if got := nextStep(a); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// What others named or printed moves no cursor, adds no header to a mail, and
// does not change the direction of writing.
func TestMessageOfHostileText(t *testing.T) {
	a := alertOf(recovery.Critical, "gave_up", "p\r\nBcc: x@y/web/1")
	a.Output, a.Text = "\u009b31m \u202etxt.exe \x1b]0;owned\x07", "gave up\u2066"
	m := newMessage(a, "node7")
	if strings.ContainsAny(m.Title, "\r\n") || strings.ContainsAny(m.Title+m.Text, "\r\u009b\u202e\u2066\x1b\x07") {
		t.Errorf("%q %q", m.Title, m.Text)
	}
}
