package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ignoreComment names rules in a comment, beside the line or on the line above.
var ignoreComment = regexp.MustCompile(`#\s*lint:ignore\s+([a-z][a-z-]*(?:\s*,\s*[a-z][a-z-]*)*)`)

// ignores are the rules to leave out, by place.
type ignores map[Place][]string

func (i ignores) has(p Place, rule string) bool { return slices.Contains(i[p], rule) }

// ignoredLines reads the comments of files. A comment on a line of its own
// counts for the next line that is none.
func ignoredLines(files []File) ignores {
	out := ignores{}
	for _, f := range files {
		var pending []string
		n := 0
		for line := range strings.Lines(string(f.Data)) {
			n++
			names := commentNames(line)
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				pending = append(pending, names...)
				continue
			}
			if names = append(names, pending...); len(names) > 0 {
				at := Place{f.Name, n}
				out[at] = append(out[at], names...)
			}
			pending = nil
		}
	}
	return out
}

func commentNames(line string) []string {
	m := ignoreComment.FindStringSubmatch(line)
	if m == nil {
		return nil
	}
	return strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' })
}

func ignoresNothing(t Target, o Options) (out []problem) {
	for _, f := range t.Files {
		n := 0
		for line := range strings.Lines(string(f.Data)) {
			n++
			for _, name := range commentNames(line) {
				if !slices.Contains(o.rules, name) {
					out = append(out, problem{message: fmt.Sprintf("lint:ignore names %q, which is no rule", name), instead: "a name of docs/lint.md", place: Place{f.Name, n}})
				}
			}
		}
	}
	return out
}
