package recovery

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/moby/moby/client"
)

// system is what a trial breaks: applications, their database, and a client
// that makes requests at a steady rate, in a network of their own.
type system struct {
	engine  *engine
	name    string // of the trial
	apps    []string
	webhook string
	// began is when the fault came; starts before counted are a person's.
	began, counted time.Time

	mu       sync.Mutex
	requests []request
	client   *exec.Cmd
}

// rate is how many requests a second the client makes of each application.
func rate(apps int) int {
	if apps > 1 {
		return 4
	}
	return 10
}

func appNames(n int) (names []string) {
	if n == 1 {
		return []string{"app"}
	}
	for i := range n {
		names = append(names, "app"+strconv.Itoa(i+1))
	}
	return names
}

// atOnce does something for all the names at the same time.
func atOnce(names []string, do func(name string) error) error {
	errs := make(chan error)
	for _, name := range names {
		go func() { errs <- do(name) }()
	}
	var all []error
	for range names {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// full is the name of a service's container.
func (s *system) full(name string) string { return s.name + "-" + name }

// watched are the containers that have a healthcheck.
func (s *system) watched() []string { return append([]string{"db"}, s.apps...) }

func (s *system) exec(ctx context.Context, name string, args ...string) (string, error) {
	return docker(ctx, append([]string{"exec", s.full(name), "/app"}, args...)...)
}

// breaks is exec for what breaks something: it prints when, and the first of
// several is when the fault came.
func (s *system) breaks(ctx context.Context, name string, args ...string) error {
	text, err := s.exec(ctx, name, args...)
	if ms, bad := strconv.ParseInt(text, 10, 64); bad == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if at := time.UnixMilli(ms); s.began.IsZero() || at.Before(s.began) {
			s.began, s.counted = at, at
		}
	}
	return err
}

// probed waits for the end of a container's next probe. A fault that comes
// right then is noticed after the same time by everybody: else the chance of
// a second more or less would be most of what is measured.
func (s *system) probed(ctx context.Context, name string) error {
	var first time.Time
	return until(ctx, time.Minute, "the next probe of "+name, func() bool {
		res, err := s.engine.api.ContainerInspect(ctx, s.full(name), client.ContainerInspectOptions{})
		if err != nil || res.Container.State == nil || res.Container.State.Health == nil || len(res.Container.State.Health.Log) == 0 {
			return false
		}
		log := res.Container.State.Health.Log
		last := log[len(log)-1].End
		if first.IsZero() {
			first = last
		}
		return last.After(first)
	})
}

// up starts the system of a fault, and returns when all of it is healthy and
// the client's requests are answered.
func (e *engine) up(ctx context.Context, name string, f fault, c contender) (*system, error) {
	s := &system{engine: e, name: name, apps: appNames(f.apps), webhook: "http://" + e.webhooks.addr + "/" + name}
	label := fmt.Sprintf("%s=%d", runLabel, os.Getpid())
	// Internal, so that the engine asks no outer server for the name of a
	// container that is down.
	if _, err := docker(ctx, "network", "create", "--internal", "--label", label, name); err != nil {
		return s, err
	}
	common := func(service string) []string {
		args := []string{"--name", s.full(service), "--network", name, "--network-alias", service, "--label", label}
		if f.disk && service != "db" {
			args = append(args, "-v", name+":/data", "-e", "DATA=/data")
		}
		return args
	}
	if f.disk {
		if _, err := docker(ctx, "volume", "create", "--label", label, "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=4m", name); err != nil {
			return s, err
		}
	}
	watched := func(service string, environ []string, image ...string) error {
		args := append([]string{"run", "-d", "--restart", c.policy, "--label", trialLabel + "=" + name, "-e", "HEALTHCHECK_STATE_DIR=none"}, common(service)...)
		for _, v := range environ {
			args = append(args, "-e", v)
		}
		_, err := docker(ctx, append(args, image...)...)
		return err
	}
	if err := watched("db", []string{"HEALTHCHECK_LAYERS=db", "HEALTHCHECK_DB=redis://:" + adminPassword + "@localhost:6379"}, "--entrypoint", "/redis-server", e.image,
		"--protected-mode", "no", "--save", "", "--enable-debug-command", "yes", "--requirepass", adminPassword, "--user", "app", "on", ">"+password, "+@all"); err != nil {
		return s, err
	}
	environ := []string{"DB=db:6379", "DB_PASSWORD=" + password, "HEALTHCHECK_LAYERS=api,db", "HEALTHCHECK_API=http://localhost:8080/health",
		"HEALTHCHECK_DB=redis://app:" + password + "@db:6379"}
	if f.disk {
		environ = append(environ, "HEALTHCHECK_LAYERS=resource,api,db", "HEALTHCHECK_CPU_MAX=off", "HEALTHCHECK_MEM_MAX=off", "HEALTHCHECK_DISK_PATH=/data")
	}
	for i := 0; i < len(s.apps); i += 4 { // the engine makes few at a time
		if err := atOnce(s.apps[i:min(i+4, len(s.apps))], func(app string) error { return watched(app, environ, e.image) }); err != nil {
			return s, err
		}
	}
	if err := s.startClient(append(append([]string{"run", "--no-healthcheck"}, common("client")...), e.image, "steady", strconv.Itoa(rate(f.apps)*f.apps))); err != nil {
		return s, err
	}
	return s, until(ctx, time.Minute, "all is well before the fault", func() bool { return s.served(time.Second) && s.healthy(ctx) })
}

// startClient keeps what the client prints.
func (s *system) startClient(args []string) error {
	for _, app := range s.apps {
		args = append(args, "http://"+app+":8080/")
	}
	cmd := exec.Command("docker", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.client = cmd
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if r, ok := parseRequest(lines.Text()); ok {
				s.mu.Lock()
				s.requests = append(s.requests, r)
				s.mu.Unlock()
			}
		}
		cmd.Wait()
	}()
	return nil
}

// seen are the requests so far.
func (s *system) seen() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]request(nil), s.requests...)
}

// served says whether every application has answered its client for so long,
// and no request has failed.
func (s *system) served(quiet time.Duration) bool {
	begin := time.Now().Add(-quiet - time.Second) // which a request may take
	answered := map[int]bool{}
	for _, r := range s.seen() {
		if r.sent.Before(begin) {
			continue
		}
		if !r.ok {
			return false
		}
		answered[r.url] = true
	}
	return len(answered) == len(s.apps)
}

// healthy says whether the engine calls all of them healthy.
func (s *system) healthy(ctx context.Context) bool {
	res, err := s.engine.api.ContainerList(ctx, client.ContainerListOptions{
		Filters: client.Filters{}.Add("label", trialLabel+"="+s.name).Add("health", "healthy")})
	return err == nil && len(res.Items) == len(s.watched())
}

// down removes it.
func (s *system) down() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	names := []string{"rm", "-f", "-v", s.full("client")}
	for _, name := range s.watched() {
		names = append(names, s.full(name))
	}
	docker(ctx, names...)
	docker(ctx, "network", "rm", s.name)
	docker(ctx, "volume", "rm", s.name)
	if s.client != nil {
		s.client.Process.Kill()
	}
}

// starts counts the starts of its containers since the fault, but a person's.
func (s *system) starts() (restarts map[string]int, err error) {
	restarts = map[string]int{}
	for _, name := range s.watched() {
		n, err := s.engine.starts.since(s.full(name), s.counted)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			restarts[name] = n
		}
	}
	return restarts, nil
}
