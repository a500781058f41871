package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// builder is an image that stands in for golang:1.26-bookworm, which cannot be
// pulled here: this machine's own Go, the modules, and a shell.
var builder = sync.OnceValues(func() (tag string, err error) {
	dir, err := os.MkdirTemp("", "healthcheck-builder-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	modules := filepath.Join(dir, "modules")
	download := exec.Command("go", "mod", "download")
	download.Dir = ".."
	download.Env = append(os.Environ(), "GOMODCACHE="+modules, "GOFLAGS=-modcacherw", "GOPROXY="+proxies())
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	goroot := strings.TrimSpace(string(root))
	for _, cmd := range []*exec.Cmd{
		download,
		exec.Command("mkdir", "-p", filepath.Join(dir, "go/pkg"), filepath.Join(dir, "bin"), filepath.Join(dir, "tmp")),
		exec.Command("cp", "-r", goroot+"/bin", goroot+"/src", goroot+"/VERSION", goroot+"/go.env", dir+"/go/"),
		exec.Command("cp", "-r", goroot+"/pkg/tool", goroot+"/pkg/include", dir+"/go/pkg/"),
		exec.Command("cp", "/bin/busybox", dir+"/bin/sh"),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
		}
	}
	tag = runName("builder")
	text := "FROM scratch\nLABEL " + label + "\nCOPY bin /bin\nCOPY go /usr/local/go\nCOPY modules /go/pkg/mod\nCOPY tmp /tmp\n" +
		"ENV PATH=/usr/local/go/bin:/bin HOME=/tmp GOPATH=/go GOPROXY=off GOTOOLCHAIN=local\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o600); err != nil {
		return "", err
	}
	return tag, legacyBuild("-t", tag, dir)
})

// legacyBuild builds an image that several tests share, and that none of them
// owns.
func legacyBuild(args ...string) error {
	build := exec.Command("docker", append([]string{"build", "-q"}, args...)...)
	build.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", build.Args, err, out)
	}
	return nil
}

// releaseImage is the image that the Dockerfile builds. That takes a minute of
// compiling, which is done once: the engine keeps the layers.
var releaseImage = sync.OnceValues(func() (tag string, err error) {
	base, err := builder()
	if err != nil {
		return "", err
	}
	tag = runName("release")
	return tag, legacyBuild("--force-rm", "--label", label, "-t", tag, "--build-arg", "BUILDER="+base, "--build-arg", "VERSION="+releaseVersion, "..")
})

const releaseVersion = "v1.2.3"

// proxies are where modules come from: what this machine has already, first.
func proxies() string {
	cache, _ := exec.Command("go", "env", "GOMODCACHE").Output()
	usual, _ := exec.Command("go", "env", "GOPROXY").Output()
	return "file://" + strings.TrimSpace(string(cache)) + "/cache/download," + strings.TrimSpace(string(usual))
}

