package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
)

// both are a report's two forms.
func both(rep Report) map[string]string {
	return map[string]string{"text": rep.Text(), "JSON": string(rep.JSON())}
}

// What is written is what is read, in both forms.
func TestParseWhatIsWritten(t *testing.T) {
	const message = "FAIL x 1ms  [self]  [dependency evil:1]"
	want := []Failure{
		{"db", probe.FailureCause{Class: probe.Dependency, Host: "db.internal", Port: "5432"}, message},
		{"disk:/var/my data", probe.FailureCause{Class: probe.Host}, message},
		{"six", probe.FailureCause{Class: probe.Starting, Host: "fd00::7", Port: "6333"}, message},
		{"name", probe.FailureCause{Class: probe.Dependency, Host: "qdrant"}, message},
		{"cpu", probe.FailureCause{Class: probe.Self}, message},
		{"old", probe.FailureCause{Class: probe.Unknown}, message},
	}
	var results []probe.Result
	for _, f := range want {
		results = append(results, probe.Result{Name: f.Check, Status: probe.Fail, Message: message, Cause: f.Cause, Duration: 1234 * time.Millisecond})
	}
	results = append(results, probe.Result{Name: "soft", Status: probe.Warn, Message: "m", Cause: probe.FailureCause{Class: probe.Self}}, probe.Result{Name: "ok", Status: probe.OK, Message: "m"})
	for form, text := range both(New(results, time.Second)) {
		if got, ok := Parse(text); !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v\n%s", form, ok, got, text)
		}
	}
}

// However long the messages are, no cause is cut away.
func TestCausesOutliveTheCut(t *testing.T) {
	for _, n := range []int{1, 7, 20, 35} {
		var results []probe.Result
		for i := range 60 {
			r := probe.Result{Name: fmt.Sprint("check-", i), Layer: "db", Status: probe.OK, Message: strings.Repeat("\\m<", 300), Target: strings.Repeat("t", 200)}
			if i < n {
				r.Status, r.Cause = probe.Fail, probe.FailureCause{Class: probe.Dependency, Host: "h", Port: "1"}
			}
			results = append(results, r)
		}
		for form, text := range both(New(results, 0)) {
			got, ok := Parse(text)
			if !ok || len(text) > MaxOutput || len(got) != n && !(form == "JSON" && n > 20) {
				t.Errorf("%s of %d failures: %d bytes, %d causes", form, n, len(text), len(got))
			}
		}
	}
}

// Other people's probes are no reports, whatever they look like.
func TestParseOfOtherProbes(t *testing.T) {
	for _, text := range []string{"", "curl: (7) Failed to connect to localhost port 80", "/run/postgresql:5432 - no response", "unhealthy: ", "unhealthy: x\nok   db  1ms  fine",
		"{}", `{"status":"unhealthy"}`, `{"status":"healthy","checks":[{"name":"a","status":"fail","cause":{"class":"config"}}]}`, "Health check exceeded timeout (10s)",
		"error: x", strings.Repeat("x", 5000), "unhealthy: \xff\nFAIL a 1ms  [config]  m", "FAIL a 1ms  [config]  m"} {
		if got, ok := Parse(text); ok {
			t.Errorf("%q: %v", text, got)
		}
	}
	if got, ok := Parse("error: unknown flag --x\nhint: did you mean --y?\n"); !ok || got[0].Cause.Class != probe.Config {
		t.Errorf("a bad flag: %v %v", got, ok)
	}
}

// FuzzParse: what a hostile container says is bounded, and holds nothing that a
// terminal obeys.
func FuzzParse(f *testing.F) {
	for _, text := range both(New([]probe.Result{{Name: "db", Status: probe.Fail, Message: "m", Cause: probe.FailureCause{Class: probe.Dependency, Host: "db", Port: "1"}}}, 0)) {
		f.Add(text)
	}
	f.Add("unhealthy: a\n" + strings.Repeat("FAIL x 1ms  [dependency a:1]  m\n", 100))
	f.Add("unhealthy: a\nFAIL \x1b[31m 1ms  [dependency \u202e:99999999]  m\n")
	f.Add(`{"status":"unhealthy","checks":[{"name":"\u001b","status":"fail","cause":{"class":"\u0000","host":"\n","port":"-1"}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := Parse(text)
		if ok && len(got) == 0 || len(got) > maxFailures {
			t.Errorf("%v, %d failures", ok, len(got))
		}
		for _, f := range got {
			all := f.Check + string(f.Cause.Class) + f.Cause.Host + f.Cause.Port
			if len(all) > 500 || all != probe.Clean(all) || !slices.Contains(probe.Classes, f.Cause.Class) {
				t.Errorf("%+v", f)
			}
		}
	})
}

// What a program says that was called wrongly is a report, too.
func TestParseMisuse(t *testing.T) {
	for _, problem := range []string{"--timeout 60s is not shorter", strings.Repeat("\"\x1b<", 5000)} {
		text := Misuse(problem, problem)
		var doc map[string]any
		if err := json.Unmarshal(text, &doc); err != nil || len(text) > MaxOutput || doc["status"] != Unhealthy || doc["hint"] == "" || fmt.Sprint(doc["checks"]) != "[]" {
			t.Errorf("%v, %d bytes: %s", err, len(text), text)
		}
		failures, ok := Parse(string(text))
		if !ok || len(failures) != 1 || failures[0].Cause.Class != probe.Config || failures[0].Text == "" {
			t.Errorf("%+v, %v", failures, ok)
		}
	}
}
