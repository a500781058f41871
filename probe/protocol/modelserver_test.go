package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/kept"
)

// recordedBody is the body of a recorded reply.
func recordedBody(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../testdata/replies/" + name + ".http")
	must(t, err)
	_, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	return string(body)
}

// modelServer is ready, has the models that its kind lists, and a page of
// metrics that the test says.
type modelServer struct {
	addr    string
	page    atomic.Value // string
	down    atomic.Bool  // it refuses and loads
	status  atomic.Int32 // of the page
	silent  atomic.Bool  // the page never comes
	canary  atomic.Int32 // the status of its answer to one, or -1 for none
	options Options
}

func newModelServer(t *testing.T, page string) *modelServer {
	s := &modelServer{}
	s.page.Store(page)
	s.status.Store(200)
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.down.Load():
			w.WriteHeader(503)
			io.WriteString(w, "Loading model")
		case r.URL.Path == "/metrics" && s.silent.Load():
			<-release
		case r.URL.Path == "/metrics":
			w.WriteHeader(int(s.status.Load()))
			io.WriteString(w, s.page.Load().(string))
		case r.URL.Path == completionPath && s.canary.Load() < 0:
			panic(http.ErrAbortHandler)
		case r.URL.Path == completionPath:
			w.WriteHeader(int(s.canary.Load()))
			io.WriteString(w, "{}")
		case r.URL.Path == "/v1/models":
			io.WriteString(w, `{"data":[{"id":"m"}]}`)
		case r.URL.Path == "/info":
			io.WriteString(w, `{"model_id":"m"}`)
		}
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	s.addr = strings.TrimPrefix(srv.URL, "http://")
	s.options = testOptions(t)
	dir := t.TempDir()
	s.options.Kept = func() kept.Dir { return kept.Dir{Path: dir} }
	s.options.Container = func() string { return "c" }
	s.options.Interval = time.Hour
	return s
}

// probe runs one probe; @ is the server's address, PORT its port.
func (s *modelServer) probe(t *testing.T, text string, limit time.Duration) (probe.Finding, error) {
	t.Helper()
	_, port, _ := strings.Cut(s.addr, ":")
	return probeWith(t, ModelServer, strings.Replace(strings.Replace(text, "@", s.addr, 1), "PORT", port, 1), s.options, limit)
}

func wantHealthy(t *testing.T, f probe.Finding, err error, parts ...string) {
	t.Helper()
	if err != nil || f.Status == probe.Warn {
		t.Fatalf("%q %q, %v", f.Status, f.Message, err)
	}
	for _, part := range parts {
		if !strings.Contains(f.Message, part) {
			t.Fatalf("%q, want %q", f.Message, part)
		}
	}
}

func wantWarning(t *testing.T, f probe.Finding, err error, parts ...string) {
	t.Helper()
	if err != nil || f.Status != probe.Warn {
		t.Fatalf("%q %q, %v, want a warning", f.Status, f.Message, err)
	}
	f.Status = ""
	wantHealthy(t, f, err, parts...)
}

