package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// recipe is a command of docs/recipes.md, with the variables and the times that
// its snippet gives it.
type recipe struct {
	section, kind     string
	args, environ     []string
	interval, timeout time.Duration
}

// recipes reads every snippet of the page.
func recipes(t *testing.T) []recipe {
	t.Helper()
	page, err := os.ReadFile("../../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []recipe
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(text, -1) {
			var doc any
			if err := yaml.Unmarshal([]byte(m[1]), &doc); err != nil {
				t.Errorf("%s: %v", title, err)
			}
			for _, r := range findRecipes(t, doc, nil) {
				r.section = title
				all = append(all, r)
			}
		}
	}
	return all
}

// findRecipes looks for healthchecks and probes in a document.
func findRecipes(t *testing.T, doc any, environ []string) (found []recipe) {
	t.Helper()
	duration := func(v any) time.Duration {
		switch v := v.(type) {
		case int:
			return time.Duration(v) * time.Second
		case string:
			d, err := time.ParseDuration(v)
			if err != nil {
				t.Error(err)
			}
			return d
		}
		t.Errorf("%v is no time", v)
		return 0
	}
	switch doc := doc.(type) {
	case []any:
		for _, v := range doc {
			found = append(found, findRecipes(t, v, environ)...)
		}
	case map[string]any:
		if vars, ok := doc["environment"].(map[string]any); ok {
			for name, v := range vars {
				environ = append(environ, name+"="+v.(string))
			}
		}
		if vars, ok := doc["env"].([]any); ok {
			for _, v := range vars {
				environ = append(environ, v.(map[string]any)["name"].(string)+"="+v.(map[string]any)["value"].(string))
			}
		}
		if test := texts(doc["test"]); len(test) > 2 && test[0] == "CMD" {
			found = append(found, recipe{kind: "compose", args: test[1:], environ: environ, interval: duration(doc["interval"]), timeout: duration(doc["timeout"])})
		}
		if exec, ok := doc["exec"].(map[string]any); ok {
			found = append(found, recipe{kind: "kubernetes", args: texts(exec["command"]), environ: environ, interval: duration(doc["periodSeconds"]), timeout: duration(doc["timeoutSeconds"])})
		}
		for _, v := range doc {
			found = append(found, findRecipes(t, v, environ)...)
		}
	}
	return found
}

func texts(v any) (out []string) {
	list, _ := v.([]any)
	for _, x := range list {
		s, _ := x.(string)
		out = append(out, s)
	}
	return out
}

// The command of every snippet is one that this program takes, and its times
// are those that the engine or the kubelet is told.
func TestRecipesAreTaken(t *testing.T) {
	kinds := map[string][]string{}
	for _, r := range recipes(t) {
		kinds[r.section] = append(kinds[r.section], r.kind)
		if r.args[0] != "/probe/healthcheck" {
			t.Errorf("%s: it calls %q", r.section, r.args[0])
		}
		c, err := parseConfig(r.args[1:], r.environ, func(string, time.Duration) (string, error) { return "mysql://probe:hunter2@127.0.0.1/", nil })
		if err != nil {
			t.Errorf("%s: %v: %v", r.section, r.args, err)
			continue
		}
		checks, err := newChecks(c)
		if err != nil || len(checks) == 0 {
			t.Errorf("%s: %v: %d checks, %v", r.section, r.args, len(checks), err)
		}
		if c.interval != r.interval || c.timeout+100*time.Millisecond >= r.timeout {
			t.Errorf("%s: interval %s and timeout %s, of its own %s and %s", r.section, r.interval, r.timeout, c.interval, c.timeout)
		}
		for _, target := range c.targets[c.layers[0]] {
			if !target.Local() && r.section != "pdf-chat" {
				t.Errorf("%s: %s is another's", r.section, target)
			}
		}
	}
	for _, name := range []string{"Qdrant", "Chroma", "Weaviate", "Milvus", "PostgreSQL and pgvector", "MySQL and MariaDB", "Redis and Valkey", "MongoDB",
		"Elasticsearch and OpenSearch", "RabbitMQ", "Kafka", "Ollama", "vLLM", "Triton", "llama.cpp", "nginx", "php-fpm", "A worker (Celery, RQ, Sidekiq)", "A cron job", "pdf-chat"} {
		for _, kind := range []string{"compose", "kubernetes"} {
			if !slices.Contains(kinds[name], kind) {
				t.Errorf("%s has no snippet for %s", name, kind)
			}
		}
	}
}
