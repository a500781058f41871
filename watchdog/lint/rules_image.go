package lint

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Rules about what an image has to run a probe with.

func noShell(s Subject) (out []problem) {
	for _, p := range s.Probes {
		if len(p.Test) < 2 || !p.knows("test") || !s.Image.lacks("sh") {
			continue
		}
		shell := p.Test[0] == "CMD-SHELL"
		if !shell && (p.Test[0] != "CMD" || !slices.Contains(shellNames, path.Base(p.Test[1]))) {
			continue
		}
		out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("the probe needs a shell, which %s does not have", oneLine(s.Image.Name)), instead: useOwnProbe})
	}
	return out
}

func toolNotInImage(s Subject) (out []problem) {
	for _, p := range s.Probes {
		for _, c := range p.calls() {
			if c.Required && (c.Name == "curl" || c.Name == "wget") && s.Image.lacks(c.Name) && !strings.Contains(strings.Join(s.Command, " "), c.Name) {
				out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("the probe needs %s, which %s does not have", c.Name, oneLine(s.Image.Name)), instead: useOwnProbe})
				break
			}
		}
	}
	return out
}

func cannotRun(s Subject) []problem {
	if s.Observed.CannotRun == "" {
		return nil
	}
	return one("healthcheck.test", fmt.Sprintf("the engine cannot start the probe: %q", s.Observed.CannotRun), useOwnProbe)
}
