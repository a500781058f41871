package lint

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"healthcheck/watchdog/recovery"
)

var wantComment = regexp.MustCompile(`#\s*want ([a-z-]+(?:, [a-z-]+)*)\s*$`)

// wants are the findings that a fixture names in its comments, each beside its
// line, or on a line of its own above it: line → rules.
func wants(data []byte) map[string]bool {
	out := map[string]bool{}
	pending := []string{}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		var names []string
		if m := wantComment.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			names = strings.Split(m[1], ", ")
		}
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			pending = append(pending, names...)
			continue
		}
		for _, name := range append(names, pending...) {
			out[fmt.Sprintf("%d: %s", n, name)] = true
		}
		pending = nil
	}
	return out
}

// composeOf reads a fixture as the program does, without the environment.
func composeOf(t *testing.T, path string) (Target, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	// Some fixtures have their variables beside them.
	env, err := dotenv.GetEnvFromFile(nil, nil)
	if vars := strings.TrimSuffix(path, ".yaml") + ".env"; err == nil {
		if _, statErr := os.Stat(vars); statErr == nil {
			env, err = dotenv.GetEnvFromFile(nil, []string{vars})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return Compose(t.Context(), ComposeInput{Files: []File{{filepath.Base(path), data}}, Dir: dir, Env: env, Read: os.ReadFile, Settings: recovery.Settings{}})
}

// compare checks the findings of a target against the comments of its files.
func compare(t *testing.T, target Target, findings []Finding) {
	t.Helper()
	for _, f := range target.Files {
		got := map[string]bool{}
		for _, x := range findings {
			if x.Place == f.Name {
				got[fmt.Sprintf("%d: %s", x.Line, x.Rule)] = true
			}
		}
		want := wants(f.Data)
		for _, k := range slices.Sorted(maps.Keys(want)) {
			if !got[k] {
				t.Errorf("%s: not found: %s", f.Name, k)
			}
		}
		for _, x := range findings {
			if x.Place == f.Name && !want[fmt.Sprintf("%d: %s", x.Line, x.Rule)] {
				t.Errorf("%s:%d: not wanted: %s: %s: %s", x.Place, x.Line, x.Service, x.Rule, x.Message)
			}
		}
	}
	for _, x := range findings {
		if x.Message == "" || x.Instead == "" || x.Level != levelOf(x.Rule) || !slices.ContainsFunc(target.Files, func(f File) bool { return f.Name == x.Place }) {
			t.Errorf("%+v", x)
		}
	}
}

func levelOf(rule string) string {
	i := slices.IndexFunc(Rules, func(r Rule) bool { return r.Name == rule })
	return Rules[max(0, i)].Level
}

// TestRules compares what is found in testdata/lint with the comments there.
func TestRules(t *testing.T) {
	for _, pattern := range []string{"rules/*.yaml", "forms/*/compose.yaml", "public/*.yaml"} {
		files, err := filepath.Glob("../../testdata/lint/" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range files {
			t.Run(strings.TrimPrefix(path, "../../testdata/lint/"), func(t *testing.T) {
				target, err := composeOf(t, path)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, target, Check(target, Options{}))
			})
		}
	}
}

// TestKubernetes compares what is found in manifests with the comments there.
func TestKubernetes(t *testing.T) {
	files, err := filepath.Glob("../../testdata/lint/kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			target, err := Kubernetes([]File{{filepath.Base(path), data}})
			if err != nil || len(target.Subjects) == 0 {
				t.Fatal(target.Subjects, err)
			}
			compare(t, target, Check(target, Options{}))
		})
	}
}

// Every rule is found somewhere in the fixtures or by a test of its own, and a
// rule that is ignored is not.
func TestEveryRuleHasAFixture(t *testing.T) {
	found := map[string]bool{}
	for _, pattern := range []string{"rules/*.yaml", "forms/*/*", "forms/*/*/*", "forms/*/*/*/*", "kubernetes/*.yaml"} {
		files, _ := filepath.Glob("../../testdata/lint/" + pattern)
		for _, path := range files {
			if data, err := os.ReadFile(path); err == nil {
				for k := range wants(data) {
					_, rule, _ := strings.Cut(k, ": ")
					found[rule] = true
				}
			}
		}
	}
	// These are about an engine's containers or the command line: see
	// TestRunningContainers and TestServicesThatMatchNothing.
	for _, rule := range []string{"slow-probe", "probe-cannot-run", "test-without-cmd", "services-match-nothing"} {
		found[rule] = true
	}
	for _, r := range Rules {
		if !found[r.Name] {
			t.Errorf("no fixture wants %s", r.Name)
		}
		if r.Name == "" || r.What == "" || !slices.Contains([]string{levelError, levelWarning, levelNote}, r.Level) || (r.find == nil) == (r.findAll == nil) {
			t.Errorf("%+v", r.Name)
		}
	}
	target, err := composeOf(t, "../../testdata/lint/rules/form.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if all := Check(target, Options{Ignore: ruleNames()}); len(all) > 0 {
		t.Errorf("%v", all)
	}
}

func TestServicesThatMatchNothing(t *testing.T) {
	target := Target{Subjects: []Subject{{Kind: FromEngine, Name: "shop/web/1", OtherNames: []string{"shop-web-1", "web"}, Health: HealthOfImage, Places: map[string]Place{"": {File: "container shop-web-1"}}}}}
	if all := Check(target, Options{Services: []string{"web", "shop-web-1"}}); len(all) > 0 {
		t.Errorf("%v", all)
	}
	all := Check(target, Options{Services: []string{"wep", "api"}})
	if len(all) != 2 || all[0].Rule != "services-match-nothing" || all[0].Service != "wep" || all[0].Instead != "--services web" || all[0].Place != "engine" || all[1].Service != "api" {
		t.Errorf("%+v", all)
	}
}

// TestRefused compares what is said of files that compose refuses with their
// first lines.
func TestRefused(t *testing.T) {
	files, err := filepath.Glob("../../testdata/lint/refused/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		head := map[string]string{}
		for line := range strings.Lines(string(data)) {
			if key, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "# "), ": "); ok && strings.HasPrefix(line, "#") {
				head[key] = value
			}
		}
		_, err = composeOf(t, path)
		refused, ok := err.(*ComposeError)
		if !ok || head["reason"] == "" || head["hint"] == "" || !strings.Contains(refused.Reason, head["reason"]) || !strings.Contains(refused.Hint, head["hint"]) {
			t.Errorf("%s: %#v, want reason %q, hint %q", filepath.Base(path), err, head["reason"], head["hint"])
		}
		if ok && cmp.Or(strings.Contains(refused.Reason, "\n"), strings.Contains(refused.Reason, "panic")) {
			t.Errorf("%s: %q", path, refused.Reason)
		}
	}
}
