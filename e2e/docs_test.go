package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are what people read.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../docs/*.md")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	texts := map[string]string{}
	for _, file := range append(files, "../README.md", "../SECURITY.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	return texts
}

// Every flag that a page names exists, in one of the programs or in the one
// that the page leads away from.
func TestPagesNameRealFlags(t *testing.T) {
	known := map[string]bool{}
	flag := regexp.MustCompile(`--[a-z][a-z-]+`)
	for _, help := range [][]string{{"healthcheck", "--help"}, {"healthcheck", "gpu", "--help"}, {"watchdog", "help"}, {"watchdog", "lint", "--help"}} {
		out, code := output(t, nil, filepath.Join(bin, help[0]), help[1:]...)
		if code != 0 {
			t.Fatal(out)
		}
		for _, f := range flag.FindAllString(out, -1) {
			known[f] = true
		}
	}
	for _, f := range strings.Fields("--interval --timeout --start-period --retries --from --max-time --cacert --unix-socket --noproxy --build-arg --runs --gpus") { // Docker's, curl's
		known[f] = true
	}
	for page, text := range pages(t) {
		for _, f := range flag.FindAllString(text, -1) {
			if !known[f] {
				t.Errorf("%s: %s does not exist", page, f)
			}
		}
	}
}

// Every compose file that a page shows is one.
func TestPagesShowRealComposeFiles(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	n := 0
	for page, text := range pages(t) {
		for _, m := range blocks.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[1], "services:") {
				continue
			}
			n++
			file := filepath.Join(t.TempDir(), "docker-compose.yml")
			if err := os.WriteFile(file, []byte("version: \"3.8\"\n"+m[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "docker-compose", "-f", file, "config", "-q")
			cmd.Env = append(os.Environ(), "DOCKER_GID=999")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s\n%s", page, err, out, m[1])
			}
		}
	}
	if n < 4 {
		t.Errorf("%d compose files", n)
	}
}

// Every test that SECURITY.md names exists.
func TestSecurityNamesRealTests(t *testing.T) {
	var source strings.Builder
	for _, pattern := range []string{"../*/*_test.go", "../cmd/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)`").FindAllStringSubmatch(pages(t)["../SECURITY.md"], -1)
	if len(names) < 30 {
		t.Errorf("%d tests named", len(names))
	}
	for _, m := range names {
		if !strings.Contains(source.String(), "func "+m[1]+"(") {
			t.Errorf("%s is no test", m[1])
		}
	}
}
