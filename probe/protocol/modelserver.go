package protocol

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// modelKind is what one kind of model server has, by its own documentation and
// source.
type modelKind struct {
	scheme, port string
	// health answers 200 once the server is ready; empty: the list of its models
	// tells.
	health string
	// models lists the models as OpenAI's API does, or is /info of one model.
	models  string
	canary  string         // where canary=true asks for one token; empty: nowhere
	metrics *engineMetrics // nil: none that all such servers have
}

// What several kinds have.
const (
	modelsPath     = "/v1/models"
	completionPath = "/v1/completions"
	noFigures      = "its figures are missing on /metrics: "
)

// modelKinds are the kinds, the last of which is any other server with OpenAI's
// API. The versions whose sources were read are in testdata/replies.
var modelKinds = []modelKind{
	// vLLM's engine writes its gauges with each step, and so not where all clients
	// hang up at once. Chunks of a prompt, which the counter leaves out, move the
	// share of the cache that is used.
	{"vllm", "8000", "/health", modelsPath, completionPath, &engineMetrics{engine: "engine", left: true, hint: noFigures + "start vLLM without --disable-log-stats", series: []engineSeries{
		{"vllm:iteration_tokens_total_count", stepRole}, {"vllm:prompt_tokens_total", moveRole}, {"vllm:generation_tokens_total", moveRole},
		{"vllm:kv_cache_usage_perc", moveRole}, {"vllm:gpu_cache_usage_perc", moveRole},
		{"vllm:num_requests_running", pendingRole}, {"vllm:num_requests_waiting", pendingRole},
	}}},
	// SGLang counts a request before its body has come, which may never do.
	{"sglang", "30000", "/health", modelsPath, completionPath, &engineMetrics{engine: "dp_rank", left: true, hint: noFigures + "start SGLang with --enable-metrics", series: []engineSeries{
		{"sglang:realtime_tokens_total", stepRole}, {"sglang:prompt_tokens_total", moveRole}, {"sglang:generation_tokens_total", moveRole},
		{"sglang:token_usage", moveRole}, {"sglang:num_running_reqs", pendingRole}, {"sglang:num_queue_reqs", pendingRole},
		{"sglang:http_requests_total", begunRole}, {"sglang:http_responses_total", endedRole},
	}, endpoints: []string{"/v1/chat/completions", completionPath, "/generate", "/v1/embeddings"}}},
	{"llamacpp", "8080", "/health", modelsPath, completionPath, &engineMetrics{loop: true, hint: noFigures + "start llama-server with --metrics", series: []engineSeries{
		{"llamacpp:n_decode_total", stepRole}, {"llamacpp:prompt_tokens_total", moveRole}, {"llamacpp:tokens_predicted_total", moveRole},
		{"llamacpp:requests_processing", pendingRole}, {"llamacpp:requests_deferred", pendingRole},
	}}},
	{"triton", "8000", "/v2/health/ready", "", "", &engineMetrics{late: true, engine: "model", hint: noFigures + "Triton has them on metrics_port= (8002), unless it was told --allow-metrics=false", series: []engineSeries{
		{"nv_inference_exec_count", stepRole}, {"nv_inference_request_success", moveRole}, {"nv_inference_request_failure", moveRole},
		{"nv_inference_pending_request_count", pendingRole},
	}}},
	// A call of TGI's shards has begun and not ended while they compute, or hang.
	{"tgi", "80", "/health", "/info", "/generate", &engineMetrics{late: true, hint: noFigures + "is this TGI?", series: []engineSeries{
		{"tgi_batch_inference_success", stepRole | doneRole}, {"tgi_batch_inference_failure", moveRole | doneRole},
		{"tgi_batch_inference_count", pendingRole}, {"tgi_queue_size", pendingRole},
	}}},
	{"tei", "80", "/health", "/info", "/embed", &engineMetrics{late: true, hint: noFigures + "is this TEI?", series: []engineSeries{
		{"te_embed_success", stepRole}, {"te_predict_success", moveRole}, {"te_request_failure", moveRole}, {"te_batch_next_size_count", moveRole},
		{"te_queue_size", pendingRole},
	}}},
	{"openai", "80", "", modelsPath, completionPath, nil},
}

// ModelServer makes the check for vllm://host[:8000][/MODEL][?api_key=&stall=120s&canary=true]
// and likewise sglang, llamacpp, triton, tgi, tei and openai, which is any
// server with OpenAI's API: it is ready, the model is there, its engine makes
// progress while work is pending (stall=), and one token comes (canary=). An s
// at the end of the scheme is TLS.
func ModelServer(t target.Target, o Options) (probe.Func, error) {
	kind := &modelKinds[0]
	for i := range modelKinds {
		if modelKinds[i].scheme == strings.TrimSuffix(t.URL.Scheme, "s") {
			kind = &modelKinds[i]
		}
	}
	port := kind.port
	if kind.metrics == nil && t.URL.Scheme != kind.scheme {
		port = "443"
	}
	params := []string{"api_key", "canary", "stall", "metrics_port"}
	switch {
	case kind.metrics == nil:
		params = params[:2]
	case kind.models != "":
		params = params[:3]
	}
	s, q, err := newService(t, o, port, params...)
	if err != nil {
		return nil, err
	}
	s.header("Authorization", "Bearer ", q.Get("api_key"))
	p, err := newProgress(s, q, o, kind)
	if err != nil {
		return nil, err
	}
	canary, err := kind.canaryOf(q)
	if err != nil {
		return nil, err
	}
	return s.check(func(c *serviceSession) (string, error) {
		text, model, err := c.modelIsThere(kind)
		if err != nil {
			if se, ok := errors.AsType[*probe.StageError](err); ok && (se.Class == probe.Starting || se.Stage == probe.StageConnect) {
				p.forget() // it begins anew
			}
			return "", err
		}
		var ask func() (string, error)
		asked := false
		if canary != "" {
			ask = func() (string, error) {
				asked = true
				return c.askCanary(kind.scheme, canary, model)
			}
		}
		said, busy, err := p.judge(c, ask)
		if err != nil {
			return "", err
		}
		if said != "" {
			text += ", " + said
		}
		switch {
		case ask == nil || asked:
			return text, nil
		case busy:
			return text + ", no canary: it is not idle", nil
		}
		said, err = ask()
		return text + ", " + said, err
	}), nil
}

