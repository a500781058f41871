package alert

import (
	"strings"
	"testing"

	"healthcheck/watchdog/recovery"
)

func TestMessage(t *testing.T) {
	a := alertOf(recovery.Critical, "gave_up", "p/web/1")
	a.Name, a.Text = "p-web-1", "gave up after 3 restarts"
	title, text := message(a, "node7", "")
	if want := "[critical] p/web/1 on node7"; title != want {
		t.Errorf("%q, want %q", title, want)
	}
	for _, part := range []string{"gave up after 3 restarts\n", "service: p/web/1\n", "container: p-web-1\n", "host: node7\n", "attempt: 1 of 3\n", "next: nothing, until it is healthy, recreated, or reset (watchdog reset p-web-1)\n", "last output of the failed probe: status 503?[31m"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}
