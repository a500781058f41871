package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"healthcheck/watchdog/lint"
)

// TestLint compares what lint says of testdata/lint/compose.yaml, the seed's own
// Dockerfile among them, in each of its formats.
func TestLint(t *testing.T) {
	want, err := os.ReadFile("../../testdata/lint/compose.txt")
	if err != nil {
		t.Fatal(err)
	}
	runLint := func(args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), binary, append([]string{"lint"}, args...)...)
		cmd.Dir = "../../testdata/lint"
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := runLint("--compose", "compose.yaml"); out != string(want) || code != 1 {
		t.Errorf("exit %d:\n%s\nwant:\n%s", code, out, want)
	}
	out, code := runLint("--compose", "compose.yaml", "--output", "json")
	var findings []lint.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil || code != 1 || len(findings) != 8 || findings[0].Line != 3 || findings[0].Instead == "" {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	if out, _ := runLint("--compose", "compose.yaml", "--output", "github"); !strings.HasPrefix(out, "::error file=compose.yaml,line=3,title=probe-outlasts-timeout::pdf-chat: its requests") {
		t.Errorf("%s", out)
	}
	out, _ = runLint("--compose", "compose.yaml", "--output", "sarif")
	var sarif struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct{ RuleID, Level string }
		}
	}
	if err := json.Unmarshal([]byte(out), &sarif); err != nil || sarif.Version != "2.1.0" || len(sarif.Runs) != 1 || len(sarif.Runs[0].Results) != 8 || len(sarif.Runs[0].Tool.Driver.Rules) != len(lint.Rules) {
		t.Errorf("%v: %s", err, out)
	}
	dir := t.TempDir()
	for text, part := range map[string]string{
		"services: {a: {image: x, healthcheck: {test: [CMD, x], interval: soon}}}": `service a: "soon" is not a duration`,
		"services: [": "did not find expected", "a: 1": "no services in it",
	} {
		if err := os.WriteFile(dir+"/c.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := runLint("--compose", dir+"/c.yaml"); code != 1 || !strings.HasPrefix(out, "error: ") || !strings.Contains(out, part) {
			t.Errorf("%s: exit %d: %s", text, code, out)
		}
	}
	if out, code := runLint("--compose", dir+"/none.yaml"); code != 1 || !contains(out, "error: ", "hint: ") {
		t.Errorf("exit %d: %s", code, out)
	}
	// Warnings alone are no error.
	os.WriteFile(dir+"/c.yaml", []byte("services: {a: {image: x, healthcheck: {disable: true}}}"), 0o600)
	if out, code := runLint("--compose", dir+"/c.yaml"); code != 0 || !strings.HasSuffix(out, "0 errors, 1 warnings\n") {
		t.Errorf("exit %d: %s", code, out)
	}
}
