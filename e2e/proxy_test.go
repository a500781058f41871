package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const engineSocket = "/var/run/docker.sock"

// faultyEngine stands between the watchdog and the real engine.
type faultyEngine struct {
	host string
	mu   sync.Mutex
	seen map[string]int // what was asked: "POST /containers/*/restart"
	// serve may answer a request itself; it returns false to pass it on.
	serve func(w http.ResponseWriter, r *http.Request, nth int) bool
	// events may change the stream of events.
	events func(body io.ReadCloser, nth int) io.ReadCloser
}

var (
	versionPath   = regexp.MustCompile(`^/v1\.[0-9]+`)
	containerPath = regexp.MustCompile(`^/containers/[^/]+/`)
)

// pattern names what a request asks, without its id.
func pattern(r *http.Request) string {
	path := versionPath.ReplaceAllString(r.URL.Path, "")
	return r.Method + " " + containerPath.ReplaceAllString(path, "/containers/*/")
}

func newFaultyEngine(t *testing.T) *faultyEngine {
	t.Helper()
	f := &faultyEngine{seen: map[string]int{}}
	sock := filepath.Join(shortDir(t), "engine.sock")
	ln, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	f.host = "unix://" + sock
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "engine"}) },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", engineSocket)
		}},
		ModifyResponse: func(resp *http.Response) error {
			if p := pattern(resp.Request); p == "GET /events" && f.events != nil {
				resp.Body = f.events(resp.Body, f.count(p))
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { w.WriteHeader(http.StatusBadGateway) },
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := pattern(r)
		f.mu.Lock()
		f.seen[p]++
		n := f.seen[p]
		f.mu.Unlock()
		if f.serve == nil || !f.serve(w, r, n) {
			proxy.ServeHTTP(w, r)
		}
	})}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return f
}

func (f *faultyEngine) count(p string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[p]
}

// lineStream changes a stream of events line by line. change returns what is
// to be sent for a line, and whether the stream ends behind it.
type lineStream struct {
	body   io.ReadCloser
	lines  *bufio.Reader
	change func(line []byte) ([]byte, bool)
	rest   []byte
	ended  bool
}

func changed(body io.ReadCloser, change func([]byte) ([]byte, bool)) io.ReadCloser {
	return &lineStream{body: body, lines: bufio.NewReader(body), change: change}
}

func (l *lineStream) Close() error { return l.body.Close() }

func (l *lineStream) Read(p []byte) (int, error) {
	for len(l.rest) == 0 {
		if l.ended {
			return 0, io.EOF
		}
		line, err := l.lines.ReadBytes('\n')
		if err != nil {
			return 0, err
		}
		l.rest, l.ended = l.change(line)
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// engineCall asks the real engine something, as a fault's accomplice.
func engineCall(path string) error {
	hc := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", engineSocket)
	}}}
	resp, err := hc.Post("http://engine"+path, "", nil)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusNotModified {
		return errors.New(resp.Status)
	}
	return nil
}

func refuse(w http.ResponseWriter, code int) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintln(w, `{"message":"a fault of the test"}`)
	return true
}

