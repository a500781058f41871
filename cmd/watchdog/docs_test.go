package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"healthcheck/watchdog/recovery"
)

// TestDocsListEveryFlag compares the table in docs/watchdog.md with the flags:
// name and default.
func TestDocsListEveryFlag(t *testing.T) {
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| ([^|]*)\\|").FindAllStringSubmatch(docsPage(t, "watchdog.md"), -1) {
		rows[m[1]] = strings.TrimSpace(m[2])
	}
	fs, _ := newFlags()
	addHelp(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		want := f.DefValue
		if want == "false" || want == "[]" {
			want = ""
		}
		if got, ok := rows[f.Name]; !ok || got != want {
			t.Errorf("docs/watchdog.md: the row for --%s gives the default %q (there: %v), want %q", f.Name, got, ok, want)
		}
		delete(rows, f.Name)
	})
	for name := range rows {
		t.Errorf("docs/watchdog.md lists --%s, which does not exist", name)
	}
}

// TestDocsListEveryRule compares the table in docs/lint.md with the rules that
// the SARIF output declares.
func TestDocsListEveryRule(t *testing.T) {
	file := filepath.Join(t.TempDir(), "compose.yml")
	if err := os.WriteFile(file, []byte("services: {a: {image: x, healthcheck: {disable: true}}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, complaint bytes.Buffer
	if code := run(t.Context(), []string{"lint", "--compose", file, "--output", "sarif"}, os.Environ(), &out, &complaint); code != 0 {
		t.Fatalf("exit %d: %s", code, complaint.String())
	}
	var report struct {
		Runs []struct {
			Tool struct {
				Driver struct {
					Rules []struct {
						ID               string
						ShortDescription struct{ Text string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || len(report.Runs) != 1 || len(report.Runs[0].Tool.Driver.Rules) < 10 {
		t.Fatalf("%v: %s", err, out.String())
	}
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `[a-z][a-z-]+` \\| .* \\|$").FindAllString(docsPage(t, "lint.md"), -1) {
		rows[m] = true
	}
	for _, r := range report.Runs[0].Tool.Driver.Rules {
		row := fmt.Sprintf("| `%s` | %s |", r.ID, r.ShortDescription.Text)
		if !rows[row] {
			t.Errorf("docs/lint.md lacks %s", row)
		}
		delete(rows, row)
	}
	for row := range rows {
		t.Errorf("docs/lint.md lists a rule that does not exist: %s", row)
	}
}

// TestDocsListEveryMetric compares the table in docs/watchdog.md with the
// names of metrics in this package's source.
func TestDocsListEveryMetric(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	inCode := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"((?:watchdog|healthcheck)_[a-z_]+)"`).FindAllStringSubmatch(string(text), -1) {
			inCode[m[1]] = true
		}
	}
	if len(inCode) < 15 {
		t.Fatalf("%d metrics in the source", len(inCode))
	}
	cells := strings.Join(regexp.MustCompile("(?m)^\\| `(?:watchdog|healthcheck)_[^|]* \\|").FindAllString(docsPage(t, "watchdog.md"), -1), "")
	for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells, -1) {
		if !inCode[m[1]] {
			t.Errorf("docs/watchdog.md lists %s, which does not exist", m[1])
		}
		delete(inCode, m[1])
	}
	for name := range inCode {
		t.Errorf("docs/watchdog.md lacks %s", name)
	}
}

// TestDocsListEveryField compares the table of /api/status's fields in
// docs/watchdog.md with what is encoded.
func TestDocsListEveryField(t *testing.T) {
	_, table, ok := strings.Cut(docsPage(t, "watchdog.md"), "| field of `/api/status` |")
	table, _, end := strings.Cut(table, "\n\n")
	if !ok || !end {
		t.Fatal("no table")
	}
	listed := map[string]bool{}
	for row := range strings.Lines(table) {
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(strings.Split(row+"|||", "|")[1], -1) {
			listed[m[1]] = true
		}
	}
	status := reflect.TypeFor[recovery.ServiceStatus]()
	for i := range status.NumField() {
		name, _, _ := strings.Cut(status.Field(i).Tag.Get("json"), ",")
		if !listed[name] {
			t.Errorf("docs/watchdog.md lacks %s", name)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("docs/watchdog.md lists %s, which does not exist", name)
	}
}

// docsPage returns a page of docs.
func docsPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
