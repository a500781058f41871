package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// recipeBlocks are the snippets of docs/recipes.md, by section.
func recipeBlocks(t *testing.T) map[string][]string {
	t.Helper()
	blocks := map[string][]string{}
	for _, section := range strings.Split(pages(t)["../docs/recipes.md"], "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(text, -1) {
			blocks[title] = append(blocks[title], m[1])
		}
	}
	if len(blocks) < 22 {
		t.Fatalf("%d sections", len(blocks))
	}
	return blocks
}

// bringTheProbe is the section with the service that all Compose snippets
// need.
const bringTheProbe = "Compose: bring the probe in"

// All Compose snippets together are one project that Compose takes.
func TestRecipesAreComposeFiles(t *testing.T) {
	dir := t.TempDir()
	var args []string
	n := 0
	blocks := recipeBlocks(t)
	add := func(text string) {
		n++
		file := filepath.Join(dir, "recipe-"+string(rune('a'+n))+".yml")
		if err := os.WriteFile(file, []byte("version: \"3.8\"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-f", file)
	}
	add(blocks[bringTheProbe][0])
	for title, texts := range blocks {
		if title != bringTheProbe && strings.Contains(texts[0], "services:") {
			add(texts[0])
		}
	}
	if n < 21 {
		t.Errorf("%d snippets", n)
	}
	if out, code := output(t, nil, "docker-compose", append(args, "config", "-q")...); code != 0 {
		t.Error(out)
	}
}

// The service that copies the probe into a volume, and Qdrant's snippet, as
// they stand but for the images: an image that has no probe gets one, which it
// cannot change, and the engine knows its health.
func TestRecipeBringsTheProbeIn(t *testing.T) {
	blocks := recipeBlocks(t)
	probe := buildImage(t, "USER 65532:65532", `ENTRYPOINT ["/healthcheck"]`)
	dir := t.TempDir()
	if out, code := output(t, nil, "cp", filepath.Join(bin, "demo"), dir); code != 0 {
		t.Fatal(out)
	}
	standIn := runName("recipe-stand-in")
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nLABEL "+label+"\nCOPY demo /\nUSER 65532:65532\nCMD [\"/demo\", \"serve\", \":6333\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	docker(t, "build", "-q", "-t", standIn, dir)
	t.Cleanup(func() { exec.Command("docker", "image", "rm", "-f", "--no-prune", standIn).Run() })
	project := runName("recipe")
	compose := func(args ...string) (string, int) {
		return output(t, nil, "docker-compose", append([]string{"-p", project, "-f", filepath.Join(dir, "probe.yml"), "-f", filepath.Join(dir, "qdrant.yml")}, args...)...)
	}
	replace := func(name, text string, pairs ...string) {
		for i := 0; i < len(pairs); i += 2 {
			if strings.Count(text, pairs[i]) != 1 {
				t.Fatalf("%q is not there once:\n%s", pairs[i], text)
			}
		}
		text = "version: \"3.8\"\n" + strings.NewReplacer(pairs...).Replace(text)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace("probe.yml", blocks[bringTheProbe][0], "image: healthcheck\n", "image: "+probe+"\n")
	replace("qdrant.yml", blocks["Qdrant"][0], "image: qdrant/qdrant:v1.15.4\n", "image: "+standIn+"\n", "interval: 30s\n", "interval: 1s\n      retries: 1\n")
	t.Cleanup(func() {
		exec.Command("docker-compose", "-p", project, "-f", filepath.Join(dir, "probe.yml"), "-f", filepath.Join(dir, "qdrant.yml"), "down", "-v", "-t", "2").Run()
	})
	if out, code := compose("up", "-d"); code != 0 {
		t.Fatal(out)
	}
	id := docker(t, "ps", "-q", "--no-trunc", "--filter", "label=com.docker.compose.project="+project, "--filter", "label=com.docker.compose.service=qdrant")
	if got := docker(t, "inspect", "-f", `{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}{{end}}`, id); got != "volume /probe false" {
		t.Errorf("it is mounted as %s", got)
	}
	h := waitFor(t, id, "healthy")
	if last := h.Log[len(h.Log)-1]; !strings.Contains(last.Output, "qdrant://localhost: ready") {
		t.Errorf("exit %d: %s", last.ExitCode, last.Output)
	}
	docker(t, "kill", "-s", "USR1", id)
	h = waitFor(t, id, "unhealthy")
	if last := h.Log[len(h.Log)-1]; !strings.Contains(last.Output, "[self]  qdrant://localhost: GET /readyz: status 503") {
		t.Errorf("exit %d: %s", last.ExitCode, last.Output)
	}
	// A new version of the probe, as the page says.
	if out, code := compose("run", "--rm", "probe"); code != 0 {
		t.Error(out)
	}
}

// wantRecipe runs the commands of a section as they stand, but that what they
// look at is replaced: old, new, old, new. Those that hold a text of except are
// not run.
func wantRecipe(t *testing.T, section string, environ, except []string, replace ...string) {
	t.Helper()
	n := 0
	for _, m := range regexp.MustCompile(`(?m)(?:test|command): (\[.*"/probe/healthcheck".*\])$`).FindAllStringSubmatch(strings.Join(recipeBlocks(t)[section], "\n"), -1) {
		var words []string
		if err := json.Unmarshal([]byte(m[1]), &words); err != nil {
			t.Fatalf("%s: %v", m[1], err)
		}
		line := strings.Join(words, " ")
		skip := false
		for _, text := range except {
			skip = skip || strings.Contains(line, text)
		}
		if skip {
			continue
		}
		if words[0] == "CMD" {
			words = words[1:]
		}
		n++
		for i, w := range words {
			words[i] = strings.NewReplacer(replace...).Replace(w)
		}
		out, code := output(t, append(environ, "PATH="+os.Getenv("PATH")), filepath.Join(bin, "healthcheck"), words[1:]...)
		if code != 0 {
			t.Errorf("%s: %q: exit %d: %s", section, words, code, out)
		}
	}
	if n == 0 {
		t.Errorf("%s has no command", section)
	}
}

// The servers that Debian has.
func TestRecipesOnRealServers(t *testing.T) {
	t.Parallel()
	pg := pgVariant(t, map[string]string{"pg_hba.conf": "host all all 127.0.0.1/32 trust\n"}, "")
	pg.untilHealthy(t, "postgres://app@"+pg.addr()+"/postgres")
	psql(t, pg, "postgres", "CREATE ROLE postgres SUPERUSER LOGIN")
	psql(t, pg, "postgres", "INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) VALUES (99999, 'vector', 10, 11, true, '0.8.0')")
	wantRecipe(t, "PostgreSQL and pgvector", nil, nil, "localhost", pg.addr())

	redis := startRedis(t)
	redis.untilHealthy(t, "redis://"+redis.addr())
	wantRecipe(t, "Redis and Valkey", nil, nil, "localhost", redis.addr())

	maria := mariadb(t)
	if _, err := openMaria(t, maria).Exec("CREATE OR REPLACE USER probe@localhost IDENTIFIED BY 'hunter2'"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRecipe(t, "MySQL and MariaDB", nil, nil, "/run/secrets/probe", file, "127.0.0.1", maria.addr())
}

// Those that answer by HTTP, and files.
func TestRecipesOnStandIns(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/", "/health", "/readyz", "/v2/health/live", "/v2/health/ready":
		case "/healthz":
			w.Write([]byte(`{"state":"OK","detail":[{"name":"proxy","code":1}]}`))
		case "/api/v2/heartbeat":
			w.Write([]byte(`{"nanosecond heartbeat":1}`))
		case "/_cluster/health":
			w.Write([]byte(`{"status":"green","number_of_nodes":1}`))
		case "/api/version":
			w.Write([]byte(`{"version":"0.12.6"}`))
		case "/api/tags", "/api/ps":
			w.Write([]byte(`{"models":[{"name":"llama3.1:latest","size":100,"size_vram":80}]}`))
		case "/v1/models":
			w.Write([]byte(`{"data":[{"id":"m"}]}`))
		case "/v1/completions": // the canary
			w.Write([]byte(`{"choices":[{"text":"."}]}`))
		case "/metrics":
			w.Write([]byte("vllm:iteration_tokens_total_count 1\nllamacpp:n_decode_total 1\nnv_inference_exec_count{model=\"m\"} 1\n"))
		case "/collections/documents":
			w.Write([]byte(`{"result":{"status":"green"}}`))
		case "/api/v2/tenants/default_tenant/databases/default_database/collections/documents":
			w.Write([]byte(`{}`))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(srv.Close)
	addr := strings.TrimPrefix(srv.URL, "http://")
	_, port, _ := strings.Cut(addr, ":")
	for _, section := range []string{"Qdrant", "Chroma", "Milvus", "Elasticsearch and OpenSearch", "Ollama", "vLLM", "Triton", "llama.cpp", "nginx"} {
		// Triton has its figures on a port of their own.
		wantRecipe(t, section, nil, nil, "localhost?stall", addr+"?metrics_port="+port+"&stall", "localhost:8000", addr, "localhost:8080", addr, "localhost:9200", addr, "localhost", addr)
	}
	file := filepath.Join(t.TempDir(), "beat")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRecipe(t, "A worker (Celery, RQ, Sidekiq)", nil, nil, "/tmp/heartbeat", file)
	wantRecipe(t, "A cron job", nil, nil, "/var/run/backup.done", file)
	wantRecipe(t, "pdf-chat", []string{"HEALTHCHECK_BASE_URL=" + srv.URL}, []string{"postgres://"})
}
