package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// pendingPage is a page of metrics as vLLM has them, with what engine 0 has done
// and what is pending.
const pendingPage = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
# HELP vllm:iteration_tokens_total Histogram of number of tokens per engine_step.
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="m"} 4000.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 4812.0
`

// idlePage is the same with nothing pending.
var idlePage = strings.NewReplacer(`"} 3.0`, `"} 0.0`, `"} 2.0`, `"} 0.0`).Replace(pendingPage)

// modelServer stands in for a model server that looks alive: whatever becomes of
// its engine, its front answers.
type modelServer struct {
	addr    string
	page    atomic.Value // string
	hangs   atomic.Bool  // the engine gives no token
	loading atomic.Bool
	silent  atomic.Bool // the page never comes
	asked   atomic.Int32
}

func newModelServer(t *testing.T, page string) *modelServer {
	t.Helper()
	s := &modelServer{}
	s.page.Store(page)
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.loading.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}`)
			return
		}
		switch r.URL.Path {
		case "/health":
		case "/v1/models":
			if r.Header.Get("Authorization") == "Bearer wrong-hunter2" {
				w.WriteHeader(http.StatusUnauthorized)
				io.WriteString(w, `{"error":"no such key: wrong-hunter2"}`)
				return
			}
			io.WriteString(w, `{"object":"list","data":[{"id":"org/m"}]}`)
		case "/metrics":
			if s.silent.Load() {
				<-release
			}
			io.WriteString(w, s.page.Load().(string))
		case "/v1/completions":
			s.asked.Add(1)
			if s.hangs.Load() {
				<-release
			}
			io.WriteString(w, `{"choices":[{"text":","}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	s.addr = strings.TrimPrefix(srv.URL, "http://")
	return s
}

// probe runs the program once; the target is vLLM's with what is added.
func (s *modelServer) probe(t *testing.T, dir, add string, args ...string) (out string, code int) {
	t.Helper()
	stdout, stderr, code := execute(t, nil, append([]string{"--layers", "api", "--state-dir", dir, "--api", "vllm://" + s.addr + add}, args...)...)
	return stdout + stderr, code
}

// A server that only looks alive: /health answers, work is pending, and the
// engine makes no step. One step, and it is healthy; with nothing pending it
// is, however long nothing moves.
func TestModelServerThatOnlyLooksAlive(t *testing.T) {
	s, dir := newModelServer(t, pendingPage), t.TempDir()
	const stall = "/org/m?stall=1ns"
	out, code := s.probe(t, dir, stall)
	if code != 0 || !strings.Contains(out, "ready, model org/m, vllm:iteration_tokens_total_count is 4812, 5 pending") {
		t.Fatalf("the first probe: exit %d:\n%s", code, out)
	}
	out, code = s.probe(t, dir, stall)
	if code != 1 || !strings.Contains(out, "over 2 probes (stall=1ns): vllm:iteration_tokens_total_count of engine \"0\" stands at 4812 with 5 pending") {
		t.Errorf("it hangs: exit %d:\n%s", code, out)
	}
	out, code = s.probe(t, dir, stall, "--output", "json")
	var doc struct {
		Checks []struct {
			Status, Stage string
			Cause         struct{ Class string }
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 1 || len(doc.Checks) != 1 || doc.Checks[0].Stage != "limit" || doc.Checks[0].Cause.Class != "self" {
		t.Errorf("it hangs: exit %d, %v:\n%s", code, err, out)
	}
	s.page.Store(strings.Replace(pendingPage, "4812", "4813", 1))
	if out, code = s.probe(t, dir, stall); code != 0 || !strings.Contains(out, "is 4813, 5 pending") {
		t.Errorf("it moved: exit %d:\n%s", code, out)
	}
	s.page.Store(idlePage)
	for range 3 {
		if out, code = s.probe(t, dir, stall); code != 0 || !strings.Contains(out, "is 4812, 0 pending") {
			t.Errorf("idle: exit %d:\n%s", code, out)
		}
	}
	// A server that is restarted counts anew.
	s.page.Store(pendingPage)
	s.probe(t, dir, stall)
	s.page.Store(strings.Replace(pendingPage, "4812", "3", 1))
	if out, code = s.probe(t, dir, stall); code != 0 || !strings.Contains(out, "is 3, 5 pending") {
		t.Errorf("restarted: exit %d:\n%s", code, out)
	}
	// Two minutes are given where nothing else is said.
	for range 3 {
		if out, code = s.probe(t, t.TempDir(), ""); code != 0 {
			t.Errorf("default: exit %d:\n%s", code, out)
		}
	}
}

// Each target has a file of its own, and without a place for them nothing is
// judged and nothing fails, unless stall= asks for it.
func TestModelServersKeepAFileEach(t *testing.T) {
	s, dir := newModelServer(t, pendingPage), t.TempDir()
	for range 2 {
		for _, add := range []string{"?stall=1h", "/org/m?stall=1h"} {
			if out, code := s.probe(t, dir, add); code != 0 {
				t.Errorf("exit %d:\n%s", code, out)
			}
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("%d files, want 2: %v", len(files), err)
	}
	for range 2 {
		const says = "progress is not judged: nothing is kept between runs (--state-dir none)"
		if out, code := s.probe(t, "none", ""); code != 0 || !strings.Contains(out, says) {
			t.Errorf("exit %d:\n%s", code, out)
		}
		if out, code := s.probe(t, "none", "?stall=1ns"); code != 1 || !strings.Contains(out, says+"; stall= asks for that") {
			t.Errorf("exit %d:\n%s", code, out)
		}
	}
}

// What a person has to mend, and what waiting mends, is told apart from what a
// restart mends; no key is printed.
func TestCausesOfModelServers(t *testing.T) {
	s, dir := newModelServer(t, pendingPage), t.TempDir()
	for add, c := range map[string]struct{ class, says string }{
		"/org/other":                       {"config", "no model \"org/other\" among \"org/m\""},
		"?api_key=wrong-hunter2":           {"config", "status 401"},
		"?canary=/v1/embeddings":           {"config", "status 404"},
		"?canary=true#timeout=200ms":       {"self", "POST /v1/completions: no answer within 200ms"},
		"?stall=1h&canary=true#timeout=2m": {"usage", "timeout=2m0s exceeds"},
		"?canary=/v1/audio":                {"usage", "the paths are /v1/completions"},
		"?canry=true":                      {"usage", "unknown parameter \"canry\": vllm knows api_key, canary, stall"},
		"#stall=60s":                       {"usage", "unknown setting \"stall\""},
	} {
		s.hangs.Store(true)
		out, code := s.probe(t, dir, add, "--output", "json")
		if code != 1 || !strings.Contains(out, fmt.Sprintf("\"class\":%q", c.class)) && c.class != "usage" || !strings.Contains(strings.ReplaceAll(out, "\\\"", "\""), c.says) || strings.Contains(out, "hunter2") {
			t.Errorf("%s: exit %d, want %s and %q:\n%s", add, code, c.class, c.says, out)
		}
	}
	s.loading.Store(true)
	if out, code := s.probe(t, dir, "", "--output", "json"); code != 1 || !strings.Contains(out, `"class":"starting"`) {
		t.Errorf("loading: exit %d:\n%s", code, out)
	}
}

// Idle and hanging look alike to all but a canary, which nobody sends unasked.
func TestCanaryTellsIdleFromHanging(t *testing.T) {
	s, dir := newModelServer(t, idlePage), t.TempDir()
	if out, code := s.probe(t, dir, "?canary=true"); code != 0 || !strings.Contains(out, ", canary answered in ") || s.asked.Load() != 1 {
		t.Errorf("idle: exit %d, asked %d times:\n%s", code, s.asked.Load(), out)
	}
	// The server has made steps since, by the canary's own if by no other: it
	// works. So does one that has work, of which stall= takes care.
	s.page.Store(strings.Replace(idlePage, "4812", "4813", 1))
	s.hangs.Store(true)
	for _, page := range []string{strings.Replace(idlePage, "4812", "4813", 1), strings.Replace(pendingPage, "4812", "4813", 1)} {
		s.page.Store(page)
		if out, code := s.probe(t, dir, "?canary=true"); code != 0 || !strings.Contains(out, ", no canary: it is not idle") || s.asked.Load() != 1 {
			t.Errorf("not idle: exit %d, asked %d times:\n%s", code, s.asked.Load(), out)
		}
	}
	s.page.Store(strings.Replace(idlePage, "4812", "4813", 1))
	if out, code := s.probe(t, dir, ""); code != 0 || s.asked.Load() != 1 {
		t.Errorf("hangs, and no canary: exit %d, asked %d times:\n%s", code, s.asked.Load(), out)
	}
	if out, code := s.probe(t, dir, "?canary=true", "--timeout", "300ms"); code != 1 || !strings.Contains(out, "POST /v1/completions: no answer within 300ms") {
		t.Errorf("hangs: exit %d:\n%s", code, out)
	}
}

// A page that never comes, or has no end, is said, and costs half of the time at
// most: what else was found stands.
func TestMetricsThatNeverEnd(t *testing.T) {
	s, dir := newModelServer(t, strings.Repeat("# filler\n", 2<<20)), t.TempDir()
	if out, code := s.probe(t, dir, ""); code != 0 || !strings.Contains(out, "the page is larger than 16777216 bytes") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	s.silent.Store(true)
	out, code := s.probe(t, dir, "", "--timeout", "500ms")
	if code != 0 || !strings.HasPrefix(out, "degraded") || !strings.Contains(out, "ready, model org/m, progress is not judged: ") || !strings.Contains(out, "GET /metrics: no answer within 2") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
