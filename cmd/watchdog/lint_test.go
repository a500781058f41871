package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"healthcheck/watchdog/lint"
)

// lintIn runs the built program's lint in a folder.
func lintIn(t *testing.T, dir, stdin string, environ []string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"lint"}, args...)...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(environ, "PATH="+os.Getenv("PATH"))
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// TestLint compares what lint says of testdata/lint/compose.yaml, the seed's own
// Dockerfile among them, in each of its formats.
func TestLint(t *testing.T) {
	want, err := os.ReadFile("../../testdata/lint/compose.txt")
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, int) { return lintIn(t, "../../testdata/lint", "", nil, args...) }
	if out, code := run("--compose", "compose.yaml"); out != string(want) || code != 1 {
		t.Errorf("exit %d:\n%s\nwant:\n%s", code, out, want)
	}
	count := strings.Count(string(want), "    instead: ")
	out, code := run("--compose", "compose.yaml", "--output", "json")
	var findings []lint.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil || code != 1 || len(findings) != count || findings[0].Line == 0 || findings[0].Instead == "" {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	out, _ = run("--compose", "compose.yaml", "--output", "github")
	if strings.Count(out, "\n") != count || !strings.Contains(out, "::warning file=seed/Dockerfile,line=12,title=probe-outlasts-timeout::pdf-chat: its requests") || !strings.Contains(out, "::notice file=compose.yaml,line=") {
		t.Errorf("%s", out)
	}
	out, _ = run("--compose", "compose.yaml", "--output", "sarif")
	var sarif struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct{ RuleID, Level string }
		}
	}
	if err := json.Unmarshal([]byte(out), &sarif); err != nil || sarif.Version != "2.1.0" || len(sarif.Runs) != 1 || len(sarif.Runs[0].Results) != count || len(sarif.Runs[0].Tool.Driver.Rules) != len(lint.Rules) {
		t.Errorf("%v: %s", err, out)
	}
	// An error decides about the exit code, whichever rule; warnings and notes
	// do not.
	ignored := []string{"--compose", "compose.yaml"}
	for _, f := range findings {
		if f.Level == "error" {
			ignored = append(ignored, "--ignore", f.Rule)
		}
	}
	if out, code := run(ignored...); code != 0 || !strings.Contains(out, "\n0 errors, ") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// write makes files in a new folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Files are merged as compose merges them, and variables come from where
// compose takes them.
func TestLintReadsFilesAsCompose(t *testing.T) {
	dir := write(t, map[string]string{
		"compose.yaml":      "services:\n  a:\n    image: app\n    healthcheck:\n      test: [CMD, x]\n      interval: ${INTERVAL:-30s}\n      timeout: 5s\n",
		"override.yaml":     "services:\n  a:\n    healthcheck:\n      timeout: 40s\n",
		"sub/override.yaml": "services: {a: {healthcheck: {timeout: 50s}}}\n",
		"vars":              "INTERVAL=4s\n",
		"sub/compose.yaml":  "services: {a: {build: ., healthcheck: {interval: 5s}}}\n",
		"sub/Dockerfile":    "FROM python:3\nHEALTHCHECK --timeout=6s CMD x\n",
		"with space/é.yaml": "services: {a: {image: app, healthcheck: {test: [CMD, curl, 'http://localhost/']}}}\n",
		".env":              "FROM_DOTENV=3s\n",
		"dotenv.yaml":       "services: {a: {image: app, healthcheck: {test: [CMD, x], interval: '${FROM_DOTENV}', timeout: 5s}}}\n",
	})
	const clean = "0 errors, 0 warnings, 0 notes\n"
	const late = "[timeout-not-shorter-than-interval]"
	for _, c := range []struct {
		name    string
		environ []string
		stdin   string
		args    []string
		want    string
	}{
		{"one file", nil, "", []string{"-f", "compose.yaml"}, clean},
		{"the later file wins, with its line", nil, "", []string{"-f", "compose.yaml", "-f", "override.yaml"}, "override.yaml:4: warning: a: timeout 40s is not"},
		{"--compose is -f", nil, "", []string{"--compose", "compose.yaml", "--compose=sub/override.yaml"}, "sub/override.yaml:1: warning: a: timeout 50s"},
		{"the environment", []string{"INTERVAL=3s"}, "", []string{"-f", "compose.yaml"}, "compose.yaml:7: warning: a: timeout 5s is not shorter than interval 3s"},
		{"--env-file", nil, "", []string{"-f", "compose.yaml", "--env-file", "vars"}, "than interval 4s"},
		{"the environment over --env-file", []string{"INTERVAL=1m"}, "", []string{"-f", "compose.yaml", "--env-file", "vars"}, clean},
		{".env beside the file", nil, "", []string{"-f", "dotenv.yaml"}, "than interval 3s"},
		{"the standard input", nil, "services: {a: {image: app, healthcheck: {test: [CMD, x], interval: 3s}}}", []string{"-f", "-"}, "stdin:1: warning: a: timeout 30s"},
		{"the standard input over a file", nil, "services: {a: {healthcheck: {timeout: 35s}}}", []string{"-f", "compose.yaml", "-f", "-"}, "stdin:1: warning: a: timeout 35s"},
		{"an image's own timeout", nil, "", []string{"-f", "sub/compose.yaml"}, "sub/Dockerfile:2: warning: a: timeout 6s is not shorter than interval 5s"},
		{"an address is encoded", nil, "", []string{"-f", "with space/é.yaml", "--output", "sarif"}, `"uri": "with%20space/%C3%A9.yaml"`},
		{"an absolute path", nil, "", []string{"-f", "DIR/with space/é.yaml", "--output", "sarif"}, `"uri": "file:///`},
		{"a service that is watched", nil, "", []string{"-f", "compose.yaml", "--services", "a", "--ignore", "no-healthcheck"}, clean},
		{"a service that does not exist", nil, "", []string{"-f", "compose.yaml", "--services", "b"}, "[services-match-nothing]"},
	} {
		for i := range c.args {
			c.args[i] = strings.Replace(c.args[i], "DIR", dir, 1)
		}
		out, code := lintIn(t, dir, c.stdin, c.environ, c.args...)
		wantCode := 0
		if strings.Contains(c.want, "services-match-nothing") {
			wantCode = 1
		}
		if !strings.Contains(out, c.want) || code != wantCode || c.want == clean && out != clean || strings.Contains(c.want, late) && strings.Count(out, "instead:") != 1 {
			t.Errorf("%s: exit %d:\n%s\nwant %q", c.name, code, out, c.want)
		}
	}
}

