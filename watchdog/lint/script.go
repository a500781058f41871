package lint

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	// pythonRequest is a call that waits for something, up to its own timeout.
	pythonRequest = regexp.MustCompile(`\b(?:requests|httpx|session|client|s|urllib\.request)\.(?:get|post|head|put|request|urlopen)\s*\(|\burlopen\s*\(|\bcreate_connection\s*\(`)
	pythonTimeout = regexp.MustCompile(`\btimeout\s*=\s*([0-9]+(?:\.[0-9]+)?)`)
	pythonSample  = regexp.MustCompile(`\bcpu_percent\s*\(\s*(?:interval\s*=\s*)?([0-9]+(?:\.[0-9]+)?)`)
	pythonSleep   = regexp.MustCompile(`\btime\.sleep\s*\(\s*([0-9]+(?:\.[0-9]+)?)\s*\)`)
	pythonLoop    = regexp.MustCompile(`^\s*(?:for|while)\b`)
)

// scriptLimit adds up how long the waiting calls of a script may take, by the
// timeouts that stand in the calls themselves. It returns 0 for a script of
// which that is not known: one with a loop, or in a language other than Python
// and shell.
func scriptLimit(name, text string) time.Duration {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	first, _, _ := strings.Cut(text, "\n")
	switch {
	case strings.HasSuffix(name, ".py") || strings.HasPrefix(first, "#!") && strings.Contains(first, "python"):
		return pythonLimit(text)
	case strings.HasSuffix(name, ".sh") || strings.HasPrefix(first, "#!") && strings.Contains(first, "sh"):
		return shellLimit(text)
	}
	return 0
}

// pythonLimit reads a script line by line, joining the lines of a call.
func pythonLimit(text string) (sum time.Duration) {
	var joined []string
	open, quoted := 0, ""
	for line := range strings.Lines(text) {
		line, quoted = pythonCode(strings.TrimRight(line, "\n"), quoted)
		if open > 0 {
			joined[len(joined)-1] += " " + line
		} else {
			joined = append(joined, line)
		}
		open = max(0, open+strings.Count(line, "(")-strings.Count(line, ")"))
	}
	for _, line := range joined {
		if pythonLoop.MatchString(line) {
			return 0
		}
		add := func(m []string) {
			if v, err := strconv.ParseFloat(m[1], 64); err == nil && v < 1e6 {
				sum += time.Duration(v * float64(time.Second))
			}
		}
		if pythonRequest.MatchString(line) {
			if m := pythonTimeout.FindStringSubmatch(line); m != nil {
				add(m)
			}
		}
		for _, m := range pythonSample.FindAllStringSubmatch(line, -1) {
			add(m)
		}
		for _, m := range pythonSleep.FindAllStringSubmatch(line, -1) {
			add(m)
		}
	}
	return sum
}

// pythonCode returns a line without comments and without the text of strings.
// quoted is the triple quote that is open before and after it.
func pythonCode(line, quoted string) (string, string) {
	var b strings.Builder
	for i := 0; i < len(line); {
		rest := line[i:]
		switch {
		case quoted != "":
			end := strings.Index(rest, quoted)
			if end < 0 {
				return b.String(), quoted
			}
			i += end + len(quoted)
			quoted = ""
		case strings.HasPrefix(rest, `"""`) || strings.HasPrefix(rest, "'''"):
			quoted = rest[:3]
			i += 3
		case rest[0] == '"' || rest[0] == '\'':
			j := 1
			for j < len(rest) && rest[j] != rest[0] {
				if rest[j] == '\\' {
					j++
				}
				j++
			}
			b.WriteString(`""`)
			i += min(j+1, len(rest))
		case rest[0] == '#':
			return b.String(), ""
		default:
			b.WriteByte(rest[0])
			i++
		}
	}
	return b.String(), quoted
}

// shellLimit adds up the limits of the programs that a script runs one after
// another.
func shellLimit(text string) (sum time.Duration) {
	f := parseShell(text)
	if f == nil {
		return 0
	}
	for i, s := range f.Stmts {
		for _, c := range callsOf(s, i == len(f.Stmts)-1, true) {
			if !c.Required && !c.Decides {
				continue
			}
			if c.Name == "sleep" && len(c.Words) > 1 {
				sum += seconds(c.Words[1])
			} else if (c.Name == "curl" || c.Name == "wget" || c.Bound > 0) && c.Name != "echo" {
				if d, ok := c.ownLimit(); ok {
					sum += d
				}
			}
		}
	}
	return sum
}
