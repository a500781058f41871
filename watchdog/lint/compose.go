package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"healthcheck/watchdog/recovery"
)

// composeFile is the part of a compose file that the rules look at. It is read
// with the lines that services stand on, which compose-go does not keep. What
// depends on variables is not judged.
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

// Compose reads a compose file and returns its services in the order of the file.
// Settings say which of them the watchdog would watch.
func Compose(path string, settings recovery.Settings) ([]Subject, error) {
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
	var out []Subject
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

func composeSubject(path string, key *yaml.Node, c composeService, settings recovery.Settings) (Subject, error) {
	labels, err := composeLabels(c.Labels)
	if err != nil {
		return Subject{}, err
	}
	s := Subject{Name: key.Value, Place: path, Line: key.Line, Image: c.Image, RestartPolicy: c.Restart, Unknown: true}
	s.Watched = settings.Watched(recovery.Container{Name: key.Value, Labels: labels, HasHealthcheck: true})
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
		s.Probe = &Probe{Test: test, Interval: recovery.DefaultInterval, Timeout: recovery.DefaultTimeout}
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
