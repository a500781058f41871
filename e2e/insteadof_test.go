package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// insteadCommands are the commands of the right column of docs/instead-of.md,
// by section.
func insteadCommands(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, section := range strings.Split(pages(t)["../docs/instead-of.md"], "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		for _, row := range regexp.MustCompile(`(?m)^\| .* \|$`).FindAllString(strings.ReplaceAll(text, `\|`, "&"), -1) {
			cells := strings.Split(strings.Trim(row, "| "), " | ")
			if len(cells) != 2 {
				t.Errorf("%d cells: %s", len(cells), row)
				continue
			}
			for _, m := range regexp.MustCompile("`(healthcheck [^`]*)`").FindAllStringSubmatch(cells[1], -1) {
				found[title] = append(found[title], m[1])
			}
		}
	}
	return found
}

// shellWords splits a command as a shell does that knows nothing but single
// quotes.
func shellWords(line string) (words []string) {
	for _, m := range regexp.MustCompile(`(?:[^\s']|'[^']*')+`).FindAllString(line, -1) {
		words = append(words, strings.ReplaceAll(m, "'", ""))
	}
	return words
}

// wantInstead runs the commands of the right column that ask a server of a
// test of its own: addr in place of host.
func wantInstead(t *testing.T, host, addr string) {
	t.Helper()
	n := 0
	for _, lines := range insteadCommands(t) {
		for _, line := range lines {
			if !strings.Contains(line, host) {
				continue
			}
			n++
			words := shellWords(strings.ReplaceAll(line, host, addr))
			if out, code := output(t, nil, filepath.Join(bin, words[0]), words[1:]...); code != 0 {
				t.Errorf("%s: exit %d: %s", line, code, out)
			}
		}
	}
	if n == 0 {
		t.Errorf("no command asks %s", host)
	}
}

// elsewhere are the hosts that tests of their own stand for.
var elsewhere = regexp.MustCompile(`mongo:27017|rabbit:5672|kafka:9092`)

// Every command of the right column finds the server that it asks healthy.
func TestInsteadOf(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"status":"ok"}`)
		case "/echo":
			io.Copy(w, r.Body)
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/old":
			http.Redirect(w, r, "/health", http.StatusMovedPermanently)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	web, webTLS := httptest.NewServer(app), httptest.NewUnstartedServer(app)
	t.Cleanup(web.Close)
	t.Cleanup(webTLS.Close)
	webTLS.EnableHTTP2 = true
	webTLS.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	webTLS.StartTLS()
	influx := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"name":"influxdb","status":"pass"}`) }))
	t.Cleanup(influx.Close)
	write := func(name string, data []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: webTLS.Certificate().Raw}), 0o600)
	der, err := x509.MarshalPKCS8PrivateKey(webTLS.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	key := write("client.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	listen := func(network, addr string) net.Listener {
		ln, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	sock := listen("unix", filepath.Join(dir, "sock"))
	go http.Serve(sock, app)
	serveGRPC := func(ln net.Listener, opts ...grpc.ServerOption) string {
		srv, health := grpc.NewServer(opts...), grpchealth.NewServer()
		health.SetServingStatus("app", healthpb.HealthCheckResponse_SERVING)
		healthpb.RegisterHealthServer(srv, health)
		go srv.Serve(ln)
		t.Cleanup(srv.Stop)
		return ln.Addr().String()
	}
	echo, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { echo.Close() })
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := echo.ReadFrom(buf)
			if err != nil {
				return
			}
			echo.WriteTo(buf[:n], from)
		}
	}()
	pg, maria, cache, locked := postgres(t), mariadb(t), startRedis(t, "--unixsocket", filepath.Join(dir, "redis")), startRedis(t, "--requirepass", password)
	redisSock, secret := filepath.Join(dir, "redis"), write("secret", []byte(password), 0o600)
	cache.untilHealthy(t, "redis://"+cache.addr())
	locked.untilHealthy(t, "redis://:"+urlPassword+"@"+locked.addr())
	webAddr, tlsAddr := strings.TrimPrefix(web.URL, "http://"), strings.TrimPrefix(webTLS.URL, "https://")
	grpcTLS := serveGRPC(listen("tcp4", "127.0.0.1:0"), grpc.Creds(credentials.NewServerTLSFromCert(&webTLS.TLS.Certificates[0])))
	_, webPort, _ := net.SplitHostPort(webAddr)
	stand := strings.NewReplacer(
		"web:8080", webAddr, "web:{PORT:-8080}", "127.0.0.1:{PORT:-8080}", "web:8443", tlsAddr, "dns://web", "dns://localhost",
		"postgres://app:PASSWORD@db:5432", "postgres://app:"+urlPassword+"@"+pg.addr(), "postgres://app:PASSWORD@db", "postgres://app:"+urlPassword+"@"+pg.addr(),
		"mysql://app:PASSWORD@mysql:3306", "mysql://app:"+urlPassword+"@"+maria.addr(), "mysql://app:PASSWORD@mysql", "mysql://app:"+urlPassword+"@"+maria.addr(),
		"postgres://db:5432", "postgres://"+pg.addr(), "postgres://db", "postgres://"+pg.addr(), "@db/app#", "@"+pg.addr()+"/app#", "/run/secrets/db", secret,
		"mysql://mysql", "mysql://"+maria.addr(), "redis://locked-cache", "redis://"+locked.addr(), "/run/redis.sock", redisSock, "influx:8086", strings.TrimPrefix(influx.URL, "http://"),
		"PASSWORD@locked-cache", urlPassword+"@"+locked.addr(), "redis://cache:6379", "redis://"+cache.addr(), "redis://cache", "redis://"+cache.addr(),
		"tcp://db:5432", "tcp://"+pg.addr(), "tcp://cache:6379", "tcp://"+cache.addr(),
		"grpc://grpc:50051", "grpc://"+serveGRPC(listen("tcp4", "127.0.0.1:0")), "/run/grpc.sock", serveGRPC(listen("unix", filepath.Join(dir, "grpc"))), "grpcs://grpc-tls:50051", "grpcs://"+grpcTLS,
		"ca.pem", ca, "client.pem", ca, "client.key", key, "echo:7", echo.LocalAddr().String(), "/run/app.sock", sock.Addr().String(), "/tmp/ready", write("ready", nil, 0o600),
		"/run/app.pid", write("pid", fmt.Append(nil, os.Getpid()), 0o600), "/bin/check", "/bin/true", "-- /app", "-- /bin/true",
		// The machine that runs the tests may be full, or busy.
		"--disk-path /data --disk-max 90", "--disk-path / --disk-max 100 --cpu-max off --mem-max off")
	sections := insteadCommands(t)
	for _, tool := range strings.Fields("wait4x dockerize wait-for-it grpc-health-probe goss microcheck curl wget pg_isready mysqladmin redis-cli nc blackbox_exporter") {
		if len(sections[tool]) < 4 {
			t.Errorf("%s has %d commands", tool, len(sections[tool]))
		}
		for _, line := range sections[tool] {
			if elsewhere.MatchString(line) {
				continue
			}
			words := shellWords(stand.Replace(line))
			out, code := output(t, []string{"PORT=" + webPort, "PATH=" + os.Getenv("PATH")}, filepath.Join(bin, words[0]), words[1:]...)
			if code != 0 {
				t.Errorf("%s: %s: exit %d: %s", tool, line, code, out)
			}
		}
	}
}
