package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"healthcheck/gpu"
)

// wantError is the complaint of a flag's value: what it should have been.
// The values of flags. Each says in its error what it wants.

type wantError string

func (e wantError) Error() string { return string(e) }

type durationValue time.Duration

func (d *durationValue) String() string { return time.Duration(*d).String() }

func (d *durationValue) Type() string { return "DURATION" }

func (d *durationValue) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return wantError("want a duration above 0 with its unit, such as 30s or 500ms")
	}
	*d = durationValue(v)
	return nil
}

type percentValue float64

func (p *percentValue) String() string {
	if *p == 0 {
		return "off"
	}
	return strconv.FormatFloat(float64(*p), 'g', -1, 64)
}

func (p *percentValue) Type() string { return "PERCENT" }

func (p *percentValue) Set(s string) error {
	if strings.EqualFold(s, "off") {
		*p = 0
		return nil
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(v > 0 && v <= 100) {
		return wantError("want a percentage above 0 and up to 100, or off")
	}
	*p = percentValue(v)
	return nil
}

// sizeValue is an amount of memory in MiB; 0 is off.
type sizeValue float64

func (v *sizeValue) String() string {
	if *v == 0 {
		return "off"
	}
	return fmt.Sprintf("%gMiB", float64(*v))
}

func (v *sizeValue) Type() string { return "SIZE" }

func (v *sizeValue) Set(s string) error {
	size, err := gpu.ParseSize(s)
	if err != nil {
		return wantError("want a size such as 6GiB, 6.5GB or 512MiB")
	}
	*v = sizeValue(size)
	return nil
}

// limitValue is a whole number that is a limit, or off.
type limitValue gpu.Figure

func (v *limitValue) String() string {
	if !v.Known {
		return "off"
	}
	return strconv.FormatFloat(v.Value, 'f', -1, 64)
}

func (v *limitValue) Type() string { return "NUMBER" }

func (v *limitValue) Set(s string) error {
	if strings.EqualFold(s, "off") {
		*v = limitValue{}
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return wantError("want a whole number, or off")
	}
	*v = limitValue{Value: float64(n), Known: true}
	return nil
}

// listValue is a repeatable flag. Its variable holds several values behind
// one another; begins says whether the text behind a comma starts a new one.
type listValue struct {
	values *[]string
	begins func(string) bool
	commas bool // the flag itself takes a list too
	kind   string
}

func (l *listValue) String() string { return strings.Join(*l.values, ",") }

func (l *listValue) Type() string { return l.kind }

func (l *listValue) Set(s string) error {
	if l.commas {
		*l.values = append(*l.values, splitList(s, l.begins)...)
		return nil
	}
	*l.values = append(*l.values, s)
	return nil
}

func (l *listValue) setAll(text string) {
	*l.values = append(*l.values, splitList(text, l.begins)...)
}

// splitList splits a variable's text on newlines and on the commas behind
// which a new value begins: a comma inside a value is none.
func splitList(text string, begins func(string) bool) []string {
	var out []string
	for line := range strings.Lines(text) {
		first := true
		for part := range strings.SplitSeq(strings.TrimSpace(line), ",") {
			if trimmed := strings.TrimSpace(part); first || begins(trimmed) {
				out = append(out, trimmed)
			} else {
				out[len(out)-1] += "," + part
			}
			first = false
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// The patterns are compiled when a variable is split, which few runs do.
var (
	targetStart = pattern(`^([A-Za-z0-9][A-Za-z0-9_.-]*=)?(/|[A-Za-z][A-Za-z0-9+.-]*://)`)
	headerStart = pattern(`^[A-Za-z0-9!#$%&'*+.^_|~-]+:`)
)

func pattern(expr string) func(string) bool {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
	return func(s string) bool { return compiled().MatchString(s) }
}

func anyStart(string) bool { return true }