// Every kind: what is pending and does not move fails at the second probe, one
// step makes it healthy, and with nothing pending it never fails. A nanosecond
// has always passed between two probes.
func TestProgressOfEveryKind(t *testing.T) {
	for scheme, c := range map[string]struct{ recorded, step, stepped, pending, idle, says string }{
		"vllm":     {"vllm/metrics", "_count{engine=\"0\",model_name=\"Qwen/Qwen3-8B\"} 4812.0", "_count{engine=\"0\",model_name=\"Qwen/Qwen3-8B\"} 4813.0", "3.0\n# HELP vllm:num_requests_waiting of vLLM\n# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{engine=\"0\",model_name=\"Qwen/Qwen3-8B\"} 2.0", "0.0\nvllm:num_requests_waiting{engine=\"0\"} 0.0", `vllm:iteration_tokens_total_count of engine "0" stands at 4812 with 5 pending`},
		"sglang":   {"sglang/metrics", "340.0", "341.0", "} 2.0\n", "} 0.0\n", "sglang:realtime_tokens_total stands at 1540 with 2 pending"},
		"llamacpp": {"llamacpp/metrics", "llamacpp:n_decode_total 655", "llamacpp:n_decode_total 656", "requests_processing 1\n# HELP llamacpp:requests_deferred Number of requests deferred.\n# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_deferred 4", "requests_processing 0", "llamacpp:n_decode_total stands at 655 with 5 pending"},
		"triton":   {"triton/metrics", `nv_inference_exec_count{model="llama",version="1"} 7`, `nv_inference_exec_count{model="llama",version="1"} 8`, "} 9\n", "} 0\n", `nv_inference_exec_count of model "llama" stands at 7 with 9 pending`},
		"tgi":      {"tgi/metrics", "tgi_batch_inference_success{method=\"decode\"} 300", "tgi_batch_inference_success{method=\"decode\"} 301", "tgi_batch_inference_count{method=\"prefill\"} 12\ntgi_batch_inference_count{method=\"decode\"} 301\n\n# TYPE tgi_batch_inference_success counter\ntgi_batch_inference_success{method=\"prefill\"} 11\ntgi_batch_inference_success{method=\"decode\"} 300\n\n# TYPE tgi_batch_inference_failure counter\ntgi_batch_inference_failure{method=\"decode\"} 1\n\n# TYPE tgi_request_count counter\ntgi_request_count 15\n\n# TYPE tgi_queue_size gauge\ntgi_queue_size 2", "tgi_batch_inference_count 12\ntgi_batch_inference_success 11\ntgi_batch_inference_failure 1\ntgi_queue_size 0", "tgi_batch_inference_success stands at 311 with 3 pending"},
		"tei":      {"tei/metrics", "te_embed_success 8", "te_embed_success 9", "te_queue_size 1", "te_queue_size 0", "te_embed_success stands at 8 with 1 pending"},
	} {
		page := recordedBody(t, c.recorded)
		target := scheme + "://@"
		if scheme == "triton" {
			target += "?metrics_port=PORT&stall=1ns"
		} else {
			target += "?stall=1ns"
		}
		if !strings.Contains(page, c.step) || !strings.Contains(page, c.pending) {
			t.Fatalf("%s: the page has no %q or no %q", scheme, c.step, c.pending)
		}
		s := newModelServer(t, page)
		f, err := s.probe(t, target, patience)
		wantHealthy(t, f, err, "ready", " pending")
		_, err = s.probe(t, target, patience)
		wantFailure(t, err, probe.StageLimit, "GET /metrics: no step for ", ", over 2 probes (stall=1ns): "+c.says)
		s.page.Store(strings.Replace(page, c.step, c.stepped, 1))
		f, err = s.probe(t, target, patience)
		wantHealthy(t, f, err, " pending")
		s.page.Store(strings.Replace(page, c.pending, c.idle, 1))
		for range 3 {
			f, err = s.probe(t, target, patience)
			wantHealthy(t, f, err, ", 0 pending")
		}
		// The same, within the time that is given.
		s.page.Store(page)
		for range 3 {
			f, err = s.probe(t, strings.Replace(target, "1ns", "1h", 1), patience)
			wantHealthy(t, f, err)
		}
		if !strings.Contains(f.Message, "no step for ") || !strings.Contains(f.Message, "over 3 probes (stall=1h0m0s)") {
			t.Errorf("%s: %s", scheme, f.Message)
		}
	}
}