// After every fault the container is healthy, by one restart and no more, and
// nothing else was restarted.
func TestWatchdogThroughFaults(t *testing.T) {
	const restart, list, inspect, events = "POST /containers/*/restart", "GET /containers/json", "GET /containers/*/json", "GET /events"
	hang := func(r *http.Request) bool { <-r.Context().Done(); return true }
	type fault struct {
		serve  func(w http.ResponseWriter, r *http.Request, nth int) bool
		events func(body io.ReadCloser, nth int) io.ReadCloser
		also   string
	}
	for name, c := range map[string]fault{
		"events cut at any byte": {events: func(body io.ReadCloser, nth int) io.ReadCloser {
			return struct {
				io.Reader
				io.Closer
			}{io.LimitReader(body, rand.Int64N(700)), body}
		}},
		"events silent": {events: func(body io.ReadCloser, _ int) io.ReadCloser {
			return changed(body, func([]byte) ([]byte, bool) { return nil, false })
		}},
		"events doubled": {events: func(body io.ReadCloser, _ int) io.ReadCloser {
			return changed(body, func(l []byte) ([]byte, bool) { return bytes.Repeat(l, 3), false })
		}},
		"events reordered": {events: func(body io.ReadCloser, _ int) io.ReadCloser {
			var held []byte
			return changed(body, func(l []byte) ([]byte, bool) {
				if held == nil {
					held = slices.Clone(l)
					return nil, false
				}
				out := append(slices.Clone(l), held...)
				held = nil
				return out, false
			})
		}},
		"events garbled": {events: func(body io.ReadCloser, nth int) io.ReadCloser {
			n := 0
			return changed(body, func(l []byte) ([]byte, bool) {
				if n++; n%2 == nth%2 {
					return []byte("\x00{]garbage\n"), false
				}
				return l, false
			})
		}},
		"events lost": {events: func(body io.ReadCloser, _ int) io.ReadCloser {
			return changed(body, func(l []byte) ([]byte, bool) {
				if rand.IntN(2) == 0 {
					return nil, false
				}
				return l, false
			})
		}},
		"events end every time": {events: func(body io.ReadCloser, _ int) io.ReadCloser {
			return changed(body, func(l []byte) ([]byte, bool) { return l, true })
		}},
		"events refused at first": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			return pattern(r) == events && nth <= 3 && refuse(w, 500)
		}},
		"ping refused": {serve: func(w http.ResponseWriter, r *http.Request, _ int) bool {
			return strings.HasSuffix(pattern(r), "/_ping") && refuse(w, 403)
		}},
		"list answers 500": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			return pattern(r) == list && nth%2 == 1 && refuse(w, 500)
		}},
		"list answers garbage": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			if pattern(r) != list || nth%2 == 0 {
				return false
			}
			io.WriteString(w, `[{"Id": 7, "Names": {]`)
			return true
		}},
		"list hangs": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			return pattern(r) == list && nth == 2 && hang(r)
		}},
		"inspect answers 500": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			return pattern(r) == inspect && nth%3 != 0 && refuse(w, 500) // two containers: never the same one's
		}},
		"inspect answers garbage": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			if pattern(r) != inspect || nth%3 == 0 {
				return false
			}
			io.WriteString(w, `{"Id":"x","State":null}`)
			return true
		}},
		"inspect hangs": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			return pattern(r) == inspect && nth == 1 && hang(r)
		}},
		"restart answers 500 at first": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			return pattern(r) == restart && nth == 1 && refuse(w, 500)
		}, also: "the restart failed"},
		"restart answers 404 at first": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			if pattern(r) != restart || nth > 1 {
				return false
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintln(w, `{"message":"No such container: x"}`)
			return true
		}, also: "the restart failed"},
		"restart is refused at first": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			return pattern(r) == restart && nth <= 2 && refuse(w, 403)
		}, also: "the restart failed"},
		"restart succeeds, but nobody says so": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			if pattern(r) != restart || nth > 1 {
				return false
			}
			engineCall(r.URL.Path + "?t=0")
			panic(http.ErrAbortHandler)
		}},
		"restart fails in its start half": {serve: func(w http.ResponseWriter, r *http.Request, nth int) bool {
			if pattern(r) != restart || nth > 1 {
				return false
			}
			engineCall(strings.TrimSuffix(r.URL.Path, "restart") + "stop?t=0")
			return refuse(w, 500)
		}, also: "the restart failed half-way"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFaultyEngine(t)
			f.serve, f.events = c.serve, c.events
			name, bystander := newContainer(t), newContainer(t)
			waitFor(t, name, "healthy")
			d := startWatchdog(t, []string{"DOCKER_HOST=" + f.host}, "--services", name+","+bystander)
			dockerExec(t, name, "/testapp", "fail", "1")
			eventually(t, "the container is healthy, and the watchdog knows", func() (string, bool) {
				return tail(d.log.String()), starts(t, name) == 2 && docker(t, "inspect", "--format", "{{.State.Health.Status}}", name) == "healthy" &&
					d.count(name, "recovered in ")+d.count(name, "healthy again by itself") > 0
			})
			d.never(t, bystander, "restart ")
			if n := starts(t, name); n != 2 {
				t.Errorf("%d starts:\n%s", n, d.log)
			}
			if n := starts(t, bystander); n != 1 {
				t.Errorf("the bystander has %d starts", n)
			}
			if c.also != "" && d.count("", c.also) == 0 {
				t.Errorf("the log does not say %q:\n%s", c.also, d.log)
			}
		})
	}
}

// A proxy that forbids restarts: given up, said why, nothing restarted.
func TestWatchdogWithoutRights(t *testing.T) {
	t.Parallel()
	f := newFaultyEngine(t)
	f.serve = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		return r.Method == http.MethodPost && refuse(w, 403)
	}
	name := newContainer(t)
	d := startWatchdog(t, []string{"DOCKER_HOST=" + f.host}, "--services", name)
	dockerExec(t, name, "/testapp", "fail", "-1")
	d.waitForN(t, name, "gave up after 3 restarts: the restart failed", 1)
	if n := starts(t, name); n != 1 {
		t.Errorf("%d starts", n)
	}
}

// Only the calls that a socket proxy must allow are ever made.
func TestWatchdogCalls(t *testing.T) {
	t.Parallel()
	f := newFaultyEngine(t)
	name, dies, side := newContainer(t), newContainer(t), ""
	side = newContainer(t, "--network", "container:"+name)
	d := startWatchdog(t, []string{"DOCKER_HOST=" + f.host}, "--services", name+","+dies)
	dockerExec(t, name, "/testapp", "fail", "2")
	dockerExec(t, dies, "/testapp", "die", "1")
	for _, n := range []string{name, dies, side} {
		d.waitForN(t, n, "recovered in ", 1)
	}
	allowed := []string{"HEAD /_ping", "GET /_ping", "GET /version", "GET /events", "GET /containers/json", "GET /containers/*/json", "POST /containers/*/restart", "POST /containers/*/start"}
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.seen {
		if !slices.Contains(allowed, p) {
			t.Errorf("it asks %s", p)
		}
	}
	for _, must := range []string{"GET /events", "GET /containers/json", "POST /containers/*/restart"} {
		if f.seen[must] == 0 {
			t.Errorf("it never asks %s: %v", must, f.seen)
		}
	}
}

