package lint

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Rules about probes that look at more than their own container.

// livenessOfDependencies sees what the causes of a failure cannot tell apart:
// our own probe names the host that fails, and the watchdog holds the restart;
// anything else counts as the container's own fault.
func livenessOfDependencies(s Subject) (out []problem) {
	if !s.Watched && s.Kind != FromKubernetes {
		return nil
	}
	for _, p := range s.Probes {
		if s.Kind == FromKubernetes && p.Key != "livenessProbe" {
			continue
		}
		if what, instead := dependencyOf(s, p); what != "" {
			out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("it is restarted when %s is down, which does not mend that", what), instead: instead})
		}
	}
	return out
}

const ownLayers = `["CMD", "/healthcheck", "--layers", "resource,api"], or --optional db --optional vector`

// dependencyOf names what a probe looks at besides its own container.
func dependencyOf(s Subject, p Probe) (what, instead string) {
	if p.URL != "" {
		return readiness(p.URL), "the path of its own liveness"
	}
	for _, c := range p.calls() {
		if !c.Required {
			continue
		}
		if o, ok := ownProbe(c, p.Env); ok {
			if s.byCause() { // the cause is named, or dependency-not-named says that it is not
				continue
			}
			if layer := o.askedThroughApplication(nil); layer != "" {
				return layerName(layer), ownLayers
			}
			for _, layer := range []string{"db", "vector"} {
				if slices.Contains(o.Layers, layer) && !slices.Contains(o.Optional, layer) && len(o.Targets[layer]) > 0 {
					return layerName(layer), ownLayers
				}
			}
			continue
		}
		if host := otherHost(c, s.Hosts); host != "" {
			return host, "a probe of the service itself; a healthcheck of " + host + " at " + host
		}
		for _, w := range c.Words[min(1, len(c.Words)):] {
			if u, err := url.Parse(w); err == nil && (u.Scheme == "http" || u.Scheme == "https") && isLoopback(w) && !strings.HasPrefix(s.Image.Name, "grafana/") {
				if what := readiness(u.Path); what != "" {
					return what, "the path of its own liveness"
				}
			}
		}
	}
	return "", ""
}

// readiness names what a path asks for, by its name.
func readiness(p string) string {
	switch {
	case strings.Contains(p, "/db/") || strings.HasSuffix(p, "/db"):
		return "its database"
	case strings.Contains(p, "/vector/") || strings.HasSuffix(p, "/vector"):
		return "its vector store"
	case slices.Contains([]string{"ready", "readiness"}, path.Base(p)) && !strings.Contains(p, "/-/"):
		return "what it waits for"
	}
	return ""
}

// otherHost names another service that a program connects to.
func otherHost(c call, hosts []string) string {
	var asked []string
	switch c.Name {
	case "curl", "wget", "http", "https":
		for _, w := range c.Words[1:] {
			if u, err := url.Parse(w); err == nil && u.Scheme != "" && u.Host != "" {
				asked = append(asked, u.Hostname())
			}
		}
	case "pg_isready", "psql", "mysqladmin", "mysql", "mariadb", "mariadb-admin", "redis-cli", "valkey-cli", "mongosh":
		asked = append(asked, c.value("-h", "--host"))
	case "nc", "ncat", "telnet":
		for _, w := range c.Words[1:] {
			if !strings.HasPrefix(w, "-") {
				asked = append(asked, w)
				break
			}
		}
	}
	for _, host := range asked {
		if slices.Contains(hosts, host) {
			return host
		}
	}
	return ""
}

// The labels that tell the watchdog what no report can.
const (
	reportedBy      = "watchdog.reported-by"
	dependencyLabel = "watchdog.dependency."
)

// byCause says whether the watchdog decides by the causes that a probe names.
func (s Subject) byCause() bool {
	return s.Kind != FromKubernetes && !strings.EqualFold(strings.Trim(s.Labels["watchdog.by-cause"], ` "'`), "false")
}

// ownProbes are the calls of this project's own probe that decide.
func (s Subject) ownProbes() (all []own) {
	for _, p := range s.Probes {
		for _, c := range p.calls() {
			if o, ok := ownProbe(c, p.Env); ok && c.Required {
				all = append(all, o)
			}
		}
	}
	return all
}

func dependencyNotNamed(s Subject) []problem {
	if !s.Watched || !s.byCause() {
		return nil
	}
	for _, o := range s.ownProbes() {
		if layer := o.askedThroughApplication(s.Labels); layer != "" {
			return one("healthcheck.test", fmt.Sprintf("it asks for %s through the application: the watchdog restarts it when that is down, which does not mend it", layerName(layer)),
				fmt.Sprintf("the label %s%s=SERVICE, a target of its own (--%s), or --optional %s", dependencyLabel, layer, layer, layer))
		}
	}
	return nil
}

func dependencyNobodyReports(t Target, _ Options) (out []problem) {
	for _, dep := range t.Subjects {
		if !dep.Watched || dep.Health != HealthNone || dep.Kind == FromKubernetes || dep.Labels[reportedBy] != "" {
			continue
		}
		for _, s := range t.Subjects {
			if s.Name == dep.Name || !s.Watched || !s.byCause() || !slices.Contains(s.Hosts, dep.Name) {
				continue
			}
			if slices.ContainsFunc(s.ownProbes(), func(o own) bool { return o.asks(dep.Name) }) {
				out = append(out, problem{service: dep.Name, place: dep.at(dep.healthKey()), message: fmt.Sprintf("it has no healthcheck, so it is not restarted when %s finds it failing", oneLine(s.Name)),
					instead: fmt.Sprintf("a healthcheck, or the label %s=%s", reportedBy, oneLine(s.Name))})
				break
			}
		}
	}
	return out
}