// A server whose clients hung up at once goes on telling of them: that fails
// nothing unless stall= asked for it, and a canary settles it.
func TestPendingThatNobodyWaitsFor(t *testing.T) {
	defaultStall = 1
	t.Cleanup(func() { defaultStall = 120 * time.Second })
	const one = "vllm:iteration_tokens_total_count{engine=\"0\"} 7\nvllm:num_requests_running{engine=\"0\"} 121\n"
	const two = one + "vllm:iteration_tokens_total_count{engine=\"1\"} 9\n"
	const sglang = "sglang:realtime_tokens_total 7\nsglang:http_requests_total{endpoint=\"/generate\"} 9\nsglang:http_responses_total{endpoint=\"/generate\"} 8\n"
	const llamacpp = "llamacpp:n_decode_total 7\nllamacpp:requests_processing 1\n"
	const dies = -1
	for _, c := range []struct {
		target, page string
		canary       int
		says         string
		want         any // "", probe.Warn, or the class of a failure
	}{
		{"vllm://@", one, dies, "with 121 pending; it hangs, or their clients hung up: canary=true tells which", probe.Warn},
		{"vllm://@", two, dies, "with 121 pending; it hangs, or their clients hung up: a stall= in the target fails then", probe.Warn},
		{"vllm://@?stall=1ns", one, dies, "with 121 pending", probe.Self},
		{"vllm://@?canary=true", one, 200, "with 121 pending, which nobody waits for any more: canary answered in ", probe.Status("")},
		{"vllm://@?canary=true&stall=1ns", one, 200, "with 121 pending, which nobody waits for any more: canary answered in ", probe.Status("")},
		{"vllm://@?canary=true", two, 200, "with 121 pending; it hangs, or their clients hung up: canary answered in ", probe.Warn},
		{"vllm://@?canary=true&stall=1ns", two, 200, "with 121 pending", probe.Self},
		{"vllm://@?canary=true", one, dies, "with 121 pending, and the canary has no answer", probe.Self},
		{"vllm://@?canary=true", one, 429, "their clients hung up: canary refused with status 429: too busy", probe.Warn},
		{"vllm://@?canary=true&stall=1ns", one, 429, "with 121 pending", probe.Self},
		{"vllm://@?canary=true", one, 500, "POST /v1/completions: status 500", probe.Self},
		{"vllm://@?canary=true", one, 404, "POST /v1/completions: status 404", probe.Config},
		{"sglang://@", sglang, dies, "with 1 pending; it hangs, or their clients hung up: canary=true tells which", probe.Warn},
		{"sglang://@?canary=true", sglang, 200, "with 1 pending, which nobody waits for any more", probe.Status("")},
		// Its own loop says what is pending as it writes the page.
		{"llamacpp://@", llamacpp, dies, "with 1 pending", probe.Self},
		{"llamacpp://@?canary=true", llamacpp, 200, "with 1 pending", probe.Self},
	} {
		s := newModelServer(t, strings.Replace(c.page, "} 9\nsglang", "} 8\nsglang", 1))
		s.canary.Store(200)
		f, err := s.probe(t, c.target, patience)
		wantHealthy(t, f, err)
		s.page.Store(c.page)
		if strings.HasPrefix(c.target, "sglang") { // it has begun since the last step
			f, err = s.probe(t, c.target, patience)
			wantHealthy(t, f, err)
		}
		s.canary.Store(int32(c.canary))
		result := s.result(t, c.target)
		if n := strings.Count(result.Message, "canary "); n > 1 {
			t.Errorf("%s: %d canaries: %s", c.target, n, result.Message)
		}
		switch want := c.want.(type) {
		case probe.Class:
			if result.Status != probe.Fail || result.Cause.Class != want || !strings.Contains(result.Message, c.says) {
				t.Errorf("%s, canary %d: %s %s %q, want %s %q", c.target, c.canary, result.Status, result.Cause.Class, result.Message, want, c.says)
			}
		case probe.Status:
			if want == "" {
				want = probe.OK
			}
			if result.Status != want || !strings.Contains(result.Message, c.says) {
				t.Errorf("%s, canary %d: %s %q, want %s %q", c.target, c.canary, result.Status, result.Message, want, c.says)
			}
		}
	}
}