// secondEngine is a Docker engine of the test's own.
type secondEngine struct {
	*server
	host string
	args []string
}

func (e *secondEngine) docker(t *testing.T, args ...string) string {
	t.Helper()
	return docker(t, append([]string{"-H", e.host}, args...)...)
}

func startEngine(t *testing.T, more ...string) *secondEngine {
	t.Helper()
	dir, _ := serverDir(t, "")
	// An engine without a bridge deletes docker0, which is the machine's own
	// engine's: this one gets a network to itself.
	e := &secondEngine{server: &server{dir: dir, namespaces: syscall.CLONE_NEWNET}, host: "unix://" + dir + "/docker.sock"}
	// The machine's own configuration is for the machine's own engine.
	if err := os.WriteFile(dir+"/daemon.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.args = append([]string{"--config-file", dir + "/daemon.json", "--data-root", dir + "/data", "--exec-root", dir + "/exec", "-p", dir + "/pid", "-H", e.host, "--bridge=none", "--iptables=false"}, more...)
	e.up(t)
	return e
}

func (e *secondEngine) up(t *testing.T) {
	t.Helper()
	// In a network of its own even loopback has to be brought up.
	startServer(t, e.server, nil, nil, "sh", append([]string{"-c", `ip link set lo up && exec dockerd "$@"`, "dockerd"}, e.args...)...)
	eventually(t, "the second engine answers", func() (string, bool) {
		out, code := output(t, nil, "docker", "-H", e.host, "version")
		return out + tail(e.log.String()), code == 0
	})
}

// down stops the engine and waits for it.
func (e *secondEngine) down() {
	e.cmd.Process.Signal(syscall.SIGTERM)
	e.cmd.Wait()
}

// gone ends the engine for good.
func (e *secondEngine) gone() {
	e.down()
	// It mounts its root on itself, and the host's network for containers.
	for _, mount := range []string{"/data", "/exec/netns/default"} {
		syscall.Unmount(e.dir+mount, syscall.MNT_DETACH)
	}
}

// take copies an image from the machine's own engine.
func (e *secondEngine) take(t *testing.T, image string) {
	t.Helper()
	file := e.dir + "/image.tar"
	docker(t, "save", "-o", file, image)
	e.docker(t, "load", "-i", file)
	os.Remove(file)
}

// The engine is restarted under the watchdog, with and without live-restore.
func TestWatchdogAndEngineRestarts(t *testing.T) {
	for _, live := range []bool{false, true} {
		t.Run(fmt.Sprintf("live-restore=%v", live), func(t *testing.T) {
			e := startEngine(t, fmt.Sprintf("--live-restore=%v", live))
			// A container that outlives its engine must not outlive the test.
			t.Cleanup(func() {
				exec.Command("docker", "-H", e.host, "rm", "-f", "app", "other").Run()
				e.gone()
			})
			e.take(t, testImage())
			run := func(name string) {
				// What outlives the engine needs nobody to revive it.
				policy := map[bool]string{false: "always", true: "no"}[live]
				e.docker(t, "run", "-d", "--name", name, "--network", "none", "--restart", policy, testImage())
			}
			status := func(name string) string {
				out, _ := output(t, nil, "docker", "-H", e.host, "inspect", "--format", "{{.State.Health.Status}}", name)
				return strings.TrimSpace(out)
			}
			run("app")
			run("other")
			d := startWatchdog(t, []string{"DOCKER_HOST=" + e.host}, "--services", "app,other")
			eventually(t, "healthy", func() (string, bool) { s := status("app"); return s, s == "healthy" })
			e.down()
			d.waitFor(t, "the event stream has ended")
			e.up(t)
			eventually(t, "healthy again", func() (string, bool) { s := status("app"); return s, s == "healthy" })
			d.never(t, "", "restart ")
			if live {
				// This engine (20.10) does not take up the probes of a container
				// that it finds running; a death it does notice.
				e.docker(t, "exec", "app", "/testapp", "die", "3")
				d.waitForN(t, "app", "recovered in ", 1)
				return
			}
			// It goes on watching, and what became unhealthy meanwhile is recovered.
			e.docker(t, "exec", "app", "/testapp", "fail", "1")
			d.waitForN(t, "app", "recovered in ", 1)
			e.docker(t, "exec", "other", "/testapp", "fail", "1")
			e.down()
			e.up(t)
			eventually(t, "other is healthy", func() (string, bool) { s := status("other"); return s + tail(d.log.String()), s == "healthy" })
			d.never(t, "app", "gave up")
		})
	}
}
