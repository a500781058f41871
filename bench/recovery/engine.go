package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/moby/client"
)

const (
	// runLabel marks what a run makes on the engine, by its process.
	runLabel = "healthcheck-bench.run"
	// trialLabel is what the contenders find their containers by.
	trialLabel = "healthcheck-bench.trial"

	password      = "secret"
	adminPassword = "admin"
)

// engine is the machine's own Docker engine, with what a run needs of it.
type engine struct {
	api       *client.Client
	dir, logs string
	image     string
	webhooks  *webhooks
	starts    *starts
}

// docker runs the engine's client, and returns what it prints, even with an
// error.
func docker(ctx context.Context, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	cmd.Stderr = &stderr
	// A signal to the terminal's group is the benchmark's to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), err
}

// newEngine builds the programs and the image. close removes all that the run
// has made.
func newEngine(ctx context.Context, dir, logs string) (e *engine, err error) {
	api, err := client.New(client.FromEnv)
	if err != nil {
		return nil, err
	}
	e = &engine{api: api, dir: dir, logs: logs, image: fmt.Sprintf("healthcheck-bench:%d", os.Getpid())}
	sweep(ctx, abandoned)
	if err := e.buildImage(ctx); err != nil {
		return e, err
	}
	if e.webhooks, err = receive(); err != nil {
		return e, err
	}
	e.starts = e.countStarts(ctx)
	return e, nil
}

func (e *engine) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sweep(ctx, func(pid int) bool { return pid == os.Getpid() })
	docker(ctx, "rmi", "-f", e.image)
	if e.webhooks != nil {
		e.webhooks.srv.Close()
	}
	e.api.Close()
}

// abandoned is a run whose process is gone.
func abandoned(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// sweep removes what the runs of such processes have left.
func sweep(ctx context.Context, of func(pid int) bool) {
	for _, kind := range []struct{ list, remove []string }{
		{[]string{"ps", "-a"}, []string{"rm", "-f", "-v"}},
		{[]string{"network", "ls"}, []string{"network", "rm"}},
		{[]string{"volume", "ls"}, []string{"volume", "rm"}},
	} {
		format := "{{.Label \"" + runLabel + "\"}} {{if .Name}}{{.Name}}{{end}}"
		if kind.list[0] == "ps" {
			format = "{{.Label \"" + runLabel + "\"}} {{.ID}}"
		}
		text, err := docker(ctx, append(slices.Clone(kind.list), "--filter", "label="+runLabel, "--format", format)...)
		if err != nil {
			continue
		}
		var names []string
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) == 2 {
				if pid, err := strconv.Atoi(f[0]); err == nil && of(pid) {
					names = append(names, f[1])
				}
			}
		}
		if len(names) > 0 {
			docker(ctx, append(slices.Clone(kind.remove), names...)...)
		}
	}
}

// buildImage puts the application, healthcheck and a Redis with its libraries
// into one image FROM scratch.
func (e *engine) buildImage(ctx context.Context) error {
	dir := filepath.Join(e.dir, "image")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for out, pkg := range map[string]string{filepath.Join(dir, "app"): "./bench/recovery/app", filepath.Join(dir, "healthcheck"): "./cmd/healthcheck",
		filepath.Join(e.dir, "watchdog"): "./cmd/watchdog"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", pkg, err, text)
		}
	}
	redis, err := exec.LookPath("redis-server")
	if err != nil {
		return errors.New("the database of the trials is a Redis, and there is no redis-server here\nhint: apt-get install redis-server")
	}
	if redis, err = filepath.EvalSymlinks(redis); err != nil {
		return err
	}
	libs, err := exec.CommandContext(ctx, "ldd", redis).Output()
	if err != nil {
		return fmt.Errorf("the libraries of %s: %w", redis, err)
	}
	if err := copyFile(redis, filepath.Join(dir, "root/redis-server")); err != nil {
		return err
	}
	for _, lib := range regexp.MustCompile(`(?m)(/\S+) \(0x`).FindAllStringSubmatch(string(libs), -1) {
		if err := copyFile(lib[1], filepath.Join(dir, "root", lib[1])); err != nil {
			return err
		}
	}
	// Two probes in turn must fail, one of a second's interval each.
	file := `FROM scratch
COPY app healthcheck /
COPY root /
HEALTHCHECK --interval=1s --timeout=5s --retries=2 CMD ["/healthcheck", "--timeout", "900ms"]
ENTRYPOINT ["/app"]
CMD ["serve"]
`
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(file), 0o600); err != nil {
		return err
	}
	_, err = docker(ctx, "build", "-q", "--label", fmt.Sprintf("%s=%d", runLabel, os.Getpid()), "-t", e.image, dir)
	return err
}

// copyFile follows links, and makes the folders that are missing.
func copyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// webhooks receives alerts, and counts them by trial.
type webhooks struct {
	addr string
	srv  *http.Server
	mu   sync.Mutex
	n    map[string]int
}

func receive() (*webhooks, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &webhooks{addr: l.Addr().String(), n: map[string]int{}}
	w.srv = &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.n[strings.TrimPrefix(r.URL.Path, "/")]++
	})}
	go w.srv.Serve(l)
	return w, nil
}

func (w *webhooks) count(trial string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n[trial]
}

// starts keeps when containers of the run were started, by their names.
type starts struct {
	mu   sync.Mutex
	at   map[string][]time.Time
	lost error
}

// countStarts follows the engine's events, of which it remembers only few.
func (e *engine) countStarts(ctx context.Context) *starts {
	s := &starts{at: map[string][]time.Time{}}
	stream := e.api.Events(ctx, client.EventsListOptions{Filters: client.Filters{}.
		Add("event", "start").Add("label", fmt.Sprintf("%s=%d", runLabel, os.Getpid()))})
	go func() {
		for {
			select {
			case m := <-stream.Messages:
				s.mu.Lock()
				name := m.Actor.Attributes["name"]
				s.at[name] = append(s.at[name], time.Unix(0, m.TimeNano))
				s.mu.Unlock()
			case err := <-stream.Err:
				s.mu.Lock()
				s.lost = errors.Join(errors.New("the engine's events have ended"), err)
				s.mu.Unlock()
				return
			}
		}
	}()
	return s
}

// since counts the starts of a container after a time.
func (s *starts) since(name string, begin time.Time) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.at[name] {
		if at.After(begin) {
			n++
		}
	}
	return n, s.lost
}

// until polls for a condition.
func until(ctx context.Context, limit time.Duration, what string, cond func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("waited %s: %s", limit, what))
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}