// defaultStall is a variable for the tests alone.
var defaultStall = 120 * time.Second

// newProgress reads stall= and metrics_port=.
func newProgress(s *service, q url.Values, o Options, kind *modelKind) (*progress, error) {
	p := &progress{engineMetrics: kind.metrics, service: s, asked: q.Has("stall"), withKey: q.Get("api_key") != ""}
	if kind.metrics == nil {
		return p, nil
	}
	const maxIntervals = 10 // as old as a sample of the CPU may be
	if o.Kept != nil {
		p.kept, p.container, p.gap = o.Kept(), o.Container, maxIntervals*o.Interval
	}
	p.stall = defaultStall
	if text := q.Get("stall"); p.asked {
		var err error
		if p.stall, err = time.ParseDuration(text); err != nil || p.stall < 0 {
			return nil, fmt.Errorf("stall=%q: want how long no step may come while work is pending, such as 120s, or 0", probe.Cut(text, 20))
		}
	}
	if kind.models != "" {
		return p, nil
	}
	port := q.Get("metrics_port")
	if port == "" {
		port = "8002"
	}
	if !target.ValidPort(port) {
		return nil, errors.New("metrics_port is not between 1 and 65535")
	}
	p.only, _, _ = strings.Cut(s.name, "/")
	p.at = s.onPort(port)
	p.at.Scheme = "http" // Triton's page of metrics knows no TLS
	return p, nil
}

// modelIsThere asks whether the server is ready and has the model, or, where
// none is named, which one it has.
func (c *serviceSession) modelIsThere(kind *modelKind) (text, model string, err error) {
	text = "ready"
	if kind.health != "" {
		begin := time.Now()
		r, err := c.ask(kind.health, nil)
		if err != nil {
			return "", "", err
		}
		switch err := c.wantOK(r); {
		case err == nil:
		case kind.scheme == "triton" && r.status == statusBadRequest:
			return "", "", c.tritonUnready(r)
		case kind.scheme == "sglang" && r.status == statusUnavailable && len(r.body) == 0 && time.Since(begin) < sglangPatience:
			return "", "", probe.WithClass(err, probe.Starting)
		default:
			return "", "", err
		}
	}
	if kind.scheme == "triton" {
		model, err = c.tritonModel()
		if model != "" {
			text += ", model " + model
		}
		return text, model, err
	}
	names, r, err := c.modelNames(kind.models)
	if err != nil {
		return "", "", err
	}
	switch {
	case c.name == "" && len(names) == 0:
		return text + ", no model", "", nil
	case c.name == "":
		return text + ", model " + probe.Cut(names[0], 80), names[0], nil
	}
	for _, name := range names {
		if isModel(name, c.name) {
			return text + ", model " + probe.Cut(c.name, 80), name, nil
		}
	}
	return "", "", c.fail(r, probe.StageRequest, fmt.Errorf("no model %q among %s", probe.Cut(c.name, 80), c.target.Secrets.Quote(strings.Join(names, ", "))))
}

// sglangPatience is how long SGLang waits for its own engine before it calls
// itself unhealthy: a 503 without a word that comes sooner says that it starts.
const sglangPatience = 15 * time.Second

// modelNames are the models that a server has.
func (c *serviceSession) modelNames(path string) (names []string, r serviceReply, err error) {
	if r, err = c.get(path); err != nil {
		return nil, r, err
	}
	var doc struct {
		Data   []struct{ ID string }
		ID     string `json:"model_id"`
		Served string `json:"served_model_name"`
	}
	if err := c.decode(r, &doc); err != nil {
		return nil, r, err
	}
	for _, m := range doc.Data {
		names = append(names, m.ID)
	}
	for _, name := range []string{doc.ID, doc.Served} {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 && doc.Data == nil {
		return nil, r, c.fail(r, probe.StageJSON, fmt.Errorf("no models in the answer: %s", c.target.Secrets.Quote(string(r.body))))
	}
	return names, r, nil
}

// isModel says whether a server's model is the one that a target names. Some
// servers call a model by the path of its file, for which the file's name does.
func isModel(name, want string) bool {
	if strings.Trim(name, "/") == want {
		return true
	}
	isPath := strings.HasPrefix(name, "/") || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".gguf")
	return isPath && name[strings.LastIndex(name, "/")+1:] == want
}
