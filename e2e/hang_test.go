package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// mountHung mounts a file system that never answers. Its end, at stop, frees
// whoever is stuck in it.
func mountHung(t *testing.T) (dir string, stop func()) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.Command(filepath.Join(bin, "hungfs"), dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		syscall.Unmount(dir, syscall.MNT_DETACH)
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(stop)
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		t.Fatalf("hungfs says %q: it needs root and /dev/fuse", line)
	}
	return dir, stop
}

// stuckChildren are the processes that the probe starts for a path that may
// hang, and that live on: all says how many, alive which of their threads were
// not killed. A thread in the kernel takes the signal when it leaves it.
func stuckChildren(t *testing.T, except map[string]bool) (all map[string]bool, alive []string) {
	t.Helper()
	all = map[string]bool{}
	threads, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range threads {
		text, _ := os.ReadFile(path) // none: it has ended
		field := map[string]string{}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			field[name] = strings.TrimSpace(value)
		}
		if pid := field["Tgid"]; field["Name"] == "exe" && !except[pid] && !strings.HasPrefix(field["State"], "Z") && !strings.HasPrefix(field["State"], "X") {
			all[pid] = true
			const sigkill = 1 << (syscall.SIGKILL - 1)
			own, _ := strconv.ParseUint(field["SigPnd"], 16, 64)
			shared, _ := strconv.ParseUint(field["ShdPnd"], 16, 64)
			if (own|shared)&sigkill == 0 {
				alive = append(alive, path+" "+field["State"])
			}
		}
	}
	return all, alive
}

// A dead mount: the probe ends by itself, says so, and has killed whom it
// started; one that is stuck in the kernel ends with the mount.
func TestHungMount(t *testing.T) {
	others, _ := stuckChildren(t, nil)
	dir, stop := mountHung(t)
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
	// Whatever else it is that lies on such a mount: a socket, a CA, what libpq
	// reads by itself.
	const silent = ": no answer within 1s"
	for target, more := range map[string][]string{
		"unix://" + dir + "/sock:/health":                nil,
		"unix://" + dir + "/sock":                        nil,
		"mysql://u@/x?socket=" + dir + "/sock":           nil,
		"postgres://u@/x?host=" + dir:                    nil,
		"postgres://u@127.0.0.1:1/x?passfile=" + dir:     nil,
		"postgres://u@127.0.0.1:1/y":                     {"HOME=" + dir},
		"postgres://u@127.0.0.1:1/x?sslmode=verify-full": {"PGSSLROOTCERT=" + dir + "/ca.pem"},
		"postgres://u@127.0.0.1:1/x?sslmode=verify-ca":   {"HEALTHCHECK_CA_CERT=" + dir + "/ca.pem"},
		"pgvector://u@127.0.0.1:1/x?sslrootcert=" + dir:  nil,
		"postgres://u@127.0.0.1:1/x?sslmode=require":     {"PGSSLCERT=" + dir + "/c", "PGSSLKEY=" + dir + "/k"},
	} {
		out, code := output(t, append(more, "HEALTHCHECK_TIMEOUT=1s"), filepath.Join(bin, "healthcheck"), "--layers", "api", "--api", target)
		if code != 1 || !strings.Contains(out, target+silent) || !strings.Contains(out, "[host]") {
			t.Errorf("%s %v: exit %d:\n%s", target, more, code, out)
		}
	}
	// A CA of HTTPS is read once the server is connected to.
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	out, code := output(t, []string{"HEALTHCHECK_TIMEOUT=1s"}, filepath.Join(bin, "healthcheck"), "--layers", "api", "--api", srv.URL, "--ca-cert", dir+"/ca.pem", "--optional", "api")
	if code != 0 || !strings.Contains(out, srv.URL+silent) {
		t.Errorf("exit %d:\n%s", code, out)
	}
	// The sample of the last run decides nothing.
	out, code = output(t, []string{"HEALTHCHECK_TIMEOUT=2s"}, filepath.Join(bin, "healthcheck"), "--layers", "resource", "--state-dir", dir, "--cpu-max", "off", "--mem-max", "off", "--disk-max", "off")
	if code != 0 || !strings.Contains(out, "(no sample kept: "+dir+": no answer within ") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	// Nor does what was kept of a model server.
	models := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/models" {
			io.WriteString(w, `{"data":[{"id":"m"}]}`)
		}
	}))
	defer models.Close()
	vllm := "vllm" + strings.TrimPrefix(models.URL, "http")
	out, code = output(t, []string{"HEALTHCHECK_TIMEOUT=2s"}, filepath.Join(bin, "healthcheck"), "--layers", "api", "--state-dir", dir, "--api", vllm)
	if code != 0 || !strings.Contains(out, vllm+": ready, model m, progress is not judged: "+dir+": no answer within ") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	eventually(t, "every process of the probe's was killed", func() (string, bool) {
		_, alive := stuckChildren(t, others)
		return fmt.Sprint(alive), len(alive) == 0
	})
	stop()
	eventually(t, "no process of the probe's is left", func() (string, bool) {
		left, _ := stuckChildren(t, others)
		return fmt.Sprint(left), len(left) == 0
	})
}
