package e2e

import (
	"io/fs"
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
	if err != nil || len(files) < 11 {
		t.Fatal(files, err)
	}
	texts := map[string]string{}
	for _, file := range append(files, "../README.md", "../SECURITY.md", "../CONTRIBUTING.md", "../CHANGELOG.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	return texts
}

// The README is for a person with thirty seconds.
func TestReadmeIsShort(t *testing.T) {
	if n := strings.Count(pages(t)["../README.md"], "\n"); n > 130 {
		t.Errorf("%d lines, want at most 130", n)
	}
}

// Every link and picture of a page leads to a file of the repository.
func TestPagesLinkToFiles(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	n := 0
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			n++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
	if n < 15 {
		t.Errorf("%d links", n)
	}
}

// Every package imports what docs/architecture.md allows it, and no more.
func TestImportsAreThoseOfTheArchitecture(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([a-z/]+)` \\| [^|]+ \\| ([^|]+) \\|$")
	name := regexp.MustCompile("`([a-z/]+)`")
	allowed := map[string]map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(pages(t)["../docs/architecture.md"], -1) {
		allowed[m[1]] = map[string]bool{}
		for _, n := range name.FindAllStringSubmatch(m[2], -1) {
			allowed[m[1]][n[1]] = true
		}
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./cmd/...", "./gpu/...", "./probe/...", "./watchdog/...")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		pkg := strings.TrimPrefix(words[0], "healthcheck/")
		may, ok := allowed[pkg]
		if !ok {
			t.Errorf("%s has no row", pkg)
		}
		for _, path := range words[1:] {
			if other, ours := strings.CutPrefix(path, "healthcheck/"); ours && !may[other] {
				t.Errorf("%s imports %s, which its row does not allow", pkg, other)
			}
		}
		delete(allowed, pkg)
	}
	for pkg := range allowed {
		t.Errorf("%s has a row, but is no package", pkg)
	}
}

// Every flag that a page names exists, in one of the programs or in the one
// that the page leads away from.
func TestPagesNameRealFlags(t *testing.T) {
	known := map[string]bool{}
	flag := regexp.MustCompile(`--[a-z][a-z-]+`)
	for _, help := range [][]string{{"healthcheck", "--help"}, {"healthcheck", "gpu", "--help"}, {"healthcheck", "wait", "--help"}, {"watchdog", "run", "--help"}, {"watchdog", "status", "--help"}, {"watchdog", "history", "--help"}, {"watchdog", "snooze", "--help"}, {"watchdog", "notify", "--help"}, {"watchdog", "lint", "--help"}} {
		out, code := output(t, nil, filepath.Join(bin, help[0]), help[1:]...)
		if code != 0 {
			t.Fatal(out)
		}
		for _, f := range flag.FindAllString(out, -1) {
			known[f] = true
			if strings.HasSuffix(f, "-max") || strings.HasSuffix(f, "-min-free") {
				known["--warn-"+f[2:]] = true
			}
		}
	}
	for _, f := range strings.Fields("--interval --timeout --start-period --retries --from --max-time --cacert --unix-socket --noproxy --build-arg --runs --gpus --init --connect --cert --key --capath --resolve --data-binary --http --compressed --haproxy-protocol --disable-log-stats --enable-metrics --metrics --now --embedding --port") { // Docker's, curl's, MariaDB's, systemctl's, the model servers'
		known[f] = true
	}
	for page, text := range pages(t) {
		if page == "../docs/instead-of.md" { // whose left column has the flags of others
			text = regexp.MustCompile(`(?m)^\|.* \| `).ReplaceAllString(text, "")
		}
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
			if !strings.Contains(m[1], "services:") || page == "../docs/recipes.md" { // whose snippets are parts of one file
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
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
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
