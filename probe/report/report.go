// Package report is what a run says: text for people and JSON for programs. It
// knows no kind of check, and links no driver.
package report

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"healthcheck/probe"
)

// This file owns all that the program says of its checks. The rules:
//   - at most MaxOutput bytes, cut at a rune boundary;
//   - the first line is the verdict and the root cause, without durations: a
//     constant fault has a constant first line, which Kubernetes counts as one
//     event; then the checks, the
//     failed ones first, each group in declared order;
//   - a failed check's line has its cause in brackets before the message;
//   - where something must go, the checks that are ok go first, then words, and
//     causes last;
//   - everything is escaped here, whatever a check put into its message.

// MaxOutput is how much of a probe's output the Docker engine keeps, in bytes
// (moby, daemon/health.go, maxOutputLen).
const MaxOutput = 4096

// maxName bounds a check's name in the report, and maxHost the host of its
// cause (RFC 1035, 2.3.4), in bytes.
const maxName, maxHost = 64, 253

// maxMessage bounds one check's message, in bytes, so that seven failures can
// all be shown.
const maxMessage = 500

// The verdicts.
const (
	Healthy   = "healthy"
	Degraded  = "degraded"
	Unhealthy = "unhealthy"
)

// Report is the verdict over a run.
type Report struct {
	Verdict  string
	Summary  string // the first line of the text, without the verdict
	Duration time.Duration
	Results  []probe.Result // failures first, then warnings, ok, skipped
	// Warning is about the run and changes no verdict; empty for none. Where
	// something must go, it goes first.
	Warning string
}

// New judges the results of a run that took d.
func New(results []probe.Result, d time.Duration) Report {
	rep := Report{Verdict: Healthy, Duration: d}
	for _, s := range []probe.Status{probe.Fail, probe.Warn, probe.OK, probe.Skip} {
		for _, r := range results {
			if r.Status == s {
				r.Name = probe.Ellipsis(probe.Clean(r.Name), maxName)
				r.Target = probe.Ellipsis(r.Target, maxHost)
				r.Message = probe.Ellipsis(probe.Clean(r.Message), maxMessage)
				rep.Results = append(rep.Results, r)
			}
		}
	}
	counted, failed, warned := 0, 0, 0
	for _, r := range rep.Results {
		switch {
		case r.Status == probe.Fail:
			failed++
		case r.Status == probe.Warn:
			warned++
		}
		if !r.Informational {
			counted++
		}
	}
	took := millis(d)
	switch {
	case failed > 0:
		rep.Verdict = Unhealthy
		rep.Summary = fmt.Sprintf("%d of %d failed", failed, counted)
	case warned > 0:
		rep.Verdict = Degraded
		rep.Summary = fmt.Sprintf("%d of %d warned", warned, counted)
	case counted == 1:
		rep.Summary = "1 check passed in " + took
	default:
		rep.Summary = fmt.Sprintf("%d checks passed in %s", counted, took)
	}
	if rep.Verdict != Healthy {
		first := rep.Results[0]
		rep.Summary += ": " + first.Name + ": " + first.Message
	}
	return rep
}

// millis prints a duration as the report does: whole milliseconds.
func millis(d time.Duration) string {
	return fmt.Sprintf("%dms", d.Milliseconds())
}

// messageLimits are tried in turn until every failed check is in the output:
// where it must be cut, words go before causes.
var messageLimits = []int{maxMessage, 250, 120, 60, 24}

// failing says whether a check failed, or warns where it would have failed.
func failing(r probe.Result) bool { return r.Status == probe.Fail || r.Status == probe.Warn }

// Text is the report for people, at most MaxOutput bytes of valid UTF-8,
// ending in a newline.
func (r Report) Text() string {
	var text string
	for _, limit := range messageLimits {
		var complete bool
		if text, complete = r.text(limit); complete {
			break
		}
	}
	return text
}

// text is the report with messages of at most limit bytes; complete says that
// every failed check is in it.
func (r Report) text(limit int) (text string, complete bool) {
	width := 0
	for _, c := range r.Results {
		width = max(width, utf8.RuneCountInString(c.Name))
	}
	var b strings.Builder
	b.WriteString(r.Verdict + ": " + probe.Ellipsis(r.Summary, max(limit, 120)+maxName) + "\n")
	for i, c := range r.Results {
		status, cause := string(c.Status), ""
		if failing(c) {
			status = strings.ToUpper(status)
			if c.Cause.Class != "" {
				cause = "[" + causeText(c.Cause) + "]  "
			}
		}
		line := fmt.Sprintf("%-4s %-*s %6s  %s%s\n", status, width, c.Name, millis(c.Duration), cause, probe.Ellipsis(c.Message, limit))
		more := fmt.Sprintf("… and %d more\n", len(r.Results)-i)
		// Room for the mark is kept, unless this line is the last and fits.
		last := i == len(r.Results)-1
		if b.Len()+len(line) > MaxOutput || !last && b.Len()+len(line)+len(more)+2 > MaxOutput {
			b.WriteString(more)
			return b.String(), !failing(c)
		}
		b.WriteString(line)
	}
	if line := "warning: " + r.warning() + "\n"; r.Warning != "" && b.Len()+len(line) <= MaxOutput {
		b.WriteString(line)
	}
	return b.String(), true
}

