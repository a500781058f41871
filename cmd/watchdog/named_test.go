package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// hooks are receivers that note what each path got.
type hooks struct {
	url string
	mu  sync.Mutex
	got map[string][]string
}

func newHooks(t *testing.T) *hooks {
	h := &hooks{got: map[string][]string{}}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got[r.URL.Path] = append(h.got[r.URL.Path], string(body))
	}))
	t.Cleanup(srv.Close)
	h.url = "generic+" + srv.URL
	return h
}

func (h *hooks) at(path string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got[path])
}

// Each team gets the alerts of its own containers, in its own words, and the
// end of an incident goes where its alert went.
func TestReceiversByLabel(t *testing.T) {
	h := newHooks(t)
	f := newFakeEngine(t, 3)
	f.containers[f.order[0]].Labels = map[string]string{"watchdog.enable": "true", "watchdog.notify": "team-a", "com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
	f.containers[f.order[1]].Labels["watchdog.notify"] = "nobody"
	path, secret := filepath.Join(t.TempDir(), "watchdog.yml"), filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(secret, []byte(h.url+"/b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`
max-attempts: 0
notify: [`+h.url+`/all]
notify-title: "{{.Severity}} {{.Service}}"
receivers:
  team-a:
    url: `+h.url+`/a
    severity: critical
    text: "{{.State}}: {{.Project}}: {{.Cause}}"
  team-b: {url-file: `+secret+`}
per-service:
  app2: {notify: "team-b,default"}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, log := daemon(t, f, nil, "--listen", "none", "--config", path)
	for _, id := range f.order {
		f.makeUnhealthy(id)
	}
	eventually(t, "all are told of", func() bool { return len(h.at("/a")) == 1 && len(h.at("/b")) == 1 && len(h.at("/all")) == 2 })
	if got := h.at("/a")[0]; !strings.HasPrefix(got, "open: shop: unhealthy: 1 probes failed in a row: pool exhausted") {
		t.Errorf("%q", got)
	}
	if got := strings.Join(h.at("/all"), "\n"); !contains(got, "service: app1", "service: app2") || strings.Contains(got, "shop") {
		t.Errorf("%q", got)
	}
	if got := h.at("/b")[0]; !strings.HasPrefix(got, "gave up after 0 restarts") || !strings.Contains(got, "service: app2") {
		t.Errorf("%q", got)
	}
	if text := log.String(); strings.Count(text, `there is no receiver \"nobody\"; the default ones apply`) != 1 {
		t.Error(text)
	}
	f.mu.Lock()
	for _, c := range f.containers {
		c.Health, c.Streak = "healthy", 0
	}
	f.mu.Unlock()
	f.sendHealthy()
	eventually(t, "all are over", func() bool { return len(h.at("/a")) == 2 && len(h.at("/b")) == 2 && len(h.at("/all")) == 4 })
	if got := h.at("/a")[1]; !strings.HasPrefix(got, "resolved: shop: ") {
		t.Errorf("%q", got)
	}

	// The same receivers can be tested, one by one.
	for which, want := range map[string]string{"team-a": "/a", "team-b": "/b", "default": "/all"} {
		before := len(h.at(want))
		out, err := exec.CommandContext(t.Context(), binary, "notify", "test", which, "--config", path).CombinedOutput()
		if err != nil || strings.Count(string(out), "delivered in") != 1 || len(h.at(want)) != before+1 || strings.Contains(string(out), "127.0.0.1") {
			t.Errorf("%s: %v %s", which, err, out)
		}
	}
	if got := h.at("/a"); got[len(got)-1] != "test: :" {
		t.Errorf("%q", got)
	}
	out, err := exec.CommandContext(t.Context(), binary, "notify", "test", "--config", path).CombinedOutput()
	if err != nil || strings.Count(string(out), "delivered in") != 3 || !contains(string(out), "receiver 1, generic+http: ", "receiver 2, team-a, generic+http: ", "receiver 3, team-b, generic+http: ") {
		t.Errorf("%v %s", err, out)
	}
	out, _ = exec.CommandContext(t.Context(), binary, "notify", "test", "team-c", "--config", path).CombinedOutput()
	if string(out) != "error: there is no receiver \"team-c\"\nhint: the receivers are default, team-a, team-b\n" {
		t.Errorf("%s", out)
	}
}

// What is wrong with a receiver of the file or with a template is named, with
// the line, and no address is printed.
func TestReceiverErrors(t *testing.T) {
	for text, want := range map[string]string{
		"receivers: [a]":                                                "line 1: want names with values",
		"receivers: {a: slack://hunter2}":                               "line 1: want names with values",
		"receivers: {a: {}}":                                            "line 1: a: want url or url-file",
		"receivers: {a: {url: ntfy://n/x, url-file: /x}}":               "line 1: a: want url or url-file",
		"receivers: {a: {url: slack://hunter2}}":                        "/c.yml, line 1: a: not an address that shoutrrr knows",
		"receivers: {a: {url-file: /missing}}":                          "/c.yml, line 1: a: url-file: ",
		"receivers: {default: {url: ntfy://n/x}}":                       "line 1: \"default\" cannot be a receiver's name",
		"receivers: {'a b': {url: ntfy://n/x}}":                         "line 1: \"a b\" cannot be a receiver's name",
		"receivers: {a: {url: ntfy://n/x, nonsense: 1}}":                "line 1: a receiver has no \"nonsense\"",
		"receivers: {a: {url: ntfy://n/x, severity: loud}}":             "line 1: a: \"loud\" is not info, warning or critical",
		"receivers: {a: {url: ntfy://n/x, severity: [a, b]}}":           "line 1: severity: want one value",
		"receivers: {a: {url: ntfy://n/x, title: '{{.Svc}}'}}":          "/c.yml, line 1: a: title: there is no field .Svc",
		"receivers: {a: {url: ntfy://n/x, text: '{{range 9}}{{end}}'}}": "/c.yml, line 1: a: text: only fields",
		"receiver: {a: {url: ntfy://n/x}}":                              "line 1: there is no setting \"receiver\" (did you mean receivers?)",
		"notify-title: '{{.Severty}}'":                                  "/c.yml, line 1: notify-title: there is no field .Severty (did you mean .Severity?)",
		"notify-text: '{{.Text'":                                        "/c.yml, line 1: notify-text: 1: unclosed action",
		"per-service: {db: {notify: team-z}}":                           "/c.yml: per-service: db: notify: there is no receiver \"team-z\"",
		"per-service: {db: {notify: 'slack://hunter2'}}":                "line 1: notify: an address does not belong there",
	} {
		g := given{args: []string{"--config", "/c.yml"}, read: func(path string) (string, error) {
			if path == "/missing" {
				return "", os.ErrNotExist
			}
			return text + "\n", nil
		}}
		_, err := parseRun(g)
		ue, ok := err.(*usageError)
		if !ok {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := err.Error() + " (" + ue.Hint + ")"; !strings.Contains(got, want) || strings.Contains(got, "hunter2") || ue.Hint == "" {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
