package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// maxBinary bounds the static program, in bytes: with two pages for what the
// linker notes of the version.
const maxBinary = 7_870_000

func TestSizeOfTheStaticProgram(t *testing.T) {
	st, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", st.Size())
	if st.Size() > maxBinary {
		t.Errorf("%d bytes, want at most %d", st.Size(), maxBinary)
	}
}

// The program speaks HTTP by itself: net/http and what comes with it would be
// 0.4 MB, and pages that every start reads.
func TestLinksNoNetHTTP(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, "healthcheck/probe/protocol") {
		t.Fatalf("%q lacks what it must have", linked)
	}
	for _, unwanted := range []string{"net/http", "golang.org/x/net/http2", "mime/multipart", "compress/gzip"} {
		if slices.Contains(linked, unwanted) {
			t.Errorf("%s is linked", unwanted)
		}
	}
}

// What runs before main runs in every probe of every container. These are the
// packages that do anything then, the standard library's aside, with the bytes
// that they allocate: no busy machine changes that. A table or a pattern that
// is built there shows, and so does a new package.
const maxInitBytes, maxInitAllocs = 50_000, 400

func TestLittleHappensBeforeMain(t *testing.T) {
	line := regexp.MustCompile(`(?m)^init (\S+) @\S+ ms, \S+ ms clock, (\d+) bytes, (\d+) allocs$`)
	cmd := exec.CommandContext(t.Context(), binary, "--version")
	cmd.Env = []string{"GODEBUG=inittrace=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	bytes, allocs := 0, 0
	var lines []string
	for _, m := range line.FindAllStringSubmatch(string(out), -1) {
		host, _, _ := strings.Cut(m[1], "/")
		if !strings.Contains(host, ".") && host != "healthcheck" && host != "main" {
			continue // the standard library
		}
		n, err1 := strconv.Atoi(m[2])
		k, err2 := strconv.Atoi(m[3])
		if err1 != nil || err2 != nil {
			t.Fatal(m[0])
		}
		bytes, allocs, lines = bytes+n, allocs+k, append(lines, m[0])
	}
	if len(lines) < 5 {
		t.Fatalf("the runtime lists %d packages: %s", len(lines), out)
	}
	if bytes > maxInitBytes || allocs > maxInitAllocs {
		t.Errorf("%d bytes in %d allocations before main, want at most %d in %d:\n%s", bytes, allocs, maxInitBytes, maxInitAllocs, strings.Join(lines, "\n"))
	}
	t.Logf("%d bytes in %d allocations:\n%s", bytes, allocs, strings.Join(lines, "\n"))
}

// faultyServer answers every connection with serve, on loopback.
func faultyServer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return ln.Addr().String()
}