func (r Report) warning() string { return probe.Ellipsis(probe.Clean(r.Warning), maxMessage) }

// causeText is a cause as a line shows it: dependency qdrant:6333.
func causeText(c probe.FailureCause) string {
	text := string(c.Class)
	if c.Host == "" {
		return text
	}
	host := probe.Ellipsis(probe.Clean(c.Host), maxHost)
	if c.Port == "" {
		return text + " " + host
	}
	return text + " " + net.JoinHostPort(host, c.Port)
}

// jsonReport and jsonCheck are the shape that --output json promises.
type jsonReport struct {
	Status    string      `json:"status"`
	Duration  float64     `json:"duration_ms"`
	Summary   string      `json:"summary"`
	Error     string      `json:"error,omitempty"`
	Hint      string      `json:"hint,omitempty"`
	Checks    []jsonCheck `json:"checks"`
	Warning   string      `json:"warning,omitempty"`
	Truncated bool        `json:"truncated,omitempty"`
}

type jsonCheck struct {
	Name     string       `json:"name"`
	Layer    string       `json:"layer"`
	Status   probe.Status `json:"status"`
	Stage    probe.Stage  `json:"stage,omitempty"`
	Cause    *jsonCause   `json:"cause,omitempty"`
	Message  string       `json:"message"`
	Target   string       `json:"target,omitempty"`
	Duration float64      `json:"duration_ms"`
	Value    *float64     `json:"value,omitempty"`
	Limit    *float64     `json:"limit,omitempty"`
}

type jsonCause struct {
	Class probe.Class `json:"class"`
	Host  string      `json:"host,omitempty"`
	Port  string      `json:"port,omitempty"`
}

// JSON is the report for programs: one valid object of at most MaxOutput
// bytes and a newline within them. Where it must be cut, the checks that are
// ok go first, then words of the others, then those at the end.
func (r Report) JSON() []byte {
	out := jsonReport{Status: r.Verdict, Duration: tenths(r.Duration), Summary: r.Summary, Checks: []jsonCheck{}, Warning: r.warning()}
	for _, c := range r.Results {
		check := jsonCheck{Name: c.Name, Layer: c.Layer, Status: c.Status, Stage: c.Stage, Message: c.Message, Target: c.Target,
			Duration: tenths(c.Duration), Value: finite(c.Value), Limit: finite(c.Limit)}
		if failing(c) && c.Cause.Class != "" {
			check.Cause = &jsonCause{c.Cause.Class, probe.Ellipsis(probe.Clean(c.Cause.Host), maxHost), c.Cause.Port}
		}
		out.Checks = append(out.Checks, check)
	}
	// Skipped checks stand behind the ok ones, but say why they did not run:
	// they outlive them.
	limits := messageLimits[1:]
	for {
		data := encode(out)
		if len(data) <= MaxOutput {
			return data
		}
		out.Truncated = true
		switch {
		case out.Warning != "":
			out.Warning = ""
		case dropOK(&out.Checks):
		case len(limits) > 0:
			for i := range out.Checks {
				out.Checks[i].Message = probe.Ellipsis(out.Checks[i].Message, limits[0])
				out.Checks[i].Target = ""
			}
			out.Summary = probe.Ellipsis(out.Summary, max(limits[0], 120)+maxName)
			limits = limits[1:]
		case len(out.Checks) > 0:
			out.Checks = out.Checks[:len(out.Checks)-1]
		default:
			// Escaping makes a hostile summary longer than its own bound.
			out.Summary = probe.Ellipsis(out.Summary, len(out.Summary)/2)
		}
	}
}

// Misuse is what a program says in JSON that was called wrongly.
func Misuse(problem, hint string) []byte {
	const bound = MaxOutput / 8 // escaped, the three texts still fit
	problem = probe.Ellipsis(probe.Clean(problem), bound)
	return encode(jsonReport{Status: Unhealthy, Summary: problem, Error: problem, Hint: probe.Ellipsis(probe.Clean(hint), bound), Checks: []jsonCheck{}})
}

// dropOK removes the last check that is ok; false where there is none.
func dropOK(checks *[]jsonCheck) bool {
	for i, c := range slices.Backward(*checks) {
		if c.Status == probe.OK {
			*checks = slices.Delete(*checks, i, i+1)
			return true
		}
	}
	return false
}

func encode(v jsonReport) []byte {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // '<' is six bytes otherwise, and nobody renders this
	if err := enc.Encode(v); err != nil {
		panic(err) // only plain strings and finite numbers are in it
	}
	return []byte(b.String())
}

// tenths is d in milliseconds with one decimal.
func tenths(d time.Duration) float64 {
	return math.Round(float64(d)/float64(100*time.Microsecond)) / 10
}

// finite rounds to two decimals and drops what JSON cannot hold.
func finite(v *float64) *float64 {
	if v == nil {
		return nil
	}
	r := math.Round(*v*100) / 100
	if math.IsNaN(r) || math.IsInf(r, 0) {
		return nil
	}
	return &r
}
