package e2e

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mountHung mounts a file system that never answers.
func mountHung(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(filepath.Join(bin, "hungfs"), dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Unmount(dir, syscall.MNT_DETACH)
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		t.Fatalf("hungfs says %q: it needs root and /dev/fuse", line)
	}
	return dir
}

// A dead mount: the probe ends by itself, says so, and leaves nobody behind.
func TestHungMount(t *testing.T) {
	dir := mountHung(t)
	for want, args := range map[string][]string{
		`disk "` + dir + `": no answer within 500ms`:            {"--layers", "resource", "--disk-path", dir},
		"file://" + dir + "/beat: no answer within 500ms":       {"--layers", "api", "--api", "file://" + dir + "/beat"},
		"pidfile://" + dir + "/app.pid: no answer within 500ms": {"--layers", "api", "--api", "pidfile://" + dir + "/app.pid"},
		`HEALTHCHECK_DB_FILE: reading "` + dir[:20]:             {"--layers", "api"},
	} {
		environ := []string{"HEALTHCHECK_TIMEOUT=500ms", "HEALTHCHECK_STATE_DIR=none", "HEALTHCHECK_CPU_MAX=off", "HEALTHCHECK_MEM_MAX=off"}
		if strings.HasPrefix(want, "HEALTHCHECK_DB_FILE") {
			environ = append(environ, "HEALTHCHECK_DB_FILE="+dir+"/secret")
		}
		out, code := output(t, environ, filepath.Join(bin, "healthcheck"), args...)
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("exit %d, want %q:\n%s", code, want, out)
		}
	}
	eventually(t, "no process of the probe's is left", func() (string, bool) {
		out, _ := output(t, nil, "pgrep", "-f", "^/proc/self/exe .*"+dir)
		return out, out == ""
	})
}