// Bad input is an error with a hint of its own, and exit code 1.
func TestLintRefuses(t *testing.T) {
	dir := write(t, map[string]string{
		"a.yaml": "services: {a: {image: app}}\n", "broken.yaml": "services: [\n", "restart.yaml": "services: {a: {image: app, restart: false}}\n",
		"bad.env": "A=${B\n", "template.yaml": "spec:\n  {{ .Values.x }}: {{ y }\n",
	})
	for _, c := range []struct{ args, want string }{
		{"-f nowhere.yaml", "error: stat nowhere.yaml: no such file or directory\nhint: name a file that exists and can be read\n"},
		{"-f .", "error: . is not a regular file\nhint: name a file"},
		{"-f broken.yaml", "error: compose refuses broken.yaml: failed to parse broken.yaml"},
		{"-f a.yaml -f restart.yaml", "error: compose refuses a.yaml, restart.yaml: validating restart.yaml: services.a.restart must be a string\nhint: restart: \"no\", with the quotes\n"},
		{"-f a.yaml --env-file bad.env", "error: "},
		{"-f a.yaml --env-file nowhere.env", "\nhint: mend the file of variables, or name another: --env-file FILE\n"},
		{"-f a.yaml --kubernetes b.yaml", "error: --compose and --kubernetes together\nhint: run watchdog lint once for each\n"},
		{"-f a.yaml --ignore no-helthcheck", "error: --ignore \"no-helthcheck\": there is no such rule\nhint: the rules are in docs/lint.md; did you mean no-healthcheck?\n"},
		{"-f a.yaml --output xml", "error: --output \"xml\": want text, json, github or sarif\nhint: --output text, json, github or sarif\n"},
		{"--compose=", "error: the name of a file is empty\nhint: watchdog lint --compose FILE\n"},
		{"a.yaml", "error: unexpected argument \"a.yaml\"\nhint: watchdog lint --compose FILE\n"},
		{"--kubernetes template.yaml", "hint: the file is no valid YAML there; render a template first"},
		{"--kubernetes a.yaml", "error: no containers in a.yaml\nhint: name the manifest"},
		{"--kubernetes a.yaml b.yaml", "error: stat b.yaml: no such file"},
		{"--host unix:///nowhere.sock", "hint: watchdog lint looks at the engine, watchdog lint --compose FILE at a file\n"},
	} {
		out, code := lintIn(t, dir, "", nil, strings.Fields(c.args)...)
		if code != 1 || !strings.HasPrefix(out, "error: ") || strings.Count(out, "\n") != 2 || !strings.Contains(out, "\nhint: ") || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d: %s\nwant %s", c.args, code, out, c.want)
		}
	}
}
