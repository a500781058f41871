package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// causesImage holds the application with this project's own probe, whose
// checks are set by each container's environment.
var causesImage = sync.OnceValue(func() string {
	base := testImage() // which measures the pace
	return buildTestImage("causes", "FROM "+base, "COPY healthcheck /healthcheck",
		fmt.Sprintf(`HEALTHCHECK --interval=%s --timeout=60s --retries=1 CMD ["/healthcheck", "--timeout", "20s"]`, min(max(12*pace, 500*time.Millisecond), 30*time.Second).Round(time.Millisecond)))
})

// system is a network of containers, and a watchdog for them.
type system struct {
	t       *testing.T
	network string
	project string
	d       *daemon
}

func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{t: t, network: runName(notInNames.ReplaceAllString(strings.ToLower(t.Name()), "-"))}
	s.project = s.network
	docker(t, "network", "create", "--label", label, s.network)
	t.Cleanup(func() { exec.Command("docker", "network", "rm", s.network).Run() })
	return s
}

// add starts a service that answers on port 8080 under its name; environ are
// the variables of its probe, and what else it needs.
func (s *system) add(name string, args ...string) string {
	s.t.Helper()
	full := s.network + "-" + name
	start(s.t, append(append([]string{"--name", full, "--network", s.network, "--network-alias", name, "--stop-timeout", "1",
		"--label", "com.docker.compose.project=" + s.project, "--label", "com.docker.compose.service=" + name,
		"-e", "LISTEN=:8080", "-e", "HEALTHCHECK_STATE_DIR=none"}, args...), causesImage())...)
	return full
}

// own is a probe of the service itself, asks one of others as well.
func own() []string {
	return []string{"-e", "HEALTHCHECK_LAYERS=api", "-e", "HEALTHCHECK_API=http://localhost:8080/readyz"}
}

func asks(target string) []string {
	return []string{"-e", "HEALTHCHECK_LAYERS=api,vector", "-e", "HEALTHCHECK_API=http://localhost:8080/readyz", "-e", "HEALTHCHECK_VECTOR=" + target}
}

// watch starts the watchdog once all are healthy.
func (s *system) watch(args ...string) *daemon {
	s.t.Helper()
	for _, name := range strings.Fields(docker(s.t, "ps", "--filter", "label=com.docker.compose.project="+s.project, "--format", "{{.Names}}")) {
		if inspect(s.t, name).Status != "" {
			waitFor(s.t, name, "healthy")
		}
	}
	names := strings.Fields(docker(s.t, "ps", "-a", "--filter", "label=com.docker.compose.project="+s.project, "--format", "{{.Names}}"))
	s.d = startWatchdog(s.t, nil, append([]string{"--services", strings.Join(names, ",")}, args...)...)
	return s.d
}

func (s *system) wantStarts(want map[string]int) {
	s.t.Helper()
	for name, n := range want {
		if got := starts(s.t, name); got != n {
			s.t.Errorf("%s has %d starts, want %d:\n%s", name, got, n, s.d.log)
		}
	}
}

// healthy waits until the container is healthy, and the watchdog knows.
func (s *system) healthy(name string) {
	s.t.Helper()
	eventually(s.t, name+" is healthy, and the watchdog watches", func() (string, bool) {
		status, _ := output(s.t, nil, filepath.Join(bin, "watchdog"), "status", "--control", filepath.Join(s.d.dir, "control.sock"))
		for l := range strings.Lines(status) {
			if f := strings.Fields(l); len(f) > 3 && f[1] == name && f[2] == "healthy" && f[3] == "watching" {
				return status, true
			}
		}
		return status + tail(s.d.log.String()), false
	})
}

// The culprit is restarted; the victim is held, and healthy afterwards.
func TestCulpritIsRestartedNotTheVictim(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	qdrant := s.add("qdrant", own()...)
	app := s.add("app", asks("qdrant://qdrant:8080")...)
	d := s.watch("--max-attempts", "5")
	dockerExec(t, qdrant, "/testapp", "fail", "1")
	d.waitForN(t, qdrant, "recovered in ", 1)
	s.healthy(app)
	s.wantStarts(map[string]int{qdrant: 2, app: 1})
	if d.count(app, "restart ") > 0 {
		t.Errorf("the victim was restarted:\n%s", d.log)
	}
}