// endless writes text again and again, after the request's first bytes.
func endless(first, text string, pause time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		c.Read(make([]byte, 1024))
		io.WriteString(c, first)
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for range tick.C {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

// Everything that can hang at once, asked by the program as users have it: it
// ends by itself, exits 1, and says of each what it waited for.
func TestDeadlineHoldsAgainstEveryFaultyServer(t *testing.T) {
	silent := func(c net.Conn) { io.Copy(io.Discard, c) }
	resolver, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer resolver.Close()
	const head = "HTTP/1.1 200 OK\r\n"
	targets := map[string]string{
		"silent":     "http://" + faultyServer(t, silent),
		"drip":       "http://" + faultyServer(t, endless("", "H", 10*time.Millisecond)),
		"headers":    "http://" + faultyServer(t, endless(head, "X-A: b\r\n", 10*time.Millisecond)),
		"body":       "http://" + faultyServer(t, endless(head+"\r\n", "x", 10*time.Millisecond)) + "#body=y",
		"endless":    "http://" + faultyServer(t, endless(head+"\r\n", strings.Repeat("x", 1<<16), time.Microsecond)) + "#body=y",
		"redirects":  "http://" + faultyServer(t, endless(head[:9]+"302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "x", time.Second)) + "#max-redirects=1000000000",
		"tls":        "https://" + faultyServer(t, silent),
		"resolver":   "dns://name.example.?server=" + resolver.LocalAddr().String(),
		"reset":      "http://" + faultyServer(t, func(c net.Conn) { c.Read(make([]byte, 1024)); c.(*net.TCPConn).SetLinger(0) }),
		"blackholed": "tcp://" + fullBacklog(t),
	}
	args := []string{"--timeout", "400ms", "--layers", "api"}
	for name, target := range targets {
		args = append(args, "--api", name+"="+target)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = []string{}
	out, _ := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("still running; it has printed:\n%s", out)
	}
	if cmd.ProcessState.ExitCode() != 1 || len(out) > 4096 {
		t.Errorf("exit %d, %d bytes", cmd.ProcessState.ExitCode(), len(out))
	}
	causes := map[string]string{"reset": "connection reset by peer", "endless": "the body is larger than"}
	for name := range targets {
		cause := causes[name]
		if cause == "" {
			cause = "no answer within 400ms"
		}
		if !regexp.MustCompile(`(?m)^FAIL ` + name + ` .*` + cause).Match(out) {
			t.Errorf("%s does not say %q in\n%s", name, cause, out)
		}
	}
}

// fullBacklog returns an address whose connections stay half-open: the
// kernel drops what comes when a listener's queue is full.
func fullBacklog(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
	for range 8 {
		c, err := net.DialTimeout("tcp4", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the listener's queue never fills up")
	return ""
}

// The state directory belongs to an enemy: whatever lies at the place of what a
// run keeps, the verdict is right, and nothing is written through a link.
func TestHostileStateDirectory(t *testing.T) {
	server := newModelServer(t, pendingPage)
	for kind, k := range map[string]struct {
		args  []string
		anew  string // what a probe says that finds nothing
		twice string // what one says that finds what an earlier one kept
		none  string // what one says that can keep nothing, before it says why
	}{
		"the CPU": {[]string{"--layers", "resource", "--cpu-max", "off", "--mem-max", "off", "--disk-max", "off", "--cpu-window", "60ms"},
			"over 60ms", "since last probe", "(no sample kept: "},
		"a model server": {[]string{"--layers", "api", "--api", "vllm://" + server.addr},
			"vllm:iteration_tokens_total_count is 4812, 5 pending", "no step for ", "progress is not judged: "},
	} {
		t.Run(kind, func(t *testing.T) { hostileStateDirectory(t, k.args, k.anew, k.twice, k.none) })
	}
}

func hostileStateDirectory(t *testing.T, args []string, anew, twice, none string) {
	dir := t.TempDir()
	probe := func() (string, int) {
		stdout, stderr, code := execute(t, []string{"HEALTHCHECK_STATE_DIR=" + dir}, args...)
		return stdout + stderr, code
	}
	probe()
	files, err := filepath.Glob(filepath.Join(dir, "healthcheck-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the sample is in %q, %v", files, err)
	}
	sample := files[0]
	if st, err := os.Stat(sample); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	kept, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	// As old as the CPU's is to be for an interval of 30 s.
	if err := os.WriteFile(sample, inPast(t, kept), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := probe(); code != 0 || !strings.Contains(out, twice) {
		t.Fatalf("a sample of its own: exit %d:\n%s", code, out)
	}
	victim := filepath.Join(t.TempDir(), "victim")
	for name, c := range map[string]struct {
		plant func() error
		says  string // empty: replaced without a word
	}{
		"symbolic link": {func() error { return os.Symlink(victim, sample) }, "is a symbolic link"},
		"hard link":     {func() error { return os.Link(victim, sample) }, "has 2 links"},
		"FIFO":          {func() error { return syscall.Mkfifo(sample, 0o600) }, "is not a regular file"},
		"directory":     {func() error { return os.Mkdir(sample, 0o700) }, "is not a regular file"},
		"writable":      {func() error { return os.WriteFile(sample, kept, 0o600) }, "is writable by others"},
		"garbage":       {func() error { return os.WriteFile(sample, []byte("\x00\xff{{{"), 0o600) }, ""},
		"endless":       {func() error { return os.WriteFile(sample, []byte(strings.Repeat("[", 1<<20)), 0o600) }, ""},
		"future time":   {func() error { return os.WriteFile(sample, inFuture(kept), 0o600) }, ""},
		"empty":         {func() error { return os.WriteFile(sample, nil, 0o600) }, ""},
	} {
		if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		os.RemoveAll(sample)
		err := c.plant()
		if name == "writable" && err == nil {
			err = os.Chmod(sample, 0o622)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out, code := probe()
		if c.says == "" && (code != 0 || !strings.Contains(out, anew)) {
			t.Errorf("%s: exit %d:\n%s", name, code, out)
		}
		if c.says != "" && (code != 0 || !strings.Contains(out, none+sample+" "+c.says)) {
			t.Errorf("%s: exit %d, does not say %q:\n%s", name, code, c.says, out)
		}
		if text, _ := os.ReadFile(victim); string(text) != "precious" {
			t.Errorf("%s: the victim holds %q", name, text)
		}
	}
}

// inPast moves a kept sample's times by 16 s.
func inPast(t *testing.T, sample []byte) []byte {
	return regexp.MustCompile(`"(At|Since)":\d+`).ReplaceAllFunc(sample, func(m []byte) []byte {
		key, value, _ := strings.Cut(string(m), ":")
		at, err := strconv.ParseInt(value, 10, 64)
		if err != nil || at < 16e9 {
			t.Fatalf("%s: %v", m, err)
		}
		return fmt.Appendf(nil, "%s:%d", key, at-16e9)
	})
}

// inFuture moves a kept sample's time beyond now.
func inFuture(sample []byte) []byte {
	return regexp.MustCompile(`"At":\d+`).ReplaceAll(sample, []byte(`"At":9000000000000000000`))
}

// Probes that run at once share the file and none is fooled by another.
func TestProbesAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 3 {
				cmd := exec.CommandContext(t.Context(), binary, "--layers", "resource", "--cpu-max", "off", "--mem-max", "off", "--disk-max", "off", "--cpu-window", "10ms", "--state-dir", dir)
				cmd.Env = []string{}
				if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "no sample kept") {
					t.Errorf("%v:\n%s", err, out)
				}
			}
		})
	}
	wg.Wait()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left, want 1: %v, %v", len(left), left, err)
	}
}
