package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"healthcheck/watchdog"
)

// A reader of compose files for lint: what it needs of a service, with the
// line that it stands on, which compose-go does not keep. What depends on
// variables is not judged.

// composeFile is the part of a compose file that lint looks at.
type composeFile struct {
	Services map[string]composeService `yaml:"services"`
}

type composeService struct {
	Image       string    `yaml:"image"`
	Build       yaml.Node `yaml:"build"`
	Restart     string    `yaml:"restart"`
	Labels      yaml.Node `yaml:"labels"`
	Healthcheck *struct {
		Test        yaml.Node `yaml:"test"`
		Interval    string    `yaml:"interval"`
		Timeout     string    `yaml:"timeout"`
		StartPeriod string    `yaml:"start_period"`
		Disable     bool      `yaml:"disable"`
	} `yaml:"healthcheck"`
}

// The engine's defaults (moby, daemon/health.go).
const engineDefault = 30 * time.Second

// lintCompose reads a compose file and returns its services in its order.
func lintCompose(path string, settings watchdog.Settings) ([]watchdog.Subject, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file composeFile
	var tree yaml.Node
	if err := yaml.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []watchdog.Subject
	for _, key := range serviceKeys(&tree) {
		s, err := composeSubject(path, key, file.Services[key.Value], settings)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: service %s: %w", path, key.Line, key.Value, err)
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no services in it", path)
	}
	return out, nil
}

// serviceKeys finds the names of the services, with their lines.
func serviceKeys(tree *yaml.Node) (keys []*yaml.Node) {
	if len(tree.Content) == 0 {
		return nil
	}
	root := tree.Content[0]
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value != "services" {
			continue
		}
		for j := 0; j+1 < len(root.Content[i+1].Content); j += 2 {
			keys = append(keys, root.Content[i+1].Content[j])
		}
	}
	return keys
}

func composeSubject(path string, key *yaml.Node, c composeService, settings watchdog.Settings) (watchdog.Subject, error) {
	labels, err := composeLabels(c.Labels)
	if err != nil {
		return watchdog.Subject{}, err
	}
	s := watchdog.Subject{Name: key.Value, Place: path, Line: key.Line, Image: c.Image, RestartPolicy: c.Restart, Unknown: true}
	s.Watched = settings.Watched(watchdog.Container{Name: key.Value, Labels: labels, HasHealthcheck: true})
	if h := c.Healthcheck; h != nil && h.Disable {
		s.Unknown = false
		return s, nil
	} else if h != nil {
		test, err := composeTest(h.Test)
		if err != nil {
			return s, err
		}
		if len(test) > 0 && test[0] == "NONE" {
			s.Unknown = false
			return s, nil
		}
		s.Probe = &watchdog.Probe{Test: test, Interval: engineDefault, Timeout: engineDefault}
		for _, d := range []struct {
			text string
			to   *time.Duration
		}{{h.Interval, &s.Probe.Interval}, {h.Timeout, &s.Probe.Timeout}, {h.StartPeriod, &s.Probe.StartPeriod}} {
			if d.text == "" || strings.Contains(d.text, "$") {
				continue
			}
			if *d.to, err = time.ParseDuration(d.text); err != nil {
				return s, fmt.Errorf("%q is not a duration such as 30s", d.text)
			}
		}
		return s, nil
	}
	if dir := buildContext(c.Build); dir != "" {
		dockerfile(filepath.Join(filepath.Dir(path), dir), &s)
	}
	return s, nil
}

// composeLabels reads labels as a map or as a list.
func composeLabels(n yaml.Node) (map[string]string, error) {
	labels := map[string]string{}
	switch n.Kind {
	case yaml.MappingNode:
		return labels, n.Decode(&labels)
	case yaml.SequenceNode:
		var list []string
		if err := n.Decode(&list); err != nil {
			return nil, err
		}
		for _, kv := range list {
			k, v, _ := strings.Cut(kv, "=")
			labels[k] = v
		}
	}
	return labels, nil
}

// composeTest reads a test as a list or as a shell's line.
func composeTest(n yaml.Node) (test []string, err error) {
	if n.Kind == yaml.ScalarNode {
		return []string{"CMD-SHELL", n.Value}, nil
	}
	return test, n.Decode(&test)
}

// buildContext reads build as a string or as a map.
func buildContext(n yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	var b struct {
		Context string `yaml:"context"`
	}
	if n.Kind == yaml.MappingNode && n.Decode(&b) == nil {
		return b.Context
	}
	return ""
}

var (
	healthcheckLine = regexp.MustCompile(`(?m)^\s*HEALTHCHECK\s+(.*)$`)
	fromLine        = regexp.MustCompile(`(?m)^\s*FROM\s+(?:--\S+\s+)*(\S+)`)
	optionWord      = regexp.MustCompile(`^--(interval|timeout|start-period)=(\S+)`)
	scriptTimeout   = regexp.MustCompile(`\b(?:timeout|interval)\s*=\s*([0-9]+(?:\.[0-9]+)?)`)
)

// dockerfile reads the last HEALTHCHECK and FROM of a build, and how long a
// script beside it may take by its own timeouts.
func dockerfile(dir string, s *watchdog.Subject) {
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
	p := &watchdog.Probe{Interval: engineDefault, Timeout: engineDefault}
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

// scriptWorst adds up the timeouts in a script that the probe runs, where that
// stands beside the Dockerfile.
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
