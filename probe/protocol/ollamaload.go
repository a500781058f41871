package protocol

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"healthcheck/probe"
)

// ollamaLoad is what a target wants of a model that is loaded.
type ollamaLoad struct {
	// share is the percentage of it that must be in the GPU's memory.
	share float64
	// asked says that one of gpu= and loaded= was given; ignored that the GPU
	// does not matter (gpu=off).
	asked, ignored bool
	loaded         bool
}

func newOllamaLoad(q url.Values) (l ollamaLoad, err error) {
	l.asked = q.Has("gpu") || q.Has("loaded")
	if l.loaded, err = switchParam("loaded", q.Get("loaded")); err != nil || !q.Has("gpu") {
		return l, err
	}
	text := q.Get("gpu")
	if l.ignored = strings.EqualFold(text, "off"); l.ignored {
		return l, nil
	}
	if l.share, err = strconv.ParseFloat(text, 64); err != nil || !(l.share > 0 && l.share <= 100) {
		return l, fmt.Errorf("gpu=%q: want the percentage of the model that must be in the GPU's memory, such as 80, or off", probe.Cut(text, 20))
	}
	return l, nil
}

// ollamaLoaded asks where the model is loaded. Without a GPU, or without room
// on it, Ollama runs a model on the CPU, ten times as slow, and says so nowhere
// else.
func (c *serviceSession) ollamaLoaded(model string, want ollamaLoad) (string, error) {
	r, err := c.ask("/api/ps", nil)
	if err != nil {
		return "", err
	}
	if r.status == statusNotFound && !want.asked {
		return "", nil // Ollama before 0.1.38
	}
	if err := c.wantOK(r); err != nil {
		return "", err
	}
	var doc struct {
		Models []struct {
			Name string  `json:"name"`
			Size float64 `json:"size"`
			VRAM float64 `json:"size_vram"`
		} `json:"models"`
	}
	if err := c.decode(r, &doc); err != nil {
		return "", err
	}
	for _, m := range doc.Models {
		if m.Name != model || m.Size <= 0 {
			continue
		}
		share := 100 * m.VRAM / m.Size
		text := fmt.Sprintf("%.0f%% of it in the GPU's memory", share)
		switch {
		case want.share > 0 && share < want.share:
			return "", c.fail(r, probe.StageLimit, fmt.Errorf("model %q has %s, want %g%%: the rest runs on the CPU", probe.Cut(model, 80), text, want.share))
		case share <= 0 && want.share == 0 && !want.ignored:
			c.warn = true
			text = "runs on the CPU: none of it is in a GPU's memory (gpu=off, where that is meant)"
		}
		return "loaded, " + text, nil
	}
	if want.loaded {
		return "", probe.WithClass(c.fail(r, probe.StageStatus, fmt.Errorf("model %q is not loaded (loaded=)", probe.Cut(model, 80))), probe.Starting)
	}
	return "not loaded", nil
}