// clone copies the files that git knows, as they are now, to another place.
func clone(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a path of another length")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out, code := output(t, nil, "sh", "-c", `cd .. && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$0"`, dir)
	if code != 0 {
		t.Fatal(out)
	}
	return dir
}

// release runs release/build.sh of a tree.
func release(t *testing.T, tree string) (dist string) {
	t.Helper()
	dist = t.TempDir()
	if out, code := output(t, nil, filepath.Join(tree, "release/build.sh"), releaseVersion, dist); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	return dist
}

// A release is the same, byte by byte, from another place; and so are the
// programs in the image that the Dockerfile builds, where nothing is cached.
// It compiles for minutes, which other tests would feel: it has the machine to
// itself.
func TestRelease(t *testing.T) {
	tree := clone(t)
	dist := release(t, "..")
	again := release(t, tree)
	if out, code := output(t, nil, "diff", "-r", dist, again); code != 0 {
		t.Errorf("two builds differ: %s", out)
	}
	if out, code := output(t, nil, "sh", "-c", `cd "$0" && sha256sum --check --strict SHA256SUMS && wc -l <SHA256SUMS`, dist); code != 0 || !strings.HasSuffix(out, "\n12\n") {
		t.Errorf("the checksums: %s", out)
	}
	for file, want := range map[string]string{"healthcheck-linux-amd64": "x86-64", "watchdog-linux-amd64": "x86-64", "healthcheck-linux-arm64": "ARM aarch64", "watchdog-linux-arm64": "ARM aarch64"} {
		checkSBOM(t, filepath.Join(dist, file))
		head, err := os.ReadFile(filepath.Join(dist, file))
		if err != nil {
			t.Fatal(err)
		}
		machine := map[byte]string{0x3e: "x86-64", 0xb7: "ARM aarch64"}[head[18]] // e_machine (elf(5))
		if machine != want {
			t.Errorf("%s is for %q, want %q", file, machine, want)
		}
	}
	t.Run("packages", func(t *testing.T) { testPackages(t, dist) })
	t.Run("image", func(t *testing.T) { testReleaseImage(t, dist) })
	t.Run("image of the files", func(t *testing.T) {
		tag := runName("dist")
		docker(t, "build", "-q", "--label", label, "-t", tag, "--build-arg", "TARGETARCH=amd64", dist)
		if out, code := output(t, nil, "docker", "run", "--rm", "--label", label, tag, "--version"); code != 0 || !strings.HasPrefix(out, "healthcheck v1.2.3 linux/amd64 ") {
			t.Errorf("exit %d: %s", code, out)
		}
	})
	if out, code := output(t, nil, "../release/build.sh", "1.2.3", t.TempDir()); code != 1 || !strings.Contains(out, "error: 1.2.3: want a version such as v1.2.3") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// checkSBOM compares the bill of materials with what the Go linker wrote into
// the program.
func checkSBOM(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat  string
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(text, &bom); err != nil || bom.BOMFormat != "CycloneDX" {
		t.Fatalf("%s: %v, %q", file, err, bom.BOMFormat)
	}
	listed := map[string]bool{}
	for _, c := range bom.Components {
		listed[c.Name+" "+c.Version] = true
	}
	out, _ := output(t, nil, "go", "version", "-m", file)
	n := 0
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "dep" {
			n++
			if !listed[f[1]+" "+f[2]] {
				t.Errorf("%s: %s %s is not in the SBOM", file, f[1], f[2])
			}
		}
	}
	if n < 5 || len(listed) != n+1 { // and the standard library
		t.Errorf("%s: %d modules, %d listed", file, n, len(listed))
	}
}

func testReleaseImage(t *testing.T, dist string) {
	tag, err := releaseImage()
	if err != nil {
		t.Fatal(err)
	}
	id := docker(t, "create", "--label", label, tag)
	t.Cleanup(func() { exec.Command("docker", "rm", "-f", id).Run() })
	dir := t.TempDir()
	for _, program := range []string{"healthcheck", "watchdog"} {
		docker(t, "cp", id+":/"+program, dir)
		got, err1 := os.ReadFile(filepath.Join(dir, program))
		want, err2 := os.ReadFile(filepath.Join(dist, program+"-linux-"+runtime.GOARCH))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(got) != sha256.Sum256(want) {
			t.Errorf("%s in the image differs from the release's: %d and %d bytes", program, len(got), len(want))
		}
	}
	// As people take it: by COPY --from.
	user := t.TempDir()
	text := fmt.Sprintf("FROM scratch\nCOPY --from=%s /healthcheck /healthcheck\nHEALTHCHECK CMD [\"/healthcheck\"]\nCMD [\"/healthcheck\", \"--version\"]\n", tag)
	if err := os.WriteFile(filepath.Join(user, "Dockerfile"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	docker(t, "build", "-q", "--label", label, "-t", tag+"-user", user)
	if out, code := output(t, nil, "docker", "run", "--rm", "--label", label, tag+"-user"); code != 0 || !strings.HasPrefix(out, "healthcheck v1.2.3 ") {
		t.Errorf("exit %d: %s", code, out)
	}
}
