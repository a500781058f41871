package lint

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"
)

// own is what a call of this project's own probe says of itself. Its defaults
// are those of docs/flags.md.
type own struct {
	Interval, Timeout, CheckTimeout time.Duration
	TimeoutSet                      bool
	// Layers are those that run; Optional are checks that only warn.
	Layers, Optional []string
	// Targets are the targets given, by layer.
	Targets map[string][]string
}

// ownFlags are the flags that take a value, those of other layers among them:
// what has others is another program of the same name.
var ownFlags = strings.Fields(`interval timeout check-timeout layers optional base-url api db vector header method expect-status
body body-file http-version expect-header not-body expect-body expect-json ca-cert client-cert client-key server-name min-cert-days
connect-to max-redirects cpu-max mem-max mem-min-free disk-max disk-min-free inode-max pids-max net-errors-max warn-cpu-max warn-mem-max
warn-disk-max warn-inode-max warn-pids-max warn-net-errors-max warn-mem-min-free warn-disk-min-free disk-path cpu-window
state-dir gpu-count gpu-min-free gpu-max-mem gpu-max-util gpu-max-temp gpu-max-ecc output`)

var ownSwitches = strings.Fields("fail-fast proxy insecure host gpu gpu-optional quiet version help")

// ownProbe reads the flags of a call of healthcheck, and its variables. It
// reports false for any other program, and for one of the same name that takes
// other arguments.
func ownProbe(c call, env map[string]string) (own, bool) {
	if c.Name != "healthcheck" || len(c.Words) == 0 {
		return own{}, false
	}
	o := own{Interval: 30 * time.Second, Timeout: 8 * time.Second, CheckTimeout: 5 * time.Second, Layers: []string{"resource", "api", "db", "vector"}, Targets: map[string][]string{}}
	checkSet := false
	set := func(name, value string) {
		d, err := time.ParseDuration(value)
		ok := err == nil && d > 0
		switch {
		case name == "interval" && ok:
			o.Interval = d
		case name == "timeout" && ok:
			o.Timeout, o.TimeoutSet = d, true
		case name == "check-timeout" && ok:
			o.CheckTimeout, checkSet = d, true
		case name == "layers":
			o.Layers = strings.Split(value, ",")
		case name == "optional":
			o.Optional = append(o.Optional, strings.Split(value, ",")...)
		case slices.Contains([]string{"api", "db", "vector"}, name):
			o.Targets[name] = append(o.Targets[name], value)
		}
	}
	for _, name := range ownFlags {
		if v, ok := env["HEALTHCHECK_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]; ok {
			set(name, v)
		}
	}
	seen := map[string]bool{}
	for i := 1; i < len(c.Words); i++ {
		word, ok := strings.CutPrefix(c.Words[i], "--")
		if !ok {
			return own{}, false
		}
		name, value, joined := strings.Cut(word, "=")
		if slices.Contains(ownSwitches, name) {
			continue
		}
		if !slices.Contains(ownFlags, name) {
			return own{}, false
		}
		if !joined {
			if i++; i >= len(c.Words) {
				break
			}
			value = c.Words[i]
		}
		if !seen[name] { // a flag wins over its variable
			seen[name] = true
			delete(o.Targets, name)
			if name == "optional" {
				o.Optional = nil
			}
		}
		set(name, value)
	}
	if o.TimeoutSet && !checkSet {
		o.CheckTimeout = min(o.CheckTimeout, o.Timeout)
	}
	return o, true
}

// cutName takes [NAME=]TARGET apart; a target without a name has an empty one.
func cutName(text string) (name, rest string) {
	if name, rest, ok := strings.Cut(text, "="); ok && !strings.ContainsAny(name, "/:") {
		return name, rest
	}
	return "", text
}

// asks says whether this run of the probe fails when a host does.
func (o own) asks(host string) bool {
	for layer, targets := range o.Targets {
		if !slices.Contains(o.Layers, layer) || slices.Contains(o.Optional, layer) {
			continue
		}
		for _, t := range targets {
			name, t := cutName(t)
			if name != "" && slices.Contains(o.Optional, name) {
				continue
			}
			if u, err := url.Parse(t); err == nil && strings.EqualFold(u.Hostname(), host) {
				return true
			}
		}
	}
	return false
}

// askedThroughApplication names the layer that this run of the probe asks for
// through the application: a failure there names no host, unless a label does.
func (o own) askedThroughApplication(labels map[string]string) string {
	for _, layer := range []string{"db", "vector"} {
		if !slices.Contains(o.Layers, layer) || slices.Contains(o.Optional, layer) || labels[dependencyLabel+layer] != "" {
			continue
		}
		targets := o.Targets[layer]
		if len(targets) == 0 {
			return layer
		}
		for _, t := range targets {
			name, t := cutName(t)
			if name != "" && (slices.Contains(o.Optional, name) || labels[dependencyLabel+name] != "") {
				continue
			}
			if strings.HasPrefix(t, "/") || isLoopback(t) && strings.HasPrefix(t, "http") {
				return layer
			}
		}
	}
	return ""
}

func layerName(layer string) string {
	return map[string]string{"db": "its database", "vector": "its vector store"}[layer]
}

// isLoopback says whether a URL points at the container itself.
func isLoopback(target string) bool {
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return cmp.Or(host, "localhost") == "localhost" || strings.HasPrefix(host, "127.") || host == "::1" || host == "0.0.0.0"
}
