package recovery

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The documentation shows the table of transitions and the events as they are.
// UPDATE_DOCS=1 go test ./watchdog/recovery writes them anew.
func TestDocs(t *testing.T) {
	for _, c := range []struct{ file, section, want string }{
		{"../../docs/transitions.md", "transitions", transitionsTable()},
		{"../../docs/watchdog.md", "events", eventsTable()},
	} {
		text, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		begin, end := "<!-- "+c.section+" -->\n", "<!-- end of "+c.section+" -->\n"
		head, rest, ok := strings.Cut(string(text), begin)
		got, tail, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s: no section %s", c.file, c.section)
		}
		if got == c.want {
			continue
		}
		if os.Getenv("UPDATE_DOCS") == "" {
			t.Errorf("%s: the section %s is not the code's; UPDATE_DOCS=1 go test ./watchdog/recovery writes it anew", c.file, c.section)
			continue
		}
		if err := os.WriteFile(c.file, []byte(head+begin+c.want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func eventsTable() string {
	var b strings.Builder
	b.WriteString("| event | what |\n|---|---|\n")
	for _, e := range Events {
		fmt.Fprintf(&b, "| `%s` | %s |\n", e.Name, e.What)
	}
	return b.String()
}

// transitionsTable shows the table, a section for each phase; inputs with the
// same rule share a row.
func transitionsTable() string {
	var b strings.Builder
	for _, p := range Phases {
		fmt.Fprintf(&b, "### %s\n\n| input | what is done | next phase |\n|---|---|---|\n", p)
		var names []string
		byRule := map[string][]string{}
		rules := map[string]rule{}
		for _, in := range every() {
			r := ruleFor(p, in)
			if !slices.Contains(names, r.name) {
				names = append(names, r.name)
			}
			byRule[r.name], rules[r.name] = append(byRule[r.name], in.String()), r
		}
		for _, name := range names {
			if name == ignore.name {
				continue
			}
			next := "the same"
			if r := rules[name]; len(r.next) > 0 {
				var all []string
				for _, n := range r.next {
					all = append(all, n.String())
				}
				next = strings.Join(all, ", ")
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.Join(byRule[name], ", "), name, next)
		}
		if cannot := byRule[ignore.name]; len(cannot) > 0 {
			fmt.Fprintf(&b, "\nDoes not come, or changes nothing: %s.\n", strings.Join(cannot, ", "))
		}
		b.WriteString("\n")
	}
	return b.String()
}
