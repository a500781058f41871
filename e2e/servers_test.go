package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Real servers from Debian's packages and from the module testservers, each
// started once, in a directory of its own, on a port of its own, and ended
// with the test run.

// server is one that runs.
type server struct {
	port string
	dir  string
	log  *logBuffer
	cmd  *exec.Cmd
	// namespaces are those that it gets to itself (clone(2)).
	namespaces uintptr
}

func (s *server) addr() string { return "127.0.0.1:" + s.port }

// logBuffer keeps what a server writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var (
	serversMu sync.Mutex
	started   []*server
)

// stopServers ends what was started, at the end of the run.
func stopServers() {
	for _, s := range started {
		s.cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { s.cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			s.cmd.Process.Kill()
			<-done
		}
		os.RemoveAll(s.dir)
	}
}

// freePort returns a port of loopback that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

// serverDir is a directory that belongs to the server's own user.
func serverDir(t *testing.T, owner string) (dir string, cred *syscall.Credential) {
	t.Helper()
	dir, err := os.MkdirTemp(runDir, "server-")
	if err != nil {
		t.Fatal(err)
	}
	if owner == "" {
		return dir, nil
	}
	u, err := user.Lookup(owner)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// as runs a command as the server's user, to its end.
func as(t *testing.T, cred *syscall.Credential, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: cred}
	cmd.Env = append(os.Environ(), "TMPDIR="+dir) // its user cannot write where the tests' own goes
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// startServer runs a server that lives until the end of the run.
func startServer(t *testing.T, s *server, cred *syscall.Credential, environ []string, name string, args ...string) {
	t.Helper()
	s.log = &logBuffer{}
	s.cmd = exec.Command(name, args...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, s.log, s.log
	s.cmd.Env = append(append(os.Environ(), "TMPDIR="+s.dir), environ...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Pdeathsig: syscall.SIGKILL, Cloneflags: s.namespaces}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started = append(started, s)
}

// once starts a server for the first test that asks, for all that follow.
func once(start func(t *testing.T) *server) func(t *testing.T) *server {
	var s *server
	return func(t *testing.T) *server {
		t.Helper()
		serversMu.Lock()
		defer serversMu.Unlock()
		if s == nil {
			s = start(t)
		}
		return s
	}
}

// untilHealthy waits until the probe itself finds the server healthy.
func (s *server) untilHealthy(t *testing.T, target string) {
	t.Helper()
	eventually(t, "the server is up: "+target, func() (string, bool) {
		out, code := probe(t, target)
		return out + tail(s.log.String()), code == 0
	})
}

func tail(text string) string { return text[max(0, len(text)-2000):] }

// probe asks one target, given through a variable as secrets should be.
func probe(t *testing.T, target string, args ...string) (string, int) {
	t.Helper()
	return output(t, []string{"HEALTHCHECK_DB=" + target}, filepath.Join(bin, "healthcheck"), append([]string{"--layers", "db"}, args...)...)
}

// pki is a certificate authority with one good and two bad certificates.
type pki struct{ ca, cert, key, expiredCert, otherCert string }

// newPKI writes the files into dir; the key belongs to cred's user.
func newPKI(t *testing.T, dir string, cred *syscall.Credential) pki {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		if cred != nil {
			os.Chown(path, int(cred.Uid), int(cred.Gid))
		}
		return path
	}
	now := time.Now()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: now.Add(-240 * time.Hour), NotAfter: now.Add(24 * time.Hour)}
	sign := func(name, host string, until time.Time) string {
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
			NotBefore: now.Add(-200 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature}
		if host == "localhost" {
			tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, root, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return write(name, "CERTIFICATE", der)
	}
	self, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pki{write("ca.pem", "CERTIFICATE", self), sign("cert.pem", "localhost", now.Add(24*time.Hour)), write("key.pem", "PRIVATE KEY", der),
		sign("expired.pem", "localhost", now.Add(-24*time.Hour)), sign("other.pem", "db.internal", now.Add(24*time.Hour))}
}

// counter is a proxy that counts connections, and how often the client spoke
// after the server: the round trips.
type counter struct {
	addr  string
	mu    sync.Mutex
	conns int
	turns int
	last  byte           // who spoke last: c or s
	open  sync.WaitGroup // clients that may still speak
}

func (c *counter) note(who byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if who == 'c' && c.last != 'c' {
		c.turns++
	}
	c.last = who
}

// between accepts connections, opens one to target for each, and hands over
// both.
func between(t *testing.T, target string, pump func(client, up net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			pump(client, up)
		}
	}()
	return ln.Addr().String()
}

// newCounter counts what goes to target.
func newCounter(t *testing.T, target string) *counter {
	t.Helper()
	c := &counter{}
	pump := func(to, from net.Conn, who byte) {
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				c.note(who)
				to.Write(buf[:n])
			}
			if err != nil {
				to.(*net.TCPConn).CloseWrite()
				return
			}
		}
	}
	c.addr = between(t, target, func(client, up net.Conn) {
		c.mu.Lock()
		c.conns++
		c.last = 0
		c.mu.Unlock()
		c.open.Go(func() { pump(up, client, 'c') })
		go func() { pump(client, up, 's'); client.Close() }()
	})
	return c
}

// wantTrips asserts the round trips and connections since the last call, of
// clients that have ended.
func (c *counter) wantTrips(t *testing.T, conns, turns int) {
	t.Helper()
	c.open.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns != conns || c.turns != turns {
		t.Errorf("%d connections and %d times that the client spoke, want %d and %d", c.conns, c.turns, conns, turns)
	}
	c.conns, c.turns = 0, 0
}

// cached returns a program of the module testservers, built at most once per
// version into a directory outside of the checkout.
func cached(t *testing.T, name string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "healthcheck-testservers", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: test.sh builds it", err)
	}
	return path
}

// silentAfter forwards to target until so many bytes were answered, then stays
// silent.
func silentAfter(t *testing.T, target string, bytes int64) string {
	t.Helper()
	return between(t, target, func(client, up net.Conn) {
		go func() { io.Copy(up, client); up.Close(); client.Close() }()
		go io.CopyN(client, up, bytes)
	})
}

// want probes one target and asserts the exit code and parts of the report.
func want(t *testing.T, target string, code int, parts ...string) {
	t.Helper()
	out, got := probe(t, target)
	if got != code {
		t.Errorf("%s: exit %d, want %d:\n%s", target, got, code, out)
	}
	for _, p := range parts {
		if !bytes.Contains([]byte(out), []byte(p)) {
			t.Errorf("%s does not say %q:\n%s", target, p, out)
		}
	}
	if bytes.Contains([]byte(out), []byte("hunter2")) {
		t.Errorf("a secret in\n%s", out)
	}
}
