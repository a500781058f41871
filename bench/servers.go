package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// servers are the addresses of what the programs ask. postgres, redis and
// grpc are empty where they cannot be started.
type servers struct {
	app, slow, hung, closed string
	postgres, redis, grpc   string
	notes                   []string
	stop                    []func()
}

func (s *servers) close() {
	for _, f := range s.stop {
		f()
	}
}

// serve starts them all. The application is the seed's, on its own port, since
// the Python script knows no other.
func serve(ctx context.Context, dir string) (*servers, error) {
	s := &servers{}
	var err error
	if s.app, err = s.http("127.0.0.1:5000", 0); err != nil {
		return s, fmt.Errorf("the Python script asks port 5000, which must be free: %w", err)
	}
	if s.slow, err = s.http("127.0.0.1:0", 20*time.Millisecond); err != nil {
		return s, err
	}
	silent, err := net.Listen("tcp4", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		return s, err
	}
	s.stop = append(s.stop, func() { silent.Close() })
	s.hung = silent.Addr().String()
	if s.closed, err = freeAddr(); err != nil {
		return s, err
	}
	for name, start := range map[string]func(context.Context, string) error{"PostgreSQL": s.startPostgres, "Redis": s.startRedis, "a gRPC server": s.startGRPC} {
		if err := start(ctx, dir); err != nil {
			s.notes = append(s.notes, "not there: "+name+": "+firstLine(err.Error()))
		}
	}
	return s, nil
}

func (s *servers) http(addr string, delay time.Duration) (string, error) {
	ln, err := net.Listen("tcp4", addr)
	if err != nil {
		return "", err
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(delay)
		fmt.Fprintln(w, `{"status":"ok"}`)
	})}
	go srv.Serve(ln)
	s.stop = append(s.stop, func() { srv.Close() })
	return ln.Addr().String(), nil
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func (s *servers) startPostgres(ctx context.Context, dir string) error {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		return errors.New("no PostgreSQL: install Debian's package postgresql")
	}
	bin := bins[len(bins)-1]
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	home := filepath.Join(dir, "postgres")
	if err := errors.Join(os.Mkdir(home, 0o700), os.Chown(home, uid, gid), os.Chmod(dir, 0o755)); err != nil {
		return err
	}
	secret := filepath.Join(home, "secret")
	if err := errors.Join(os.WriteFile(secret, []byte("secret"), 0o600), os.Chown(secret, uid, gid)); err != nil {
		return err
	}
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if os.Geteuid() == 0 { // PostgreSQL refuses root
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(home, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "app", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync", "--locale", "C")
	initdb.Dir, initdb.SysProcAttr = home, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "-D", data, "-h", host, "-p", port, "-k", home)
	cmd.Dir, cmd.SysProcAttr = home, attr
	if s.postgres, err = s.start(ctx, cmd, addr); err != nil {
		return err
	}
	return until(ctx, func() error {
		return exec.CommandContext(ctx, filepath.Join(bin, "pg_isready"), "-q", "-h", host, "-p", port).Run()
	})
}

func (s *servers) startRedis(ctx context.Context, dir string) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.CommandContext(ctx, "redis-server", "--bind", host, "--port", port, "--save", "", "--dir", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	s.redis, err = s.start(ctx, cmd, addr)
	return err
}

func (s *servers) startGRPC(ctx context.Context, dir string) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "grpcserver"), addr)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	s.grpc, err = s.start(ctx, cmd, addr)
	return err
}

// start runs a server until it is reached at addr.
func (s *servers) start(ctx context.Context, cmd *exec.Cmd, addr string) (string, error) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	if err := cmd.Start(); err != nil {
		return "", err
	}
	s.stop = append(s.stop, func() { cmd.Process.Signal(syscall.SIGINT); cmd.Wait() })
	err := until(ctx, func() error {
		conn, err := net.DialTimeout("tcp4", addr, time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("%s does not come up: %w", cmd.Path, err)
	}
	return addr, nil
}

// until asks again until there is no error, for 20 s.
func until(ctx context.Context, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
