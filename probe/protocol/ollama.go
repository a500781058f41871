package protocol

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Ollama makes the check for ollama://host[:11434][/MODEL][?gpu=80&loaded=true]:
// it answers, and the model is there; a model without a tag is MODEL:latest.
// gpu= is the percentage of it that must be in the GPU's memory once it is
// loaded; loaded=true wants it to be. ollamas:// is TLS.
func Ollama(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "11434", "api_key", "gpu", "loaded")
	if err != nil {
		return nil, err
	}
	load, err := newOllamaLoad(q)
	if err != nil {
		return nil, err
	}
	if load.asked && s.name == "" {
		return nil, errors.New("gpu= and loaded= are about a model: ollama://host/MODEL?gpu=80")
	}
	s.header("Authorization", "Bearer ", q.Get("api_key"))
	return s.check(func(c *serviceSession) (string, error) {
		if c.name == "" {
			return c.ollamaVersion()
		}
		r, err := c.get("/api/tags")
		if err != nil {
			return "", err
		}
		var doc struct {
			Models []struct {
				Name string `json:"name"`
			} `json:"models"`
		}
		if err := c.decode(r, &doc); err != nil {
			return "", err
		}
		var names []string
		for _, m := range doc.Models {
			names = append(names, m.Name)
		}
		want := c.name
		if !strings.Contains(want[strings.LastIndex(want, "/")+1:], ":") {
			want += ":latest"
		}
		if !slices.Contains(names, want) {
			return "", c.fail(r, probe.StageRequest, fmt.Errorf("no model %q among %s", probe.Cut(want, 80), c.target.Secrets.Quote(strings.Join(names, ", "))))
		}
		text := "model " + want + " is there"
		of, err := c.ollamaLoaded(want, load)
		if of != "" {
			text += ", " + of
		}
		return text, err
	}), nil
}

func (c *serviceSession) ollamaVersion() (string, error) {
	r, err := c.get("/api/version")
	if err != nil {
		return "", err
	}
	var doc struct {
		Version string `json:"version"`
	}
	if err := c.decode(r, &doc); err != nil {
		return "", err
	}
	if doc.Version == "" {
		return "", c.fail(r, probe.StageJSON, errors.New("no version in the answer"))
	}
	return "version " + doc.Version, nil
}
