package protocol

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// replyServer answers each path with a file of testdata/replies, over as many
// requests as a connection brings. It notes what it was asked.
type replyServer struct {
	addr  string
	mu    sync.Mutex
	conns int
	asked []string
	seen  []http.Header
}

func newReplyServer(t *testing.T, replies map[string]string) *replyServer {
	t.Helper()
	s := &replyServer{}
	raw := map[string][]byte{}
	for path, file := range replies {
		text, err := os.ReadFile("../../testdata/replies/" + file + ".http")
		must(t, err)
		if _, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		raw[path] = text
	}
	s.addr = rawServer(t, func(c net.Conn) {
		s.mu.Lock()
		s.conns++
		s.mu.Unlock()
		for r := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			var body bytes.Buffer
			body.ReadFrom(req.Body)
			s.mu.Lock()
			s.asked = append(s.asked, strings.TrimSpace(req.Method+" "+req.URL.Path+" "+body.String()))
			s.seen = append(s.seen, req.Header)
			s.mu.Unlock()
			reply, ok := raw[req.URL.Path]
			if !ok {
				reply = []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found")
			}
			c.Write(reply)
		}
	})
	return s
}

const patience = 5 * time.Second

func TestServicesAgainstRecordedReplies(t *testing.T) {
	type makeFunc = func(target.Target, Options) (probe.Func, error)
	const chromaDocs = "/api/v2/tenants/default_tenant/databases/default_database/collections/docs"
	for _, c := range []struct {
		name    string
		make    makeFunc
		target  string // @ is the server's address
		replies map[string]string
		stage   probe.Stage // empty: healthy
		text    string
		asked   string
	}{
		{"qdrant", Qdrant, "qdrant://@", map[string]string{"/readyz": "qdrant/readyz"}, "", "ready", "GET /readyz"},
		{"qdrant green", Qdrant, "qdrant://@/docs", map[string]string{"/readyz": "qdrant/readyz", "/collections/docs": "qdrant/collection-green"}, "", "collection docs is green with 128 points", "GET /readyz,GET /collections/docs"},
		{"qdrant yellow", Qdrant, "qdrant://@/docs", map[string]string{"/readyz": "qdrant/readyz", "/collections/docs": "qdrant/collection-yellow"}, "", "is yellow", ""},
		{"qdrant grey (warns)", Qdrant, "qdrant://@/docs", map[string]string{"/readyz": "qdrant/readyz", "/collections/docs": "qdrant/collection-grey"}, "", "is grey (it answers; optimisations are pending", ""},
		{"qdrant red", Qdrant, "qdrant://@/docs", map[string]string{"/readyz": "qdrant/readyz", "/collections/docs": "qdrant/collection-red"}, probe.StageStatus, `collection "docs" is "red", want green or yellow`, ""},
		{"qdrant missing", Qdrant, "qdrant://@/docs", map[string]string{"/readyz": "qdrant/readyz", "/collections/docs": "qdrant/collection-missing"}, probe.StageRequest, `GET /collections/docs: no collection "docs"`, ""},
		{"qdrant starting", Qdrant, "qdrant://@", map[string]string{"/readyz": "qdrant/readyz-not"}, probe.StageStatus, `status 503, want 200: "some shards are not ready"`, ""},
		{"qdrant key", Qdrant, "qdrant://@/docs?api_key=hunter2hunter2", map[string]string{"/readyz": "qdrant/readyz", "/collections/docs": "qdrant/unauthorized"}, probe.StageAuth, `status 401, want 200: "Must provide`, ""},
		{"chroma", Chroma, "chroma://@", map[string]string{"/api/v2/heartbeat": "chroma/heartbeat"}, "", "heartbeat", "GET /api/v2/heartbeat"},
		{"chroma collection", Chroma, "chroma://@/docs", map[string]string{"/api/v2/heartbeat": "chroma/heartbeat", chromaDocs: "chroma/collection"}, "", "collection docs", ""},
		{"chroma missing", Chroma, "chroma://@/docs", map[string]string{"/api/v2/heartbeat": "chroma/heartbeat", chromaDocs: "chroma/collection-missing"}, probe.StageRequest, `no collection "docs"`, ""},
		{"chroma token", Chroma, "chroma://@/docs?token=hunter2hunter2", map[string]string{"/api/v2/heartbeat": "chroma/heartbeat", chromaDocs: "chroma/forbidden"}, probe.StageAuth, `status 403`, ""},
		{"chroma old", Chroma, "chroma://@", map[string]string{"/api/v2/heartbeat": "chroma/heartbeat-v1"}, probe.StageStatus, `status 410`, ""},
		{"chroma is another", Chroma, "chroma://@", map[string]string{"/api/v2/heartbeat": "ollama/version"}, probe.StageJSON, `no "nanosecond heartbeat"`, ""},
		{"weaviate", Weaviate, "weaviate://@", map[string]string{"/v1/.well-known/ready": "weaviate/ready"}, "", "ready", "GET /v1/.well-known/ready"},
		{"weaviate class", Weaviate, "weaviate://@/Article", map[string]string{"/v1/.well-known/ready": "weaviate/ready", "/v1/schema/Article": "weaviate/class"}, "", "class Article", ""},
		{"weaviate missing", Weaviate, "weaviate://@/Article", map[string]string{"/v1/.well-known/ready": "weaviate/ready", "/v1/schema/Article": "weaviate/class-missing"}, probe.StageRequest, `no class "Article"`, ""},
		{"weaviate starting", Weaviate, "weaviate://@", map[string]string{"/v1/.well-known/ready": "weaviate/ready-not"}, probe.StageStatus, "status 503", ""},
		{"weaviate key", Weaviate, "weaviate://@/Article", map[string]string{"/v1/.well-known/ready": "weaviate/ready", "/v1/schema/Article": "weaviate/unauthorized"}, probe.StageAuth, "anonymous access not enabled", ""},
		{"milvus", Milvus, "milvus://@", map[string]string{"/healthz": "milvus/healthz"}, "", "healthy", "GET /healthz"},
		{"milvus ill", Milvus, "milvus://@", map[string]string{"/healthz": "milvus/healthz-not"}, probe.StageStatus, "querycoord state is Abnormal", ""},
		{"milvus has", Milvus, "milvus://@/docs?api_port=PORT", map[string]string{"/healthz": "milvus/healthz", "/v2/vectordb/collections/has": "milvus/has"}, "", "collection docs", `POST /v2/vectordb/collections/has {"collectionName":"docs","dbName":""}`},
		{"milvus missing", Milvus, "milvus://@/docs?api_port=PORT", map[string]string{"/healthz": "milvus/healthz", "/v2/vectordb/collections/has": "milvus/has-not"}, probe.StageRequest, `no collection "docs"`, ""},
		{"milvus auth", Milvus, "milvus://@/docs?api_port=PORT&token=root:hunter2hunter2", map[string]string{"/healthz": "milvus/healthz", "/v2/vectordb/collections/has": "milvus/unauthenticated"}, probe.StageAuth, "code 1800", ""},
		{"elasticsearch", Elasticsearch, "elasticsearch://@", map[string]string{"/_cluster/health": "elasticsearch/green"}, "", "green, 1 nodes", "GET /_cluster/health"},
		{"elasticsearch yellow", Elasticsearch, "elasticsearch://@", map[string]string{"/_cluster/health": "elasticsearch/yellow"}, "", "yellow", ""},
		{"elasticsearch red", Elasticsearch, "elasticsearch://@", map[string]string{"/_cluster/health": "elasticsearch/red"}, probe.StageStatus, `cluster health is "red", want yellow or green`, ""},
		{"elasticsearch auth", Elasticsearch, "elasticsearch://u:hunter2hunter2@@", map[string]string{"/_cluster/health": "elasticsearch/unauthorized"}, probe.StageAuth, "security_exception", ""},
		{"elasticsearch alone", Elasticsearch, "elasticsearch://@", map[string]string{"/_cluster/health": "elasticsearch/no-master"}, probe.StageStatus, "master_not_discovered", ""},
		{"opensearch", Elasticsearch, "opensearch://@", map[string]string{"/_cluster/health": "opensearch/green"}, "", "green", ""},
		{"opensearch red", Elasticsearch, "opensearch://@", map[string]string{"/_cluster/health": "opensearch/red"}, probe.StageStatus, "red", ""},
		{"opensearch auth", Elasticsearch, "opensearch://@", map[string]string{"/_cluster/health": "opensearch/unauthorized"}, probe.StageAuth, "Unauthorized", ""},
		{"ollama", Ollama, "ollama://@", map[string]string{"/api/version": "ollama/version"}, "", "version 0.12.6", "GET /api/version"},
		{"ollama model", Ollama, "ollama://@/llama3.1", map[string]string{"/api/tags": "ollama/tags"}, "", "model llama3.1:latest is there", "GET /api/tags,GET /api/ps"},
		{"ollama model of a host", Ollama, "ollama://@/hf.co/org/tiny:Q4_K_M", map[string]string{"/api/tags": "ollama/tags"}, "", "is there", ""},
		{"ollama missing", Ollama, "ollama://@/llama3.1:70b", map[string]string{"/api/tags": "ollama/tags"}, probe.StageRequest, `no model "llama3.1:70b" among "llama3.1:latest, hf.co`, ""},
		{"ollama empty", Ollama, "ollama://@/llama3.1", map[string]string{"/api/tags": "ollama/tags-empty"}, probe.StageRequest, `no model "llama3.1:latest" among ""`, ""},
		{"qdrant cluster", Qdrant, "qdrant://@?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "qdrant/cluster"}, "", "ready, cluster of 3 peers", "GET /readyz,GET /cluster"},
		{"qdrant alone", Qdrant, "qdrant://@?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "qdrant/cluster-disabled"}, probe.StageStatus, "it is no part of a cluster", ""},
		{"qdrant stopped", Qdrant, "qdrant://@?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "qdrant/cluster-stopped"}, probe.StageStatus, `consensus is "stopped_with_err", want working: "Failed to apply \x1b[31mentry"`, ""},
		{"qdrant leaderless", Qdrant, "qdrant://@?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "qdrant/cluster-leaderless"}, probe.StageStatus, "the cluster of 3 peers has no leader", ""},
		{"qdrant unreached (warns)", Qdrant, "qdrant://@?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "qdrant/cluster-unreached"}, "", "cluster of 3 peers, 1 of them not reached", ""},
		{"qdrant cluster of another", Qdrant, "qdrant://@?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "ollama/version"}, probe.StageJSON, `the cluster is "", want enabled`, ""},
		{"qdrant shards", Qdrant, "qdrant://@/docs?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "qdrant/cluster", "/collections/docs": "qdrant/collection-green", "/collections/docs/cluster": "qdrant/shards"}, "", "with 128 points, 4 of 4 replicas of 2 shards active", "GET /collections/docs/cluster"},
		{"qdrant a dead replica (warns)", Qdrant, "qdrant://@/docs?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "qdrant/cluster", "/collections/docs": "qdrant/collection-green", "/collections/docs/cluster": "qdrant/shards-dead"}, "", "3 of 4 replicas of 2 shards active", "GET /collections/docs/cluster"},
		{"qdrant a lost shard", Qdrant, "qdrant://@/docs?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "qdrant/cluster", "/collections/docs": "qdrant/collection-green", "/collections/docs/cluster": "qdrant/shards-lost"}, probe.StageStatus, "no replica answers for the shard 1 (\"Dead\")", "GET /collections/docs/cluster"},
		{"qdrant a shard of its own lost", Qdrant, "qdrant://@/docs?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "qdrant/cluster", "/collections/docs": "qdrant/collection-green", "/collections/docs/cluster": "qdrant/shards-own-lost"}, probe.StageStatus, "no replica answers for the shard 0 (\"Dead\")", "GET /collections/docs/cluster"},
		{"qdrant a shard that recovers", Qdrant, "qdrant://@/docs?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "qdrant/cluster", "/collections/docs": "qdrant/collection-green", "/collections/docs/cluster": "qdrant/shards-recovering"}, probe.StageStatus, "no replica answers for the shard 1 (\"Partial\")", "GET /collections/docs/cluster"},
		{"qdrant a shard nowhere", Qdrant, "qdrant://@/docs?cluster=true", map[string]string{"/readyz": "qdrant/readyz", "/cluster": "qdrant/cluster", "/collections/docs": "qdrant/collection-green", "/collections/docs/cluster": "qdrant/shards-missing"}, probe.StageStatus, "1 of 3 shards have no replica", "GET /collections/docs/cluster"},
		{"weaviate nodes (warns)", Weaviate, "weaviate://@?nodes=2", map[string]string{"/v1/.well-known/ready": "weaviate/ready", "/v1/nodes": "weaviate/nodes"}, "", `ready, 2 of 3 nodes healthy ("node3 UNAVAILABLE")`, "GET /v1/.well-known/ready,GET /v1/nodes"},
		{"weaviate too few nodes", Weaviate, "weaviate://@?nodes=3", map[string]string{"/v1/.well-known/ready": "weaviate/ready", "/v1/nodes": "weaviate/nodes"}, probe.StageStatus, `2 of 3 nodes healthy ("node3 UNAVAILABLE"), want 3`, ""},
		{"weaviate nodes of another", Weaviate, "weaviate://@?nodes=1", map[string]string{"/v1/.well-known/ready": "weaviate/ready", "/v1/nodes": "ollama/version"}, probe.StageStatus, "0 of 0 nodes healthy, want 1", ""},
		{"milvus components", Milvus, "milvus://@?components=true", map[string]string{"/healthz": "milvus/components"}, "", "healthy: rootcoord, querycoord, datanode", "GET /healthz"},
		{"milvus component ill", Milvus, "milvus://@?components=true", map[string]string{"/healthz": "milvus/components-not"}, probe.StageStatus, `querycoord is abnormal, datanode is initializing, Not all components are healthy, 2/3`, ""},
		{"milvus component starting", Milvus, "milvus://@?components=true", map[string]string{"/healthz": "milvus/components-starting"}, probe.StageStatus, `querycoord is initializing, datanode is initializing`, ""},
		{"milvus without components", Milvus, "milvus://@?components=true", map[string]string{"/healthz": "milvus/healthz"}, probe.StageJSON, "the answer names no components", ""},
		{"milvus ill without components", Milvus, "milvus://@?components=true", map[string]string{"/healthz": "milvus/healthz-not"}, probe.StageStatus, "querycoord state is Abnormal", ""},
		{"chroma auth", Chroma, "chroma://@?auth=true", map[string]string{"/api/v2/heartbeat": "chroma/heartbeat", "/api/v2/auth/identity": "chroma/identity"}, "", `heartbeat, known to tenant "default_tenant"`, "GET /api/v2/heartbeat,GET /api/v2/auth/identity"},
		{"chroma auth refused", Chroma, "chroma://@?auth=true&token=hunter2hunter2", map[string]string{"/api/v2/heartbeat": "chroma/heartbeat", "/api/v2/auth/identity": "chroma/forbidden"}, probe.StageAuth, "GET /api/v2/auth/identity: status 403", ""},
		{"elasticsearch index", Elasticsearch, "elasticsearch://@/docs", map[string]string{"/_cat/indices/docs": "elasticsearch/index"}, "", "index docs is green with 128 documents", "GET /_cat/indices/docs"},
		{"elasticsearch alias", Elasticsearch, "elasticsearch://@/docs", map[string]string{"/_cat/indices/docs": "elasticsearch/indices"}, "", "2 indices of docs are yellow or better with 130 documents", ""},
		{"elasticsearch index red", Elasticsearch, "elasticsearch://@/docs", map[string]string{"/_cat/indices/docs": "elasticsearch/index-red"}, probe.StageStatus, `index "docs-2" is "red", want yellow or green`, ""},
		{"elasticsearch index closed", Elasticsearch, "elasticsearch://@/docs", map[string]string{"/_cat/indices/docs": "elasticsearch/index-closed"}, probe.StageStatus, `index "docs" is "close", want open`, ""},
		{"elasticsearch index missing", Elasticsearch, "elasticsearch://@/docs", map[string]string{"/_cat/indices/docs": "elasticsearch/index-missing"}, probe.StageRequest, `no index "docs"`, ""},
		{"elasticsearch pattern of none", Elasticsearch, "elasticsearch://@/docs*", map[string]string{"/_cat/indices/docs*": "elasticsearch/indices-none"}, probe.StageRequest, `no index "docs*"`, ""},
		{"ollama on the GPU", Ollama, "ollama://@/llama3.1?gpu=100", map[string]string{"/api/tags": "ollama/tags", "/api/ps": "ollama/ps"}, "", "is there, loaded, 100% of it in the GPU's memory", "GET /api/tags,GET /api/ps"},
		{"ollama partly on the GPU", Ollama, "ollama://@/llama3.1?gpu=80", map[string]string{"/api/tags": "ollama/tags", "/api/ps": "ollama/ps-partly"}, "", "81% of it in the GPU's memory", ""},
		{"ollama too little on the GPU", Ollama, "ollama://@/llama3.1?gpu=82", map[string]string{"/api/tags": "ollama/tags", "/api/ps": "ollama/ps-partly"}, probe.StageLimit, `GET /api/ps: model "llama3.1:latest" has 81% of it in the GPU's memory, want 82%`, ""},
		{"ollama on the CPU (warns)", Ollama, "ollama://@/llama3.1", map[string]string{"/api/tags": "ollama/tags", "/api/ps": "ollama/ps-cpu"}, "", "loaded, runs on the CPU", ""},
		{"ollama on the CPU, meant", Ollama, "ollama://@/llama3.1?gpu=off", map[string]string{"/api/tags": "ollama/tags", "/api/ps": "ollama/ps-cpu"}, "", "loaded, 0% of it in the GPU's memory", ""},
		{"ollama on the CPU, not wanted", Ollama, "ollama://@/llama3.1?gpu=1", map[string]string{"/api/tags": "ollama/tags", "/api/ps": "ollama/ps-cpu"}, probe.StageLimit, "has 0% of it in the GPU's memory, want 1%", ""},
		{"ollama not loaded", Ollama, "ollama://@/llama3.1?gpu=80", map[string]string{"/api/tags": "ollama/tags", "/api/ps": "ollama/ps-none"}, "", "is there, not loaded", ""},
		{"ollama to be loaded", Ollama, "ollama://@/llama3.1?loaded=true", map[string]string{"/api/tags": "ollama/tags", "/api/ps": "ollama/ps-none"}, probe.StageStatus, `model "llama3.1:latest" is not loaded`, ""},
		{"ollama too old to tell", Ollama, "ollama://@/llama3.1?gpu=80", map[string]string{"/api/tags": "ollama/tags"}, probe.StageStatus, "GET /api/ps: status 404", ""},
		{"ollama is another", Ollama, "ollama://@", map[string]string{"/api/version": "qdrant/readyz"}, probe.StageJSON, "not the answer of such a server", ""},
		{"etcd", Etcd, "etcd://@", map[string]string{"/health": "etcd/healthy"}, "", "healthy", "GET /health"},
		{"etcd alone", Etcd, "etcd://@", map[string]string{"/health": "etcd/no-leader"}, probe.StageStatus, "RAFT NO LEADER", ""},
		{"etcd alarm", Etcd, "etcd://@", map[string]string{"/health": "etcd/false"}, probe.StageStatus, `health is "false", want "true": "ALARM NOSPACE"`, ""},
		{"etcd is another", Etcd, "etcd://@", map[string]string{"/health": "influxdb/ok"}, probe.StageJSON, "not the answer of such a server", ""},
		{"clickhouse", ClickHouse, "clickhouse://@", map[string]string{"/ping": "clickhouse/ping"}, "", "ping", "GET /ping"},
		{"vllm", ModelServer, "vllm://@", map[string]string{"/health": "vllm/health", "/v1/models": "vllm/models"}, "", "ready, model Qwen/Qwen3-8B", "GET /health,GET /v1/models"},
		{"vllm model", ModelServer, "vllm://@/Qwen/Qwen3-8B", map[string]string{"/health": "vllm/health", "/v1/models": "vllm/models"}, "", "ready, model Qwen/Qwen3-8B, progress is not judged: nothing is kept between runs (--state-dir none)", ""},
		{"vllm adapter", ModelServer, "vllm://@/sql-lora?stall=0", map[string]string{"/health": "vllm/health", "/v1/models": "vllm/models"}, "", "ready, model sql-lora", ""},
		{"vllm missing", ModelServer, "vllm://@/Qwen/Qwen3-32B", map[string]string{"/health": "vllm/health", "/v1/models": "vllm/models"}, probe.StageRequest, `GET /v1/models: no model "Qwen/Qwen3-32B" among "Qwen/Qwen3-8B, sql-lora"`, ""},
		{"vllm dead", ModelServer, "vllm://@", map[string]string{"/health": "vllm/dead"}, probe.StageStatus, "GET /health: status 503", "GET /health"},
		{"vllm denied", ModelServer, "vllm://@?api_key=hunter2hunter2", map[string]string{"/health": "vllm/health", "/v1/models": "vllm/unauthorized"}, probe.StageAuth, "GET /v1/models: status 401", ""},
		{"vllm canary", ModelServer, "vllm://@?canary=true", map[string]string{"/health": "vllm/health", "/v1/models": "vllm/models", "/v1/completions": "vllm/completion"}, "", "canary answered in ",
			`POST /v1/completions {"model":"Qwen/Qwen3-8B","prompt":"hi","max_tokens":1}`},
		{"vllm canary elsewhere", ModelServer, "vllm://@/sql-lora?canary=/v1/chat/completions", map[string]string{"/health": "vllm/health", "/v1/models": "vllm/models", "/v1/chat/completions": "vllm/completion"}, "", "canary answered in ",
			`POST /v1/chat/completions {"model":"sql-lora","messages":[{"role":"user","content":"hi"}],"max_tokens":1}`},
		{"vllm is another", ModelServer, "vllm://@", map[string]string{"/health": "vllm/health", "/v1/models": "ollama/version"}, probe.StageJSON, "no models in the answer", ""},
		{"sglang", ModelServer, "sglang://@/meta-llama/Llama-3.1-8B-Instruct", map[string]string{"/health": "sglang/health", "/v1/models": "sglang/models"}, "", "ready, model meta-llama/Llama-3.1-8B-Instruct", ""},
		{"sglang starting", ModelServer, "sglang://@", map[string]string{"/health": "sglang/starting"}, probe.StageStatus, "status 503", ""},
		{"sglang canary", ModelServer, "sglang://@?canary=/generate", map[string]string{"/health": "sglang/health", "/v1/models": "sglang/models", "/generate": "vllm/completion"}, "", "canary answered in ",
			`POST /generate {"text":"hi","sampling_params":{"max_new_tokens":1}}`},
		{"llama.cpp", ModelServer, "llamacpp://@/qwen3-8b-q4_k_m.gguf", map[string]string{"/health": "llamacpp/ok", "/v1/models": "llamacpp/models"}, "", "ready, model qwen3-8b-q4_k_m.gguf", ""},
		{"llama.cpp by path", ModelServer, "llamacpp://@/models/qwen3-8b-q4_k_m.gguf", map[string]string{"/health": "llamacpp/ok", "/v1/models": "llamacpp/models"}, "", "ready, model models/qwen3-8b-q4_k_m.gguf", ""},
		{"llama.cpp missing", ModelServer, "llamacpp://@/qwen3-8b", map[string]string{"/health": "llamacpp/ok", "/v1/models": "llamacpp/models"}, probe.StageRequest, `no model "qwen3-8b" among "/models/qwen3-8b-q4_k_m.gguf"`, ""},
		{"llama.cpp loading", ModelServer, "llamacpp://@", map[string]string{"/health": "llamacpp/loading"}, probe.StageStatus, "Loading model", ""},
		{"llama.cpp canary", ModelServer, "llamacpp://@?canary=/completion", map[string]string{"/health": "llamacpp/ok", "/v1/models": "llamacpp/models", "/completion": "vllm/completion"}, "", "canary answered in ",
			`POST /completion {"prompt":"hi","n_predict":1}`},
		{"triton", ModelServer, "triton://@", map[string]string{"/v2/health/ready": "triton/ready"}, "", "ready", "GET /v2/health/ready"},
		{"triton model", ModelServer, "triton://@/bert", map[string]string{"/v2/health/ready": "triton/ready", "/v2/models/bert/ready": "triton/ready"}, "", "ready, model bert", "GET /v2/health/ready,GET /v2/models/bert/ready"},
		{"triton version", ModelServer, "triton://@/bert/1", map[string]string{"/v2/health/ready": "triton/ready", "/v2/models/bert/versions/1/ready": "triton/ready"}, "", "ready, model bert/1", ""},
		{"triton model missing", ModelServer, "triton://@/resnet", map[string]string{"/v2/health/ready": "triton/ready", "/v2/models/resnet/ready": "triton/model-unknown", "/v2/repository/index": "triton/index"}, probe.StageRequest, `no model "resnet"`, "POST /v2/repository/index {}"},
		{"triton model loading", ModelServer, "triton://@/llama", map[string]string{"/v2/health/ready": "triton/ready", "/v2/models/llama/ready": "triton/model-unready", "/v2/repository/index": "triton/index"}, probe.StageStatus, `GET /v2/models/llama/ready: status 400: model "llama" is "LOADING", want READY`, ""},
		{"triton model broken", ModelServer, "triton://@/whisper", map[string]string{"/v2/health/ready": "triton/ready", "/v2/models/whisper/ready": "triton/model-unready", "/v2/repository/index": "triton/index"}, probe.StageStatus, `"UNAVAILABLE", want READY: "Internal: CUDA out of memory"`, ""},
		{"triton not ready", ModelServer, "triton://@", map[string]string{"/v2/health/ready": "triton/unready", "/v2/repository/index": "triton/index-loading"}, probe.StageStatus, `GET /v2/health/ready: status 400: model "llama" is "LOADING"`, ""},
		{"triton not ready, and no word", ModelServer, "triton://@", map[string]string{"/v2/health/ready": "triton/unready"}, probe.StageStatus, "GET /v2/health/ready: status 400, want 200", ""},
		{"triton canary", ModelServer, "triton://@/llama?canary=/v2/models/llama/generate", map[string]string{"/v2/health/ready": "triton/ready", "/v2/models/llama/ready": "triton/ready", "/v2/models/llama/generate": "vllm/completion"}, "", "canary answered in ",
			`POST /v2/models/llama/generate {"text_input":"hi","max_tokens":1}`},
		{"tgi", ModelServer, "tgi://@/teknium/OpenHermes-2.5-Mistral-7B", map[string]string{"/health": "tgi/health", "/info": "tgi/info"}, "", "ready, model teknium/OpenHermes-2.5-Mistral-7B", "GET /health,GET /info"},
		{"tgi missing", ModelServer, "tgi://@/other", map[string]string{"/health": "tgi/health", "/info": "tgi/info"}, probe.StageRequest, `GET /info: no model "other" among "teknium/OpenHermes-2.5-Mistral-7B"`, ""},
		{"tgi unhealthy", ModelServer, "tgi://@", map[string]string{"/health": "tgi/unhealthy"}, probe.StageStatus, "unhealthy", ""},
		{"tgi canary", ModelServer, "tgi://@?canary=true", map[string]string{"/health": "tgi/health", "/info": "tgi/info", "/generate": "tgi/generated"}, "", "canary answered in ", `POST /generate {"inputs":"hi","parameters":{"max_new_tokens":1}}`},
		{"tgi busy (warns)", ModelServer, "tgi://@?canary=true", map[string]string{"/health": "tgi/health", "/info": "tgi/info", "/generate": "tgi/overloaded"}, "", "canary refused with status 429", ""},
		{"tei", ModelServer, "tei://@/BAAI/bge-small-en-v1.5", map[string]string{"/health": "tei/health", "/info": "tei/info"}, "", "ready, model BAAI/bge-small-en-v1.5", ""},
		{"tei by path", ModelServer, "tei://@/data/bge", map[string]string{"/health": "tei/health", "/info": "tei/info"}, "", "ready, model data/bge", ""},
		{"tei canary", ModelServer, "tei://@?canary=true", map[string]string{"/health": "tei/health", "/info": "tei/info", "/embed": "tei/embedded"}, "", "canary answered in ", `POST /embed {"inputs":"hi"}`},
		{"openai", ModelServer, "openai://@/gpt-oss-20b?api_key=hunter2hunter2", map[string]string{"/v1/models": "openai/models"}, "", "ready, model gpt-oss-20b", "GET /v1/models"},
		{"openai denied", ModelServer, "openai://@?api_key=hunter2hunter2", map[string]string{"/v1/models": "openai/unauthorized"}, probe.StageAuth, "Incorrect API key provided: ***", ""},
		{"openai canary", ModelServer, "openai://@?canary=/v1/embeddings", map[string]string{"/v1/models": "openai/models", "/v1/embeddings": "vllm/completion"}, "", "canary answered in ", `POST /v1/embeddings {"model":"gpt-oss-20b","input":"hi"}`},
		{"openai canary elsewhere", ModelServer, "openai://@?canary=true", map[string]string{"/v1/models": "openai/models", "/v1/completions": "openai/not-found"}, probe.StageStatus, "POST /v1/completions: status 404", ""},
		{"openai canary is another", ModelServer, "openai://@?canary=true", map[string]string{"/v1/models": "openai/models", "/v1/completions": "qdrant/readyz"}, probe.StageJSON, "not the answer of such a server", ""},
		{"clickhouse query", ClickHouse, "clickhouse://app:hunter2hunter2@@/db", map[string]string{"/ping": "clickhouse/ping", "/": "clickhouse/one"}, "", "ping, query answered", "GET /ping,GET /"},
		{"clickhouse denied", ClickHouse, "clickhouse://app:hunter2hunter2@@", map[string]string{"/ping": "clickhouse/ping", "/": "clickhouse/denied"}, probe.StageAuth, "Authentication failed", ""},
		{"clickhouse missing", ClickHouse, "clickhouse://@/nosuch", map[string]string{"/ping": "clickhouse/ping", "/": "clickhouse/no-database"}, probe.StageRequest, `no database "nosuch"`, ""},
		{"clickhouse is another", ClickHouse, "clickhouse://@", map[string]string{"/ping": "influxdb/ok"}, probe.StageBody, `the answer is "OK", want "Ok."`, ""},
		{"clickhouse answers otherwise", ClickHouse, "clickhouse://@/db", map[string]string{"/ping": "clickhouse/ping", "/": "clickhouse/ping"}, probe.StageBody, `the answer to SELECT 1 is "Ok."`, ""},
		{"minio", MinIO, "minio://@", map[string]string{"/minio/health/cluster": "minio/ready"}, "", "the cluster can be written to", "GET /minio/health/cluster"},
		{"minio live", MinIO, "minio://@?live=true", map[string]string{"/minio/health/live": "minio/ready"}, "", "live", "GET /minio/health/live"},
		{"minio quorum", MinIO, "minio://@", map[string]string{"/minio/health/cluster": "minio/no-quorum"}, probe.StageStatus, "status 503, want 200", ""},
		{"influxdb", InfluxDB, "influxdb://@", map[string]string{"/health": "influxdb/pass"}, "", "pass, version v2.7.10", "GET /health"},
		{"influxdb 3", InfluxDB, "influxdb://@", map[string]string{"/health": "influxdb/ok"}, "", "healthy", ""},
		{"influxdb fails", InfluxDB, "influxdb://@", map[string]string{"/health": "influxdb/fail"}, probe.StageStatus, "not ready", ""},
		{"influxdb fails otherwise", InfluxDB, "influxdb://@", map[string]string{"/health": "influxdb/fail-200"}, probe.StageStatus, `status is "fail", want "pass": "store is closed"`, ""},
		{"influxdb token", InfluxDB, "influxdb://@?token=hunter2hunter2", map[string]string{"/health": "influxdb/unauthorized"}, probe.StageAuth, "status 401", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newReplyServer(t, c.replies)
			_, port, _ := net.SplitHostPort(s.addr)
			text := c.target[:len(c.target)-len(afterAuthority(c.target))] + s.addr + strings.Replace(afterAuthority(c.target), "PORT", port, 1)[1:]
			f, err := probeOnce(t, c.make, text, patience)
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret: %v", err)
			}
			if c.stage != "" {
				wantFailure(t, err, c.stage, c.text)
			} else if err != nil || !strings.Contains(f.Message, c.text) || (f.Status == probe.Warn) != strings.HasSuffix(c.name, "(warns)") {
				t.Errorf("%q %q, %v, want %q", f.Status, f.Message, err, c.text)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if asked := strings.Join(s.asked, ","); !strings.HasSuffix(asked, c.asked) || strings.Contains(c.asked, "GET /readyz,") && s.conns != 1 {
				t.Errorf("asked %q over %d connections, want %q over one", asked, s.conns, c.asked)
			}
		})
	}
}

// afterAuthority is the part of a target from its last @ on.
func afterAuthority(text string) string { return text[strings.LastIndex(text, "@"):] }

// What goes over the wire: credentials where their server wants them.
func TestServicesSendTheirCredentials(t *testing.T) {
	for text, want := range map[string]string{
		"qdrant://@?api_key=k":                          "Api-Key: k",
		"chroma://@?token=k":                            "X-Chroma-Token: k",
		"weaviate://@?api_key=k":                        "Authorization: Bearer k",
		"milvus://@?token=u:p":                          "Authorization: Bearer u:p",
		"elasticsearch://u:p@@":                         "Authorization: Basic dTpw",
		"opensearch://@?api_key=k":                      "Authorization: ApiKey k",
		"ollama://@?api_key=k":                          "Authorization: Bearer k",
		"vllm://@?api_key=k":                            "Authorization: Bearer k",
		"openai://@?api_key=k":                          "Authorization: Bearer k",
		"influxdb://@?token=k":                          "Authorization: Token k",
		"clickhouse://u:p@@":                            "Authorization: Basic dTpw",
		"chroma://@?token=k&token_header=Authorization": "Authorization: Bearer k",
		"chroma://u:p@@":                                "Authorization: Basic dTpw",
		"milvus://@?components=true":                    "Content-Type: application/json",
		"qdrant://@#header=X-Forwarded-Proto:https":     "X-Forwarded-Proto: https",
	} {
		s := newReplyServer(t, nil)
		makers := map[string]func(target.Target, Options) (probe.Func, error){"qdrant": Qdrant, "chroma": Chroma, "weaviate": Weaviate, "milvus": Milvus,
			"elasticsearch": Elasticsearch, "opensearch": Elasticsearch, "ollama": Ollama, "influxdb": InfluxDB, "clickhouse": ClickHouse,
			"vllm": ModelServer, "openai": ModelServer}
		scheme, _, _ := strings.Cut(text, ":")
		at := len(text) - len(afterAuthority(text))
		_, err := probeOnce(t, makers[scheme], text[:at]+s.addr+text[at+1:], patience)
		wantFailure(t, err, probe.StageStatus, "status 404")
		name, value, _ := strings.Cut(want, ": ")
		if len(s.seen) != 1 || s.seen[0].Get(name) != value {
			t.Errorf("%s sent %v, want %s", text, s.seen, want)
		}
	}
}

// An s at the end of the scheme is TLS, milvus's own s is not.
func TestServicesOverTLS(t *testing.T) {
	plain := rawServer(t, func(c net.Conn) {
		fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		untilClosed(c)
	})
	for scheme, make := range map[string]func(target.Target, Options) (probe.Func, error){"qdrants": Qdrant, "chromas": Chroma, "weaviates": Weaviate,
		"milvuss": Milvus, "elasticsearchs": Elasticsearch, "opensearchs": Elasticsearch, "ollamas": Ollama, "etcds": Etcd, "clickhouses": ClickHouse, "minios": MinIO, "influxdbs": InfluxDB,
		"vllms": ModelServer, "sglangs": ModelServer, "llamacpps": ModelServer, "tritons": ModelServer, "tgis": ModelServer, "teis": ModelServer, "openais": ModelServer} {
		_, err := probeOnce(t, make, scheme+"://"+plain, patience)
		wantFailure(t, err, probe.StageTLS, "the server does not speak TLS")
	}
	// Milvus's own port for management knows no TLS, its API does.
	tg, err := target.ParseTarget("milvuss://localhost/docs", testBase)
	must(t, err)
	s, _, err := newService(tg, testOptions(t), "9091")
	must(t, err)
	if s.http.url.Scheme != "https" {
		t.Error(s.http.url)
	}
	_, err = probeOnce(t, Milvus, "milvus://"+plain, patience)
	wantFailure(t, err, probe.StageStatus, "status 400")
}
