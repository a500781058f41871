package protocol

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// canaryPaths are where one token, or one embedding, can be asked for.
const canaryPaths = "/v1/completions, /v1/chat/completions, /v1/embeddings, /completion (llama.cpp), /generate (SGLang, TGI), /embed and /predict (TEI), /v2/models/NAME/generate (Triton)"

// canaryOf reads canary=: true, or the path to ask; empty for no canary.
func (k *modelKind) canaryOf(q url.Values) (path string, err error) {
	text := q.Get("canary")
	if strings.HasPrefix(text, "/") {
		if canaryBody(k.scheme, text, "") == nil {
			return "", &target.Misuse{Problem: "canary= has a path of which nobody knows what to ask there", Hint: "the paths are " + canaryPaths + "; any other request is an http:// target's: #send={…}"}
		}
		return text, nil
	}
	on, err := switchParam("canary", text)
	if err != nil || !on {
		return "", err
	}
	if k.canary == "" {
		return "", &target.Misuse{Problem: "canary=true: each of Triton's models wants inputs of its own", Hint: "canary=/v2/models/NAME/generate asks a model with text_input, as those of the backends for language models are"}
	}
	return k.canary, nil
}

// canaries ask for as little as a path can give: that path or, behind a *, all
// that end so. Their bodies lack the brace that begins them.
var canaries = []struct{ scheme, path, body string }{
	{"", "*/chat/completions", `"messages":[{"role":"user","content":"hi"}],"max_tokens":1}`},
	{"", "*/completions", `"prompt":"hi","max_tokens":1}`},
	{"", "*/embeddings", `"input":"hi"}`},
	{"llamacpp", "/completion", `"prompt":"hi","n_predict":1}`},
	{"tei", "/embed", `"inputs":"hi"}`},
	{"tei", "/predict", `"inputs":"hi"}`},
	{"tgi", "/generate", `"inputs":"hi","parameters":{"max_new_tokens":1}}`},
	{"sglang", "/generate", `"text":"hi","sampling_params":{"max_new_tokens":1}}`},
	{"triton", "*/generate", `"text_input":"hi","max_tokens":1}`},
}

// canaryBody is what to ask a path; nil for one that is not known.
func canaryBody(scheme, path, model string) []byte {
	for _, c := range canaries {
		end, any := strings.CutPrefix(c.path, "*")
		if (c.scheme == "" || c.scheme == scheme) && (path == end || any && strings.HasSuffix(path, end)) {
			if model == "" || c.scheme != "" {
				return []byte("{" + c.body)
			}
			name, _ := json.Marshal(model)
			return []byte(`{"model":` + string(name) + "," + c.body)
		}
	}
	return nil
}

// askCanary asks for one token: a server that is idle gives it, one that hangs does
// not.
func (c *serviceSession) askCanary(scheme, path, model string) (string, error) {
	begin := time.Now()
	r, err := c.ask(path, canaryBody(scheme, path, model))
	if err != nil {
		return "", err
	}
	switch r.status {
	case statusOK:
		if !json.Valid(r.body) {
			return "", c.fail(r, probe.StageJSON, fmt.Errorf("not the answer of such a server: %s", c.target.Secrets.Quote(string(r.body))))
		}
		return fmt.Sprintf("canary answered in %s", probe.Round(time.Since(begin))), nil
	case statusTooMany:
		c.warn = true
		return "canary refused with status 429: too busy", nil
	case statusBadRequest, statusNotFound, statusMethodNotAllowed, statusUnprocessable:
		return "", probe.WithClass(c.wantOK(r), probe.Config)
	}
	return "", c.wantOK(r)
}
