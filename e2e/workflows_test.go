package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The workflows are read as their host reads them, and run the tests as
// people do: each names the command and when it runs.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	if out, code := output(t, nil, "go", append([]string{"-C", "../release", "tool", "actionlint"}, files...)...); code != 0 {
		t.Error(out)
	}
	for file, parts := range map[string][]string{
		"release.yml": {"tags: [\"v*\"]", "./test.sh\n", "release/build.sh"},
		"test.yml":    {"push:", "pull_request:", "./test.sh quick\n", "CGO_ENABLED: \"1\""},
	} {
		text, err := os.ReadFile("../.github/workflows/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s lacks %q", file, part)
			}
		}
	}
}
