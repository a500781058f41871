package report

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"healthcheck/probe"
)

// Figure is what a report tells of one check.
type Figure struct {
	Check    string
	Status   probe.Status
	Duration time.Duration
	// Value and Limit are in the unit of the check, percent for resources; nil
	// where there is none.
	Value, Limit *float64
}

// maxFigures bounds what is taken of one report.
const maxFigures = 32

// Figures reads what a report tells of each of its checks, in either form; none
// where text is no report. The text comes from an untrusted container: see
// Parse.
func Figures(text string) []Figure {
	text = strings.TrimSpace(text)
	if len(text) > MaxOutput || !utf8.ValidString(text) {
		return nil
	}
	var all []Figure
	if strings.HasPrefix(text, "{") {
		all = jsonFigures(text)
	} else {
		all = textFigures(text)
	}
	seen := map[string]bool{}
	kept := all[:0]
	for _, f := range all {
		f.Check = probe.Ellipsis(probe.Clean(f.Check), maxName)
		if f.Check == "" || seen[f.Check] || len(kept) == maxFigures {
			continue // a doubled name would be a doubled series
		}
		seen[f.Check] = true
		kept = append(kept, f)
	}
	return kept
}

// checkLine is the line of a check in a report for people, and percent what its
// message says of a figure and its limit.
var checkLine = sync.OnceValues(func() (line, percent *regexp.Regexp) {
	return regexp.MustCompile(`^(ok  |warn|WARN|FAIL|skip) (\S(?:.*?\S)?) +([0-9]{1,9})ms  (?:\[[a-z]+(?: \S+)?\]  )?(.*)`),
		regexp.MustCompile(`^(?:[^:(]*, )?([0-9]{1,6}(?:\.[0-9]{1,3})?)% of [^(]*(?:\(max ([0-9]{1,6}(?:\.[0-9]{1,3})?)%\))?`)
})

func textFigures(text string) (all []Figure) {
	first, rest, _ := strings.Cut(text, "\n")
	verdict, _, ok := strings.Cut(first, ": ")
	if !ok || verdict != Healthy && verdict != Degraded && verdict != Unhealthy {
		return nil
	}
	line, percent := checkLine()
	for text := range strings.Lines(rest) {
		m := line.FindStringSubmatch(strings.TrimRight(text, "\n"))
		if m == nil {
			continue
		}
		ms, _ := strconv.ParseInt(m[3], 10, 64) // nine digits at most
		f := Figure{Check: m[2], Status: probe.Status(strings.ToLower(strings.TrimSpace(m[1]))), Duration: time.Duration(ms) * time.Millisecond}
		if p := percent.FindStringSubmatch(m[4]); p != nil && f.Status != probe.Skip {
			f.Value, f.Limit = number(p[1]), number(p[2])
		}
		all = append(all, f)
	}
	return all
}

// number is a figure of a message; nil for none.
func number(text string) *float64 {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		return &v
	}
	return nil
}

func jsonFigures(text string) (all []Figure) {
	var doc jsonReport
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil
	}
	for _, c := range doc.Checks {
		switch c.Status {
		case probe.OK, probe.Warn, probe.Fail, probe.Skip:
		default:
			continue
		}
		d := math.Max(0, math.Min(c.Duration, 1e9))
		all = append(all, Figure{Check: c.Name, Status: c.Status, Duration: time.Duration(d * float64(time.Millisecond)), Value: c.Value, Limit: c.Limit})
	}
	return all
}
