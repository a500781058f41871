package lint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Kubernetes' own defaults (its API reference, Probe v1).
const (
	kubernetesPeriod    = 10 * time.Second
	kubernetesTimeout   = time.Second
	kubernetesThreshold = 3
)

// podPaths are where the usual workloads keep their pod.
var podPaths = [][]string{{"spec"}, {"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}}

// Kubernetes reads manifests and returns the containers of their pods, in the
// order of the files. What is no workload is passed over.
func Kubernetes(files []File) (Target, error) {
	t := Target{Files: files}
	for _, f := range files {
		dec := yaml.NewDecoder(bytes.NewReader(f.Data))
		for {
			var doc yaml.Node
			err := dec.Decode(&doc)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return t, fmt.Errorf("%s: %w", f.Name, err)
			}
			if len(doc.Content) > 0 {
				t.Subjects = append(t.Subjects, workload(f.Name, doc.Content[0], true)...)
			}
		}
	}
	return t, nil
}

// workload reads one object, or the items of a list, which are no lists.
func workload(file string, n *yaml.Node, lists bool) (out []Subject) {
	if _, items, ok := lookup(n, []string{"items"}); ok && lists {
		for _, item := range resolved(items).Content {
			out = append(out, workload(file, item, false)...)
		}
		return out
	}
	_, name, _ := lookup(n, []string{"metadata", "name"})
	for _, path := range podPaths {
		_, pod, ok := lookup(n, path)
		if !ok {
			continue
		}
		for _, kind := range []string{"initContainers", "containers"} {
			_, list, ok := lookup(pod, []string{kind})
			if !ok {
				continue
			}
			for _, c := range resolved(list).Content {
				// An init container has probes only where it keeps running.
				if kind == "containers" || scalar(c, "restartPolicy") == "Always" {
					s := podContainer(file, c)
					if name != nil && resolved(name).Value != "" {
						s.Name = resolved(name).Value + "/" + s.Name
					}
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// probeKeys are Kubernetes' names for the keys of a probe.
var probeKeys = map[string]string{"interval": "periodSeconds", "timeout": "timeoutSeconds", "retries": "failureThreshold", "initial_delay": "initialDelaySeconds"}

func podContainer(file string, c *yaml.Node) Subject {
	s := Subject{Kind: FromKubernetes, Name: scalar(c, "name"), Places: map[string]Place{"": {file, c.Line}}, Image: Image{Name: scalar(c, "image")},
		Command: append(list(c, "command"), list(c, "args")...)}
	for _, key := range []string{"name", "image"} {
		if k, _, ok := lookup(c, []string{key}); ok {
			s.Places[key] = Place{file, k.Line}
		}
	}
	if _, mounts, ok := lookup(c, []string{"volumeMounts"}); ok {
		for _, m := range resolved(mounts).Content {
			s.Image.mount(scalar(m, "mountPath"))
		}
	}
	env := map[string]string{}
	if _, vars, ok := lookup(c, []string{"env"}); ok {
		for _, v := range resolved(vars).Content {
			if _, _, ok := lookup(v, []string{"value"}); ok {
				env[scalar(v, "name")] = scalar(v, "value")
			}
		}
	}
	for _, key := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
		at, n, ok := lookup(c, []string{key})
		if !ok || resolved(n).Kind != yaml.MappingNode {
			continue
		}
		p := Probe{Key: key, Interval: kubernetesPeriod, Timeout: kubernetesTimeout, Retries: kubernetesThreshold, Set: map[string]bool{}, Unknown: map[string]bool{}, Env: env}
		s.Places[key] = Place{file, at.Line}
		for name, theirs := range probeKeys {
			at, v, ok := lookup(n, []string{theirs})
			if !ok {
				continue
			}
			s.Places[key+"."+name] = Place{file, at.Line}
			var seconds int
			if resolved(v).Decode(&seconds) != nil || seconds < 0 || seconds > 1e6 {
				p.Unknown[name] = true // Kubernetes refuses it
				continue
			}
			p.Set[name] = true
			d := time.Duration(seconds) * time.Second
			switch {
			case name == "initial_delay":
				p.InitialDelay = d
			case seconds == 0: // the default
				p.Set[name] = false
			case name == "interval":
				p.Interval = d
			case name == "timeout":
				p.Timeout = d
			case name == "retries":
				p.Retries = seconds
			}
		}
		for _, kind := range []string{"exec", "httpGet", "grpc", "tcpSocket"} {
			at, v, ok := lookup(n, []string{kind})
			if !ok {
				continue
			}
			s.Places[key+".test"] = Place{file, at.Line}
			switch kind {
			case "exec":
				p.Test = append([]string{"CMD"}, list(v, "command")...)
			case "httpGet":
				p.URL = "/" + strings.TrimPrefix(scalar(v, "path"), "/")
			case "tcpSocket":
				p.TCP = true
			}
		}
		s.Probes = append(s.Probes, p)
		s.Health = HealthSeen
	}
	return s
}

// list is a key's value as texts.
func list(n *yaml.Node, key string) (out []string) {
	if _, v, ok := lookup(n, []string{key}); ok {
		for _, e := range resolved(v).Content {
			out = append(out, resolved(e).Value)
		}
	}
	return out
}

// probe finds one of a pod's probes.
func (s Subject) probe(key string) (Probe, bool) {
	for _, p := range s.Probes {
		if p.Key == key {
			return p, true
		}
	}
	return Probe{}, false
}