// A model server whose /health answers while its engine hangs: its probe sees
// that from one run of the engine's to the next, the watchdog restarts it, and
// what was seen before the restart tells nothing of it afterwards.
func TestModelServerThatHangsIsRestarted(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	vllm := s.add("vllm", "-e", "HEALTHCHECK_STATE_DIR=/dev/shm", "-e", "HEALTHCHECK_LAYERS=api", "-e", "HEALTHCHECK_API=vllm://localhost:8080/m?stall=1ms")
	d := s.watch()
	dockerExec(t, vllm, "/testapp", "fail", "1")
	d.waitForN(t, vllm, "recovered in ", 1)
	s.healthy(vllm)
	s.wantStarts(map[string]int{vllm: 2})
	if !regexp.MustCompile(`GET /metrics: no step for .*, over 2 probes \(stall=1ms\): vllm:iteration_tokens_total_count of engine .*0.* stands at 1000 with 1 pending`).MatchString(d.log.String()) {
		t.Errorf("the log does not say what hangs:\n%s", d.log)
	}
}

// An image without a healthcheck: restarted on another's word, where its label
// says so.
func TestCulpritWithoutHealthcheck(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	qdrant := s.add("qdrant", "--no-healthcheck", "--label", "watchdog.reported-by=app")
	app := s.add("app", asks("qdrant://qdrant:8080")...)
	d := s.watch()
	dockerExec(t, qdrant, "/testapp", "fail", "1")
	d.waitForN(t, qdrant, "recovered in ", 1)
	s.healthy(app)
	s.wantStarts(map[string]int{qdrant: 2, app: 1})
	if !strings.Contains(d.log.String(), "reported by "+s.project+"/app/1: vector: qdrant://qdrant:8080") {
		t.Errorf("the log does not say who reported it:\n%s", d.log)
	}
}

// Without the label: a warning at once, and a restart of the client at last.
func TestCulpritWithoutHealthcheckAndLabel(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	qdrant := s.add("qdrant", "--no-healthcheck")
	app := s.add("app", asks("qdrant://qdrant:8080")...)
	d := s.watch("--hold-max", "3s")
	dockerExec(t, qdrant, "/testapp", "fail", "1")
	d.waitForN(t, app, "held for 3s: vector depends on "+s.project+"/qdrant/1", 1)
	d.waitForN(t, app, "restart 1 ", 1)
	s.d.never(t, qdrant, "restart ")
	s.wantStarts(map[string]int{qdrant: 1})
}

// A person stops the database: people are told once, nothing is restarted.
func TestDependencyStoppedByAPerson(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	db := s.add("db", own()...)
	app := s.add("app", asks("tcp://db:8080")...)
	d := s.watch("--hold-max", "1s")
	docker(t, "stop", db)
	d.waitForN(t, app, "held: vector depends on "+s.project+"/db/1, which is exited", 1)
	d.never(t, "", "restart ")
	docker(t, "start", db)
	s.healthy(app)
	s.wantStarts(map[string]int{db: 2, app: 1})
}

// What only a person can mend: one critical alert at once, and no restart.
func TestCausesThatNeedAPerson(t *testing.T) {
	t.Parallel()
	s := postgres(t)
	for name, probe := range map[string][]string{
		"wrong password":      {"-e", "HEALTHCHECK_LAYERS=db", "-e", "HEALTHCHECK_DB=postgres://app:wrongpassword@" + s.addr() + "/app"},
		"missing database":    {"-e", "HEALTHCHECK_LAYERS=db", "-e", "HEALTHCHECK_DB=postgres://app:" + urlPassword + "@" + s.addr() + "/nosuch"},
		"full disk":           {"-e", "HEALTHCHECK_LAYERS=resource", "-e", "HEALTHCHECK_CPU_MAX=off", "-e", "HEALTHCHECK_MEM_MAX=off", "-e", "HEALTHCHECK_DISK_MAX=0"},
		"called wrongly":      {"-e", "HEALTHCHECK_LAYERS=nosuch"},
		"expired certificate": {"-e", "HEALTHCHECK_LAYERS=db", "-e", "HEALTHCHECK_DB=postgres://app:" + urlPassword + "@localhost:" + expiredPostgres(t).port + "/postgres?sslmode=verify-full&sslrootcert=/ca.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := fmt.Sprintf("%s-%d", runName("person"), containerNumbers.next())
			args := append([]string{"--name", n, "--network", "host", "-e", "HEALTHCHECK_STATE_DIR=none"}, probe...)
			if name == "expired certificate" {
				args = append(args, "-v", expiredPostgres(t).dir+"/ca.pem:/ca.pem:ro")
			}
			start(t, append(args, causesImage())...)
			d := startWatchdog(t, nil, "--services", n)
			d.waitForN(t, n, "a person must mend it, and no restart helps (", 1)
			d.never(t, n, "restart ")
			critical := 0
			for _, l := range d.lines() {
				if l.Severity == "critical" {
					critical++
				}
			}
			if critical != 1 || starts(t, n) != 1 {
				t.Errorf("%d critical alerts, %d starts:\n%s", critical, starts(t, n), d.log)
			}
			if strings.Contains(d.log.String(), "wrongpassword") {
				t.Errorf("the log has the password:\n%s", d.log)
			}
		})
	}
}