// What stands in the way of a judgement is said, and fails nothing unless
// stall= asked for that.
func TestProgressThatCannotBeJudged(t *testing.T) {
	page := recordedBody(t, "llamacpp/metrics")
	s := newModelServer(t, page)
	s.status.Store(501)
	f, err := s.probe(t, "llamacpp://@", patience)
	wantHealthy(t, f, err, "progress is not judged: its figures are missing on /metrics: start llama-server with --metrics")
	_, err = s.probe(t, "llamacpp://@?stall=60s", patience)
	wantFailure(t, err, probe.StageStatus, "start llama-server with --metrics")
	if c := causeWith(t, s, "llamacpp://@?stall=60s"); c != probe.Config {
		t.Errorf("class %s", c)
	}
	s.status.Store(401)
	f, err = s.probe(t, "llamacpp://@", patience)
	wantHealthy(t, f, err, "not judged")
	_, err = s.probe(t, "llamacpp://@?api_key=hunter2hunter2", patience)
	wantFailure(t, err, probe.StageAuth, "GET /metrics: status 401")
	s.status.Store(200)
	s.page.Store("up 1\n")
	f, err = s.probe(t, "vllm://@", patience)
	wantHealthy(t, f, err, "start vLLM without --disable-log-stats")
	_, err = s.probe(t, "vllm://@?stall=60s", patience)
	wantFailure(t, err, probe.StageStatus, "start vLLM without --disable-log-stats")
	f, err = s.probe(t, "tgi://@?stall=60s", patience)
	wantHealthy(t, f, err, "no figures yet")
	s.page.Store(page)
	for dir, says := range map[string]string{"": "nothing is kept between runs (--state-dir none)", t.TempDir() + "/none": "no such file or directory"} {
		s.options.Kept = func() kept.Dir { return kept.Dir{Path: dir} }
		f, err = s.probe(t, "llamacpp://@", patience)
		wantHealthy(t, f, err, "progress is not judged: ", says)
		_, err = s.probe(t, "llamacpp://@?stall=1ns", patience)
		wantFailure(t, err, probe.StageStatus, "progress is not judged: ", says, "stall= asks for that")
		if c := causeWith(t, s, "llamacpp://@?stall=1ns"); c != probe.Config {
			t.Errorf("class %s", c)
		}
		f, err = s.probe(t, "llamacpp://@?stall=0", patience)
		wantHealthy(t, f, err)
	}
	// A disk that is full, for whoever writes there.
	s.options.Kept = func() kept.Dir { return kept.Dir{Path: "/dev/full"} }
	_, err = s.probe(t, "llamacpp://@?stall=1ns", patience)
	wantFailure(t, err, probe.StageStatus, "progress is not judged: ")
}

// causeWith is the class of a failure.
func causeWith(t *testing.T, s *modelServer, text string) probe.Class {
	t.Helper()
	return s.result(t, text).Cause.Class
}

// result is what a run of one probe says.
func (s *modelServer) result(t *testing.T, text string) probe.Result {
	t.Helper()
	return probe.Run(t.Context(), []probe.Check{{Name: "m", Run: func(context.Context) (probe.Finding, error) { return s.probe(t, text, patience) }, Cause: probe.FailureCause{Class: probe.Self}}}, probe.Options{CheckTimeout: 2 * patience})[0]
}

// A page that never comes takes half of the time, and is a warning. Where
// llama.cpp's own loop does not write it for as long as stall= says, that loop
// hangs.
func TestPageThatNeverComes(t *testing.T) {
	s := newModelServer(t, recordedBody(t, "llamacpp/metrics"))
	s.silent.Store(true)
	const limit = 300 * time.Millisecond
	for _, target := range []string{"llamacpp://@", "vllm://@", "vllm://@?stall=1ns"} {
		for range 2 {
			f, err := s.probe(t, target, limit)
			if err != nil || f.Status != probe.Warn || !strings.Contains(f.Message, "GET /metrics: no answer within ") {
				t.Errorf("%s: %q %q, %v", target, f.Status, f.Message, err)
			}
		}
	}
	if _, err := s.probe(t, "llamacpp://@?stall=1ns", limit); err != nil {
		t.Errorf("one probe: %v", err)
	}
	_, err := s.probe(t, "llamacpp://@?stall=1ns", limit)
	wantFailure(t, err, probe.StageLimit, "no answer for ", "over 2 probes (stall=1ns): the loop that decodes writes this page")
	s.silent.Store(false)
	f, err := s.probe(t, "llamacpp://@?stall=1ns", patience)
	wantHealthy(t, f, err, "llamacpp:n_decode_total is 655, 5 pending")
}

