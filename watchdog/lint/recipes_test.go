package lint

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What docs/recipes.md shows has nothing that this package would warn of.
func TestRecipesAreClean(t *testing.T) {
	page, err := os.ReadFile("../../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	var compose []File
	var pods []File
	bring := ""
	for i, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		name := "recipe-" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + ".yaml"
		switch {
		case strings.Contains(m[1], "services:"):
			compose = append(compose, File{name, []byte(m[1])})
		case strings.HasPrefix(m[1], "initContainers:"):
			bring = indent(m[1])
		default:
			pods = append(pods, File{name, []byte("apiVersion: v1\nkind: Pod\nmetadata:\n  name: recipe\nspec:\n" + bring + "  containers:\n" + indent(m[1]))})
		}
	}
	if len(compose) < 21 || len(pods) < 20 {
		t.Fatalf("%d compose files and %d pods", len(compose), len(pods))
	}
	target, err := Compose(t.Context(), ComposeInput{Files: compose, Dir: "/recipes"})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Check(target, Options{}) {
		t.Errorf("%+v", f)
	}
	for _, pod := range pods {
		target, err := Kubernetes([]File{pod})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range Check(target, Options{}) {
			t.Errorf("%+v in\n%s", f, pod.Data)
		}
	}
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}
