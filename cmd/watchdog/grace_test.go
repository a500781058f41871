package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"healthcheck/watchdog"
)

// Wherever a compose file or the documentation runs the watchdog, Docker gives
// it the time that it may need to end, and not much more.
func TestGracePeriods(t *testing.T) {
	need := watchdog.ShutdownTime(watchdog.EngineStopTimeout)
	found := 0
	root := filepath.Join("..", "..")
	for _, dir := range []string{"examples", "docs", "README.md"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, block := range yamlIn(path, string(text)) {
				var file struct {
					Services map[string]struct {
						Entrypoint any
						Grace      string `yaml:"stop_grace_period"`
					}
				}
				if yaml.Unmarshal([]byte(block), &file) != nil {
					continue // other YAML
				}
				for name, s := range file.Services {
					entry, _ := s.Entrypoint.([]any)
					if len(entry) == 0 || entry[0] != "/watchdog" {
						continue
					}
					found++
					if grace, err := time.ParseDuration(s.Grace); err != nil || grace < need || grace > need+30*time.Second {
						t.Errorf("%s: %s has stop_grace_period %q, and may take %s", path, name, s.Grace, need)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 4 {
		t.Errorf("%d services run the watchdog, want at least 4", found)
	}
	if said := fmt.Sprintf("%.0f s at the most", need.Seconds()); !strings.Contains(docsPage(t, "watchdog.md"), said) {
		t.Errorf("docs/watchdog.md does not say %q", said)
	}
}

// yamlIn is the YAML of a file: all of it, or the blocks of a page.
func yamlIn(path, text string) (blocks []string) {
	switch filepath.Ext(path) {
	case ".yml", ".yaml":
		return []string{text}
	case ".md":
		for _, part := range strings.Split(text, "```yaml\n")[1:] {
			block, _, _ := strings.Cut(part, "```")
			blocks = append(blocks, block)
		}
	}
	return blocks
}
