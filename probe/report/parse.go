package report

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"healthcheck/probe"
)

// Failure is a failed check as a report told it.
type Failure struct {
	// Check is empty where the probe itself was called wrongly.
	Check string
	Cause probe.FailureCause
	// Text is what was wrong, in one bounded line.
	Text string
}

// maxFailures bounds what a report can say.
const maxFailures = 64

// Parse reads the failed checks off a report, in either form, and says whether
// text is one. The text comes from an untrusted container: what is not exactly
// as this package writes it is no report, and what is taken from it is bounded.
// A program that was called wrongly has one failure of class config.
func Parse(text string) (failures []Failure, ok bool) {
	text = strings.TrimSpace(text)
	if len(text) > MaxOutput || !utf8.ValidString(text) {
		return nil, false
	}
	switch first, _, _ := strings.Cut(text, "\n"); {
	case strings.HasPrefix(text, "{"):
		return parseJSON(text)
	case strings.HasPrefix(first, "error: ") && strings.Contains(text, "\nhint: "):
		return []Failure{misuse(strings.TrimPrefix(first, "error: "))}, true
	case strings.HasPrefix(first, Unhealthy+": "), strings.HasPrefix(first, Degraded+": "):
		return parseText(text)
	}
	return nil, false
}

// causeLine is the line of a failed check. It is compiled when a report is
// parsed: the probe itself never does.
var causeLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:FAIL|WARN) (\S(?:.*?\S)?) +[0-9]+ms  \[([a-z]+)(?: ([^\s\[\]]+|\[[0-9a-fA-F:.%]+\](?::[0-9]+)?))?\]  (.*)`)
})

func parseText(text string) (failures []Failure, ok bool) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "FAIL ") {
			continue
		}
		f := Failure{Cause: probe.FailureCause{Class: probe.Unknown}, Text: strings.TrimPrefix(line, "FAIL ")}
		if m := causeLine().FindStringSubmatch(line); m != nil {
			f.Check, f.Text = m[1], m[4]
			host, port := m[3], ""
			if i := strings.LastIndexByte(host, ':'); i >= 0 && (strings.IndexByte(host, ':') == i || strings.HasPrefix(host, "[")) && !strings.HasSuffix(host, "]") {
				host, port = host[:i], host[i+1:]
			}
			f.Cause = probe.FailureCause{Class: probe.Class(m[2]), Host: strings.Trim(host, "[]"), Port: port}
		}
		failures = append(failures, bounded(f))
		if len(failures) == maxFailures {
			break
		}
	}
	return failures, len(failures) > 0
}

func parseJSON(text string) (failures []Failure, ok bool) {
	var doc struct {
		Status string
		Error  string
		Checks []struct {
			Name, Message string
			Status        probe.Status
			Cause         jsonCause
		}
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, false
	}
	if doc.Error != "" && doc.Status == Unhealthy {
		return []Failure{misuse(doc.Error)}, true
	}
	for _, c := range doc.Checks {
		if c.Status != probe.Fail || len(failures) == maxFailures {
			continue
		}
		failures = append(failures, bounded(Failure{c.Name, probe.FailureCause{Class: c.Cause.Class, Host: c.Cause.Host, Port: c.Cause.Port}, c.Message}))
	}
	return failures, doc.Status == Unhealthy && len(failures) > 0
}

// misuse is the failure of a probe that was called wrongly.
func misuse(text string) Failure {
	return bounded(Failure{Cause: probe.FailureCause{Class: probe.Config}, Text: text})
}

// bounded makes what an untrusted report said safe to keep and to print: a
// class that is none is unknown, a host or port that is none is left out.
func bounded(f Failure) Failure {
	f.Check = probe.Ellipsis(probe.Clean(f.Check), maxName)
	f.Text = probe.Ellipsis(probe.Clean(strings.TrimSpace(f.Text)), maxMessage)
	if !slices.Contains(probe.Classes, f.Cause.Class) {
		f.Cause = probe.FailureCause{Class: probe.Unknown}
	}
	if !isHost(f.Cause.Host) {
		f.Cause.Host, f.Cause.Port = "", ""
	}
	if len(f.Cause.Port) > 5 || strings.Trim(f.Cause.Port, "0123456789") != "" {
		f.Cause.Port = ""
	}
	return f
}

// isHost says whether text can be a name or an address.
func isHost(text string) bool {
	return len(text) <= maxHost && !strings.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:%", r))
	})
}
