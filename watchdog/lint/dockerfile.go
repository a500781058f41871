package lint

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"healthcheck/watchdog/recovery"
)

// Image is what a service runs, as far as that can be seen.
type Image struct {
	// Name is the image at the bottom, after variables and stages; empty where
	// it is not known.
	Name string
	// Built says that a Dockerfile adds Steps to it; Steps are its RUN, COPY
	// and ADD lines, those of the stages that it stands on included, and what
	// is mounted.
	Built bool
	Steps []string
}

// build is what a Dockerfile says of the image that it makes.
type build struct {
	Image Image
	// Probe is its HEALTHCHECK; Health is HealthUnseen where it has none, so
	// that its base's counts.
	Probe  Probe
	Health Health
	// Line is that of the HEALTHCHECK, or of the FROM of its stage.
	Line    int
	Command []string
	Env     map[string]string
}

// parseDockerfile reads a Dockerfile for one target stage; the empty target is
// the last one. args are build arguments, which win over an ARG's default.
// external are names that the caller resolves, so that their images are not
// known.
func parseDockerfile(data []byte, target string, args map[string]string, external []string) (build, error) {
	result, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		return build{}, err
	}
	lex := shell.NewLex(result.EscapeToken)
	globals := map[string]string{}
	stages := map[string]build{}
	var cur *build
	var name string
	for _, n := range result.AST.Children {
		words := values(n.Next)
		switch strings.ToLower(n.Value) {
		case "arg":
			for _, w := range words {
				k, v, ok := strings.Cut(w, "=")
				if given, is := args[k]; is {
					v, ok = given, true
				}
				if cur == nil && ok {
					globals[k], _ = expand(lex, v, globals)
				}
			}
		case "from":
			if len(words) == 0 {
				return build{}, errors.New("FROM without an image")
			}
			if cur != nil {
				stages[name] = *cur
				if target != "" && strings.EqualFold(name, target) {
					return *cur, nil
				}
			}
			from, known := expand(lex, words[0], globals)
			base, isStage := stages[strings.ToLower(from)]
			if !isStage {
				base = build{Image: Image{Name: from}, Env: map[string]string{}}
				if !known || slices.Contains(external, from) {
					base.Image.Name = ""
				}
			}
			base.Env = maps.Clone(base.Env)
			base.Image.Steps = slices.Clone(base.Image.Steps)
			base.Image.Built = true
			if base.Health == HealthUnseen {
				base.Line = n.StartLine
			}
			cur, name = &base, fmt.Sprint(len(stages))
			if len(words) == 3 && strings.EqualFold(words[1], "as") {
				name = strings.ToLower(words[2])
			}
		case "healthcheck":
			if cur != nil {
				cur.healthcheck(n, words)
			}
		case "run", "copy", "add":
			if cur != nil {
				step := n.Original
				for _, h := range n.Heredocs {
					step += "\n" + h.Content
				}
				cur.Image.Steps = append(cur.Image.Steps, step)
			}
		case "env":
			// The parser gives name, value and separator in turn.
			for i := 0; cur != nil && i+1 < len(words); i += 3 {
				if v, known := expand(lex, words[i+1], cur.Env); known {
					cur.Env[words[i]] = v
				}
			}
		case "cmd", "entrypoint":
			if cur != nil {
				cur.Command = append(slices.Clone(cur.Command), words...)
			}
		}
	}
	switch {
	case cur == nil:
		return build{}, errors.New("no FROM in it")
	case target != "" && !strings.EqualFold(name, target):
		return build{}, fmt.Errorf("no stage %q in it", target)
	}
	return *cur, nil
}

// expand fills in the variables of a word. It reports false where one of them
// has no value.
func expand(lex *shell.Lex, word string, env map[string]string) (string, bool) {
	r, err := lex.ProcessWordWithMatches(word, environ(env))
	if err != nil {
		return "", false
	}
	return r.Result, len(r.Unmatched) == 0
}

// environ is a map as the library's shell reads it.
type environ map[string]string

func (e environ) Get(k string) (string, bool) { v, ok := e[k]; return v, ok }
func (e environ) Keys() []string              { return slices.Sorted(maps.Keys(e)) }

func values(n *parser.Node) (out []string) {
	for ; n != nil; n = n.Next {
		out = append(out, n.Value)
	}
	return out
}

// healthcheck reads a HEALTHCHECK. What the engine would refuse to build is not
// judged.
func (b *build) healthcheck(n *parser.Node, words []string) {
	if len(words) > 0 && strings.EqualFold(words[0], "none") {
		b.Health, b.Probe, b.Line = HealthNone, Probe{}, n.StartLine
		return
	}
	if len(words) < 2 || !strings.EqualFold(words[0], "cmd") {
		return
	}
	p := defaultProbe()
	p.Test = []string{"CMD-SHELL", strings.Join(words[1:], " ")}
	if n.Attributes["json"] {
		p.Test = append([]string{"CMD"}, words[1:]...)
	}
	for _, flag := range n.Flags {
		name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		d, err := time.ParseDuration(value)
		if name == "retries" {
			if v, ok := wholeNumber(value); ok {
				p.Retries, p.Set["retries"] = v, true
			}
			continue
		}
		if err != nil || d <= 0 {
			continue // 0 is the engine's default
		}
		p.set(map[string]string{"interval": "interval", "timeout": "timeout", "start-period": "start_period", "start-interval": "start_interval"}[name], d)
	}
	b.Health, b.Probe, b.Line = HealthSeen, p, n.StartLine
}

// defaultProbe is a healthcheck with the engine's defaults.
func defaultProbe() Probe {
	return Probe{Key: "healthcheck", Interval: recovery.DefaultInterval, Timeout: recovery.DefaultTimeout, Retries: recovery.DefaultRetries,
		Set: map[string]bool{}, Unknown: map[string]bool{}, Env: map[string]string{}}
}

// set gives one of the probe's durations its value.
func (p *Probe) set(key string, d time.Duration) {
	to := map[string]*time.Duration{"interval": &p.Interval, "timeout": &p.Timeout, "start_period": &p.StartPeriod, "start_interval": &p.StartInterval}[key]
	if to != nil {
		*to, p.Set[key] = d, true
	}
}

// wholeNumber reads a number of retries; 0 is the engine's default.
func wholeNumber(s string) (int, bool) {
	var n int
	_, err := fmt.Sscanf(s, "%d", &n)
	return n, err == nil && n > 0 && n < 1e6
}
