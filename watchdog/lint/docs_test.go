package lint

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocs reads the section of each rule in docs/lint.md: it names the rule's
// severity and how to silence it, and its example is found, once, and not
// after a comment.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, part := range strings.Split(string(page), "\n### `")[1:] {
		name, text, _ := strings.Cut(part, "`\n")
		sections[name] = text
	}
	// What only an engine or the command line shows has no file for an example.
	noExample := []string{"services-match-nothing", "slow-probe", "test-without-cmd", "probe-cannot-run"}
	for _, r := range Rules {
		text, ok := sections[r.Name]
		if !ok {
			t.Errorf("docs/lint.md has no section for %s", r.Name)
			continue
		}
		delete(sections, r.Name)
		for _, part := range []string{"Severity: " + r.Level + ". ", "`# lint:ignore " + r.Name + "`", "`--ignore " + r.Name + "`"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: no %q", r.Name, part)
			}
		}
		if slices.Contains(noExample, r.Name) {
			continue
		}
		_, example, _ := strings.Cut(text, "```yaml\n")
		example, _, ok = strings.Cut(example, "```")
		if !ok {
			t.Errorf("%s: no example", r.Name)
			continue
		}
		found := lintText(t, r.Name, example)
		if len(found) != 1 {
			t.Errorf("%s: found %v in\n%s", r.Name, found, example)
			continue
		}
		lines := strings.SplitAfter(example, "\n")
		lines[found[0].Line-1] = strings.TrimSuffix(lines[found[0].Line-1], "\n") + " # lint:ignore " + r.Name + "\n"
		if found := lintText(t, r.Name, strings.Join(lines, "")); len(found) > 0 && r.Name != "ignores-nothing" {
			t.Errorf("%s is not silenced: %v", r.Name, found)
		}
	}
	for name := range sections {
		t.Errorf("docs/lint.md has a section for %s, which is no rule", name)
	}
}

// lintText judges an example, and returns what one rule found.
func lintText(t *testing.T, rule, text string) (found []Finding) {
	t.Helper()
	files := []File{{"example.yaml", []byte(text)}}
	var target Target
	var err error
	if strings.Contains(text, "apiVersion:") {
		target, err = Kubernetes(files)
	} else {
		target, err = Compose(t.Context(), ComposeInput{Files: files, Dir: "/example"})
	}
	if err != nil {
		t.Errorf("%s: %v", rule, err)
	}
	for _, f := range Check(target, Options{}) {
		if f.Rule == rule {
			found = append(found, f)
		}
	}
	return found
}

// A flag of healthcheck that lint does not know makes it take the probe for
// another program of the same name.
func TestOwnFlagsAreThoseOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/flags.md")
	if err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(page), "\n## ")
	known := slices.Concat(ownFlags, ownSwitches)
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` ").FindAllStringSubmatch(table, -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(known)
	slices.Sort(documented)
	if !slices.Equal(known, documented) {
		t.Errorf("lint knows %q; docs/flags.md lists %q", known, documented)
	}
}