var expiredPostgres = once(func(t *testing.T) *server {
	s := pgVariant(t, nil, "ssl = on\nssl_cert_file = '../expired.pem'\nssl_key_file = '../key.pem'")
	s.untilHealthy(t, "postgres://app:"+urlPassword+"@"+s.addr()+"/postgres?sslmode=require")
	return s
})

// A Postgres in recovery is waited for.
func TestStartingIsWaitedFor(t *testing.T) {
	t.Parallel()
	cold := pgVariant(t, map[string]string{"standby.signal": ""}, "hot_standby = off\nssl = off")
	n := runName("recovering")
	start(t, "--name", n, "--network", "host", "-e", "HEALTHCHECK_STATE_DIR=none", "-e", "HEALTHCHECK_LAYERS=db",
		"-e", "HEALTHCHECK_DB=postgres://app:"+urlPassword+"@"+cold.addr()+"/postgres", causesImage())
	d := startWatchdog(t, nil, "--services", n)
	d.waitForN(t, n, "held for 5m0s: its target says that it is starting", 1)
	d.never(t, n, "restart ")
	as(t, cold.cmd.SysProcAttr.Credential, cold.dir, filepath.Join(postgresBin(t), "pg_ctl"), "promote", "-D", filepath.Join(cold.dir, "data"), "-W")
	d.waitForN(t, n, "healthy again by itself", 1)
	if k := starts(t, n); k != 1 {
		t.Errorf("%d starts:\n%s", k, d.log)
	}
}

// A pool that stays broken when its database is back: restarted then.
func TestStalePool(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	db := s.add("db", own()...)
	app := s.add("app", "-e", "UPSTREAM=db:8080", "--label", "watchdog.dependency.db=db",
		"-e", "HEALTHCHECK_LAYERS=api,db", "-e", "HEALTHCHECK_API=http://localhost:8080/readyz", "-e", "HEALTHCHECK_DB=http://localhost:8080/db")
	d := s.watch("--max-attempts", "100")
	dockerExec(t, db, "/testapp", "fail", "-1")
	d.waitForN(t, app, "held: db depends on "+s.project+"/db/1", 1)
	dockerExec(t, db, "/testapp", "fail", "0")
	d.waitForN(t, app, s.project+"/db/1 is up again", 1)
	d.waitForN(t, app, "recovered in ", 1)
	s.wantStarts(map[string]int{app: 2})
}

// Two that blame each other, one of which is really broken.
func TestCircleOfBlame(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	a := s.add("a", asks("http://b:8080/readyz")...)
	b := s.add("b", asks("http://a:8080/readyz")...)
	d := s.watch("--max-attempts", "5")
	dockerExec(t, a, "/testapp", "fail", "1")
	d.waitForN(t, a, "recovered in ", 1)
	s.healthy(b)
	s.wantStarts(map[string]int{a: 2, b: 1})
}

// Database, API, front end: only the database is restarted.
func TestThreeLevelsOfDependencies(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	db := s.add("db", own()...)
	api := s.add("api", "-e", "HEALTHCHECK_LAYERS=db", "-e", "HEALTHCHECK_DB=http://db:8080/readyz")
	front := s.add("front", "-e", "UPSTREAM=api:8080", "-e", "HEALTHCHECK_LAYERS=vector", "-e", "HEALTHCHECK_VECTOR=http://api:8080/readyz")
	d := s.watch("--max-attempts", "5")
	dockerExec(t, api, "/testapp", "fail", "-1") // front sees it; api's own probe only asks db
	dockerExec(t, db, "/testapp", "fail", "1")
	d.waitForN(t, db, "recovered in ", 1)
	dockerExec(t, api, "/testapp", "fail", "0")
	s.healthy(api)
	s.healthy(front)
	s.wantStarts(map[string]int{db: 2, api: 1, front: 1})
}