// A server that loads begins anew: what was seen of it before tells nothing,
// though its counter stands where it stood.
func TestServerThatWasRestarted(t *testing.T) {
	s := newModelServer(t, "llamacpp:n_decode_total 0\nllamacpp:requests_processing 1\n")
	f, err := s.probe(t, "llamacpp://@?stall=1ns", patience)
	wantHealthy(t, f, err, "is 0, 1 pending")
	if strings.Contains(f.Message, "--interval") {
		t.Error(f.Message)
	}
	s.down.Store(true)
	if c := causeWith(t, s, "llamacpp://@?stall=1ns"); c != probe.Starting {
		t.Errorf("class %s", c)
	}
	s.down.Store(false)
	f, err = s.probe(t, "llamacpp://@?stall=1ns", patience)
	wantHealthy(t, f, err, "is 0, 1 pending")
	_, err = s.probe(t, "llamacpp://@?stall=1ns", patience)
	wantFailure(t, err, probe.StageLimit, "stands at 0 with 1 pending")
	// Another target's, another container's and an old sample are no sample.
	f, err = s.probe(t, "llamacpp://@/m?stall=1ns", patience)
	wantHealthy(t, f, err, "is 0, 1 pending")
	s.options.Interval = 0
	f, err = s.probe(t, "llamacpp://@?stall=1ns", patience)
	wantHealthy(t, f, err, "is 0, 1 pending, and no probe came within the last ten of its --interval")
	s.options.Interval = time.Hour
	s.options.Container = func() string { return "another" }
	f, err = s.probe(t, "llamacpp://@?stall=1ns", patience)
	wantHealthy(t, f, err, "is 0, 1 pending")
}

// Hostile pages: bounded, and what they say is quoted.
func TestHostilePages(t *testing.T) {
	s := newModelServer(t, strings.Repeat("# filler\n", maxPage/9+1)+"llamacpp:n_decode_total 1\n")
	f, err := s.probe(t, "llamacpp://@", patience)
	wantWarning(t, f, err, "progress is not judged: ", "the page is larger than 16777216 bytes")
	f, err = s.probe(t, "llamacpp://@?stall=1ns", patience)
	wantWarning(t, f, err, "progress is not judged: ", "the page is larger than 16777216 bytes")
	s.page.Store("vllm:iteration_tokens_total_count{engine=\"\x1b[31m\u202e\"} 1e300\nvllm:num_requests_running{engine=\"\x1b[31m\u202e\"} 1e308\n")
	for range 2 {
		_, err = s.probe(t, "vllm://@?stall=1ns", patience)
	}
	wantFailure(t, err, probe.StageLimit, `of engine "\x1b[31m\u202e" stands at 1e+300 with 1e+308 pending`)
	var many strings.Builder
	for i := range 200 {
		fmt.Fprintf(&many, "vllm:num_requests_running{engine=\"%d\"} 1\n", i)
	}
	s.page.Store(many.String())
	f, err = s.probe(t, "vllm://@", patience)
	wantWarning(t, f, err, "progress is not judged: ", "it tells of 100 engines or more")
	// Two figures that are one too large for JSON.
	s.page.Store("vllm:iteration_tokens_total_count 1e308\nvllm:iteration_tokens_total_count 1e308\n")
	f, err = s.probe(t, "vllm://@", patience)
	wantHealthy(t, f, err, "progress is not judged: json: unsupported value")
}

// A target that names one of Triton's models is judged by that alone.
func TestProgressOfOneModel(t *testing.T) {
	s := newModelServer(t, recordedBody(t, "triton/metrics"))
	for range 3 {
		f, err := s.probe(t, "triton://@/bert/1?metrics_port=PORT&stall=1ns", patience)
		wantHealthy(t, f, err, "ready, model bert/1, nv_inference_exec_count is 31, 0 pending")
	}
	for _, target := range []string{"triton://@/llama?metrics_port=PORT&stall=1ns", "triton://@?metrics_port=PORT&stall=1ns"} {
		f, err := s.probe(t, target, patience)
		wantHealthy(t, f, err, "9 pending")
		_, err = s.probe(t, target, patience)
		wantFailure(t, err, probe.StageLimit, `nv_inference_exec_count of model "llama" stands at 7 with 9 pending`)
	}
}

