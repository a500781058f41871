package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestDocsListEveryFlag compares the table in docs/flags.md with the flags:
// name and default.
func TestDocsListEveryFlag(t *testing.T) {
	rows := flagRows(t, "../../docs/flags.md")
	fs, _ := newWaitFlags()
	fs.VisitAll(func(f *pflag.Flag) {
		want := documentedDefault(f.DefValue)
		if got, ok := rows[f.Name]; !ok || got != want {
			t.Errorf("docs/flags.md: the row for --%s gives the default %q (there: %v), want %q", f.Name, got, ok, want)
		}
		delete(rows, f.Name)
	})
	for name := range rows {
		t.Errorf("docs/flags.md lists --%s, which does not exist", name)
	}
}

// TestDocsListEveryGPUFlag compares docs/gpu.md with what healthcheck gpu
// --help lists.
func TestDocsListEveryGPUFlag(t *testing.T) {
	rows := flagRows(t, "../../docs/gpu.md")
	help, _, code := execute(t, nil, "gpu", "--help")
	flags := regexp.MustCompile(`(?m)^  --([a-z-]+)`).FindAllStringSubmatch(help, -1)
	if code != 0 || len(flags) < 6 {
		t.Fatalf("exit %d: %s", code, help)
	}
	for _, m := range flags {
		if _, ok := rows[m[1]]; !ok {
			t.Errorf("docs/gpu.md lacks --%s", m[1])
		}
		delete(rows, m[1])
	}
	for name := range rows {
		t.Errorf("docs/gpu.md lists --%s, which does not exist", name)
	}
}

// TestDocsListEveryScheme compares the first table in docs/targets.md with the
// schemes that the help text takes from the registration table.
func TestDocsListEveryScheme(t *testing.T) {
	text, err := os.ReadFile("../../docs/targets.md")
	if err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(text), "\n## ")
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\| ").FindAllStringSubmatch(table, -1) {
		for _, m := range regexp.MustCompile("`([a-z+]+)://").FindAllStringSubmatch(row[1], -1) {
			documented[m[1]] = true
		}
	}
	_, list, _ := strings.Cut(helpText(), "A TARGET is a path or a URL:\n")
	list, _, found := strings.Cut(list, "\n\n")
	if !found || len(strings.Fields(list)) < 20 {
		t.Fatalf("the help text lists the schemes %q", list)
	}
	for _, name := range strings.Fields(list) {
		names := []string{name}
		if plain, tls := strings.CutSuffix(name, "(s)"); tls {
			names = []string{plain, plain + "s"}
		}
		for _, name := range names {
			if !documented[name] {
				t.Errorf("docs/targets.md lacks %s://", name)
			}
			delete(documented, name)
		}
	}
	for name := range documented {
		t.Errorf("docs/targets.md lists %s://, which does not exist", name)
	}
}

// flagRows returns the default of each flag that a page's tables list.
func flagRows(t *testing.T, page string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| ([^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		rows[m[1]] = strings.TrimSpace(m[2])
	}
	return rows
}

// documentedDefault is a default as the table writes it; what is off by
// default has none.
func documentedDefault(v string) string {
	if v == "false" || v == "off" {
		return ""
	}
	return v
}
