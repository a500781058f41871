package lint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"healthcheck/watchdog/recovery"
)

var (
	healthcheckLine = regexp.MustCompile(`(?m)^\s*HEALTHCHECK\s+(.*)$`)
	fromLine        = regexp.MustCompile(`(?m)^\s*FROM\s+(?:--\S+\s+)*(\S+)`)
	optionWord      = regexp.MustCompile(`^--(interval|timeout|start-period)=(\S+)`)
	scriptTimeout   = regexp.MustCompile(`\b(?:timeout|interval)\s*=\s*([0-9]+(?:\.[0-9]+)?)`)
)

// dockerfile reads the last HEALTHCHECK and FROM of a build, and how long a
// script beside it may take by its own timeouts.
func dockerfile(dir string, s *Subject) {
	data, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		return
	}
	text := strings.ReplaceAll(string(data), "\\\n", " ")
	if from := fromLine.FindAllStringSubmatch(text, -1); len(from) > 0 && s.Image == "" {
		s.Image = from[len(from)-1][1]
	}
	all := healthcheckLine.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return
	}
	rest := strings.TrimSpace(all[len(all)-1][1])
	p := &Probe{Interval: recovery.DefaultInterval, Timeout: recovery.DefaultTimeout}
	for strings.HasPrefix(rest, "--") {
		word, after, _ := strings.Cut(rest, " ")
		rest = strings.TrimSpace(after)
		if m := optionWord.FindStringSubmatch(word); m != nil {
			to := map[string]*time.Duration{"interval": &p.Interval, "timeout": &p.Timeout, "start-period": &p.StartPeriod}[m[1]]
			if d, err := time.ParseDuration(m[2]); err == nil {
				*to = d
			}
		}
	}
	command, ok := strings.CutPrefix(rest, "CMD")
	if !ok {
		s.Unknown = false // HEALTHCHECK NONE
		return
	}
	command = strings.TrimSpace(command)
	p.Test = []string{"CMD-SHELL", command}
	var exec []string
	if json.Unmarshal([]byte(command), &exec) == nil {
		p.Test = append([]string{"CMD"}, exec...)
	}
	s.Probe = p
	s.ScriptWorst = scriptWorst(dir, p.Test)
}

// scriptWorst adds up the timeouts in a script that the probe runs, where the
// script is beside the Dockerfile.
func scriptWorst(dir string, test []string) (worst time.Duration) {
	for word := range strings.FieldsSeq(strings.Join(test[1:], " ")) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.Base(word)))
		if err != nil || filepath.Ext(word) == "" {
			continue
		}
		for _, m := range scriptTimeout.FindAllStringSubmatch(string(data), -1) {
			if v, err := strconv.ParseFloat(m[1], 64); err == nil && v < 1e6 {
				worst += time.Duration(v * float64(time.Second))
			}
		}
	}
	return worst
}