// Ports that know no TLS, of servers that are asked by TLS, get no credentials.
func TestNothingSecretGoesInTheClear(t *testing.T) {
	var mu sync.Mutex
	var seen []http.Header
	note := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header)
		io.WriteString(w, recordedBody(t, "triton/metrics"))
	}
	clear := httptest.NewServer(http.HandlerFunc(note))
	defer clear.Close()
	triton := httptest.NewTLSServer(http.HandlerFunc(note))
	defer triton.Close()
	addr := strings.TrimPrefix(clear.URL, "http://")
	_, port, _ := strings.Cut(addr, ":")
	o := testOptions(t)
	dir := t.TempDir()
	o.Kept, o.Container = func() kept.Dir { return kept.Dir{Path: dir} }, func() string { return "c" }
	f, err := probeWith(t, ModelServer, "tritons"+strings.TrimPrefix(triton.URL, "https")+"?api_key=hunter2hunter2&metrics_port="+port+"#insecure,header=X-Key: hunter2hunter2,header=X-Request-Id: 7", o, patience)
	wantHealthy(t, f, err, "9 pending")
	if len(seen) != 2 || seen[0].Get("Authorization") != "Bearer hunter2hunter2" || seen[0].Get("X-Key") == "" {
		t.Fatalf("by TLS: %v", seen)
	}
	_, err = probeWith(t, Milvus, "milvuss://u:hunter2hunter2@milvus.example:9091?token=hunter2hunter2&components=true#header=X-Request-Id: 7,connect-to="+addr, o, patience)
	if err == nil || len(seen) != 3 {
		t.Fatalf("%v, %v", seen, err)
	}
	for _, h := range seen[1:] {
		if strings.Contains(fmt.Sprint(h), "hunter2") || h.Get("Authorization") != "" || h.Get("X-Request-Id") != "7" {
			t.Errorf("in the clear: %v", h)
		}
	}
}

// Two targets of one address, which #connect-to= may lead to two servers, keep
// what they saw apart by their names.
func TestTargetsOfOneAddressKeepApart(t *testing.T) {
	s := newModelServer(t, recordedBody(t, "llamacpp/metrics"))
	for _, name := range []string{"a", "b"} {
		f, err := s.probe(t, name+"=llamacpp://@?stall=1ns", patience)
		wantHealthy(t, f, err, "5 pending")
	}
	for _, name := range []string{"a", "b"} {
		_, err := s.probe(t, name+"=llamacpp://@?stall=1ns", patience)
		wantFailure(t, err, probe.StageLimit, "over 2 probes")
	}
}

func TestNamesOfModels(t *testing.T) {
	for _, c := range []struct {
		name, want string
		is         bool
	}{
		{"Qwen/Qwen3-8B", "Qwen/Qwen3-8B", true},
		{"Qwen/Qwen3-8B", "Qwen3-8B", false}, // an organisation's is not another's
		{"/models/llama", "models/llama", true},
		{"/models/llama", "llama", true},
		{"./llama", "llama", true},
		{"models/llama.gguf", "llama.gguf", true},
		{"models/llama.gguf", "llama", false},
		{"", "llama", false},
	} {
		if isModel(c.name, c.want) != c.is {
			t.Errorf("%q is %q: %v", c.name, c.want, !c.is)
		}
	}
}

// What a Triton server says of its models decides what helps.
func TestCauseOfTritonsModels(t *testing.T) {
	for index, want := range map[string]probe.Class{"triton/index-loading": probe.Starting, "triton/index": probe.Starting, "": ""} {
		replies := map[string]string{"/v2/health/ready": "triton/unready"}
		if index != "" {
			replies["/v2/repository/index"] = index
		}
		_, err := probeOnce(t, ModelServer, "triton://"+newReplyServer(t, replies).addr, patience)
		if se, ok := errors.AsType[*probe.StageError](err); !ok || se.Class != want {
			t.Errorf("%s: %+v", index, err)
		}
	}
	replies := map[string]string{"/v2/health/ready": "triton/ready", "/v2/models/whisper/ready": "triton/model-unready", "/v2/repository/index": "triton/index"}
	_, err := probeOnce(t, ModelServer, "triton://"+newReplyServer(t, replies).addr+"/whisper", patience)
	if se, ok := errors.AsType[*probe.StageError](err); !ok || se.Class != "" {
		t.Errorf("%+v", err)
	}
}
