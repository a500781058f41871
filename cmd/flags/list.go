package flags

import (
	"slices"
	"strings"
)

// List is a repeatable flag. Its variable holds several values behind one
// another.
type List struct {
	Values *[]string
	// Begins says whether the text behind a comma starts a new value, and not
	// more of the one before it.
	Begins func(before, text string) bool
	Commas bool   // the flag itself takes a list, too
	Spaces bool   // no value holds a space: they separate the variable's values, too
	Kind   string // for the help text
}

func (l *List) String() string { return strings.Join(*l.Values, ",") }

// Type implements pflag.Value.
func (l *List) Type() string { return l.Kind }

// Set implements pflag.Value: it adds a value.
func (l *List) Set(s string) error {
	if l.Commas {
		l.SetAll(s)
		return nil
	}
	*l.Values = append(*l.Values, s)
	return nil
}

// SetAll adds the values of a variable.
func (l *List) SetAll(text string) {
	if l.Spaces {
		text = strings.Join(strings.Fields(text), "\n")
	}
	*l.Values = append(*l.Values, SplitList(text, l.Begins)...)
}

// Anything is List's Begins of values that hold no comma.
func Anything(_, _ string) bool { return true }

// ByStart is List's Begins of values that can be told by their beginning.
func ByStart(begins func(text string) bool) func(before, text string) bool {
	return func(_, text string) bool { return begins(text) }
}

// SplitList splits a variable's text on newlines and on the commas behind
// which a new value begins: a comma inside a value is none.
func SplitList(text string, begins func(before, text string) bool) []string {
	var out []string
	for line := range strings.Lines(text) {
		first := true
		for part := range strings.SplitSeq(strings.TrimSpace(line), ",") {
			if trimmed := strings.TrimSpace(part); first || begins(out[len(out)-1], trimmed) {
				out = append(out, trimmed)
			} else {
				out[len(out)-1] += "," + part
			}
			first = false
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}
