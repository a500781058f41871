package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"healthcheck/probe"
)

func TestReportText(t *testing.T) {
	rep := New([]probe.Result{
		{Name: "cpu", Layer: "resource", Status: probe.OK, Message: "12.3% of 2 cores since last probe (max 90%), host"},
		{Name: "network", Layer: "resource", Status: probe.OK, Message: "nothing", Informational: true},
		{Name: "api", Layer: "api", Status: probe.OK, Message: "fine", Duration: 1999 * time.Microsecond},
		{Name: "db", Layer: "db", Status: probe.Fail, Stage: probe.StageStatus, Message: "status 503, want 200: \"pool exhausted\"", Duration: 3 * time.Millisecond, Cause: probe.FailureCause{Class: probe.Dependency, Host: "db", Port: "5432"}},
		{Name: "vector", Layer: "vector", Status: probe.Warn, Message: "slow\nand evil \x1b[2J"},
	}, 12*time.Millisecond)
	want := `unhealthy: 1 of 4 failed: db: status 503, want 200: "pool exhausted"
FAIL db         3ms  [dependency db:5432]  status 503, want 200: "pool exhausted"
WARN vector     0ms  slow\nand evil \x1b[2J
ok   cpu        0ms  12.3% of 2 cores since last probe (max 90%), host
ok   network    0ms  nothing
ok   api        1ms  fine
`
	if got := rep.Text(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		statuses []probe.Status
		want     string
	}{
		{[]probe.Status{probe.OK, probe.OK}, "healthy: 2 checks passed in 0ms"},
		{[]probe.Status{probe.OK}, "healthy: 1 check passed in 0ms"},
		{[]probe.Status{probe.OK, probe.Skip}, "healthy: 2 checks passed in 0ms"},
		{[]probe.Status{probe.OK, probe.Warn}, "degraded: 1 of 2 warned: c1: m"},
		{[]probe.Status{probe.Warn, probe.Fail, probe.OK}, "unhealthy: 1 of 3 failed: c1: m"},
	} {
		var results []probe.Result
		for i, s := range c.statuses {
			results = append(results, probe.Result{Name: fmt.Sprintf("c%d", i), Status: s, Message: "m"})
		}
		if got, _, _ := strings.Cut(New(results, 0).Text(), "\n"); got != c.want {
			t.Errorf("%v: %q, want %q", c.statuses, got, c.want)
		}
	}
}

func TestTruncationDropsTheOkFirst(t *testing.T) {
	var results []probe.Result
	for i := range 40 {
		s := probe.OK
		if i == 39 {
			s = probe.Fail
		}
		results = append(results, probe.Result{Name: fmt.Sprintf("check-%02d", i), Status: s, Message: strings.Repeat("m", 300)})
	}
	rep := New(results, 0)
	text := rep.Text()
	if len(text) > MaxOutput || !strings.Contains(text, "FAIL check-39") || !strings.Contains(text, " more\n") {
		t.Errorf("%d bytes:\n%s", len(text), text)
	}
	var out jsonReport
	if data := rep.JSON(); len(data) > MaxOutput || json.Unmarshal(data, &out) != nil {
		t.Fatalf("%d bytes: %s", len(data), data)
	}
	if !out.Truncated || out.Checks[0].Name != "check-39" || len(out.Checks) < 5 {
		t.Errorf("got %d checks, the first %q", len(out.Checks), out.Checks[0].Name)
	}
}

func FuzzReportIsBoundedAndValid(f *testing.F) {
	f.Add("db", "status 503", uint8(3), 1.5)
	f.Add("\xff\xfe", strings.Repeat("\x00\u202e<>&", 900), uint8(60), -1e308)
	f.Add(strings.Repeat("ü", 300), strings.Repeat("€", 2000), uint8(255), 0.0)
	f.Fuzz(func(t *testing.T, name, message string, n uint8, value float64) {
		var results []probe.Result
		for i := range int(n) {
			results = append(results, probe.Result{Name: name, Layer: "db", Message: message, Value: &value, Limit: &value,
				Status: []probe.Status{probe.OK, probe.Fail, probe.Warn, probe.Skip}[i%4], Duration: time.Duration(i) * time.Second})
		}
		rep := New(results, time.Hour)
		text := rep.Text()
		if len(text) > MaxOutput || !utf8.ValidString(text) || !strings.HasSuffix(text, "\n") {
			t.Errorf("text of %d bytes: %q", len(text), text)
		}
		if lines := strings.Count(text, "\n"); lines > int(n)+1 {
			t.Errorf("%d lines for %d checks", lines, n)
		}
		data := rep.JSON()
		if len(data) > MaxOutput || !json.Valid(data) || !utf8.Valid(data) {
			t.Errorf("JSON of %d bytes: %q", len(data), data)
		}
	})
}

// A warning changes no verdict, is safe to print, and is the first to go.
func TestWarning(t *testing.T) {
	rep := New([]probe.Result{{Name: "a", Status: probe.OK, Message: "fine"}}, time.Second)
	rep.Warning = "odd\n\x1b[2J" + strings.Repeat("x", 9000)
	if text := rep.Text(); !strings.Contains(text, "\nwarning: odd\\n\\x1b[2Jx") || rep.Verdict != Healthy || len(text) > 700 {
		t.Errorf("%d bytes: %.200s", len(text), text)
	}
	for i := range 60 {
		rep.Results = append(rep.Results, probe.Result{Name: fmt.Sprint("b", i), Status: probe.OK, Message: strings.Repeat("y", 100)})
	}
	if text, data := rep.Text(), rep.JSON(); strings.Contains(text, "warning: ") || strings.Contains(string(data), `"warning"`) || len(text) > MaxOutput || len(data) > MaxOutput || !strings.Contains(string(data), `"b9"`) {
		t.Errorf("%s\n%s", text, data)
	}
}
