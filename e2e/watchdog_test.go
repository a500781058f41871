package e2e

import (
	"encoding/json"
	"fmt"
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

// sickImage holds the patient, probed three times a second.
var sickImage = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp(bin, "image-")
	if err != nil {
		panic(err)
	}
	if out, err := exec.Command("cp", filepath.Join(bin, "sick"), dir).CombinedOutput(); err != nil {
		panic(string(out))
	}
	text := "FROM scratch\nLABEL " + label + "\nCOPY sick /sick\nHEALTHCHECK --interval=300ms --timeout=5s --retries=1 CMD [\"/sick\", \"probe\"]\nCMD [\"/sick\", \"serve\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o644); err != nil {
		panic(err)
	}
	tag := fmt.Sprintf("healthcheck-e2e-%d-sick", os.Getpid())
	cmd := exec.Command("docker", "build", "-q", "-t", tag, dir)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		panic(string(out))
	}
	return tag
})

// patient starts a container of the sick image.
func patient(t *testing.T, args ...string) (name string) {
	t.Helper()
	name = fmt.Sprintf("hc-%d-%s-%d", os.Getpid(), notInNames.ReplaceAllString(strings.ToLower(t.Name()), "-"), patients.next())
	if !slices.Contains(args, "--network") {
		args = append(args, "--network", "none")
	}
	start(t, append(append([]string{"--name", name}, args...), sickImage())...)
	return name
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

type counterInt struct {
	mu sync.Mutex
	n  int
}

func (c *counterInt) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

var patients counterInt

func exec_(t *testing.T, name string, args ...string) {
	t.Helper()
	docker(t, append([]string{"exec", name}, args...)...)
}

// starts is how often the patient was started.
func starts(t *testing.T, name string) int {
	t.Helper()
	dir := t.TempDir()
	docker(t, "cp", name+":/starts", dir+"/starts")
	text, err := os.ReadFile(dir + "/starts")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// dog is a watchdog that runs.
type dog struct {
	cmd  *exec.Cmd
	log  *logBuffer
	dir  string
	args []string
	env  []string
}

// startDog runs the built watchdog until the end of the test, with short
// pauses and a state file of its own.
func startDog(t *testing.T, env []string, args ...string) *dog {
	t.Helper()
	d := &dog{dir: t.TempDir(), env: env}
	d.args = append([]string{"run", "--log-format", "json", "--listen", "none", "--state-file", filepath.Join(d.dir, "state.json"), "--control", filepath.Join(d.dir, "control.sock"),
		"--backoff-base", "100ms", "--backoff-max", "2s", "--reconcile", "1s", "--stop-timeout", "1"}, args...)
	d.start(t)
	t.Cleanup(func() { d.stop(t) })
	d.waitFor(t, "watching")
	return d
}

func (d *dog) start(t *testing.T) {
	t.Helper()
	d.log = &logBuffer{}
	d.cmd = exec.Command(filepath.Join(bin, "watchdog"), d.args...)
	d.cmd.Env = append(os.Environ(), d.env...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// stop ends it as systemd would, and expects it to obey.
func (d *dog) stop(t *testing.T) {
	if d.cmd.ProcessState != nil {
		return
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- d.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the watchdog ended with %v:\n%s", err, tail(d.log.String()))
		}
	case <-time.After(90 * time.Second):
		d.cmd.Process.Kill()
		t.Errorf("the watchdog does not end:\n%s", tail(d.log.String()))
	}
}

// line is one line of its log.
type line struct{ Level, Msg, Severity, Service, Container, Reason, Output string }

func (d *dog) lines() (out []line) {
	for text := range strings.Lines(d.log.String()) {
		var l line
		if json.Unmarshal([]byte(text), &l) == nil {
			out = append(out, l)
		}
	}
	return out
}

// count says how many lines begin so, about that container where one is named.
func (d *dog) count(container, prefix string) (n int) {
	for _, l := range d.lines() {
		if strings.HasPrefix(l.Msg, prefix) && (container == "" || l.Container == container) {
			n++
		}
	}
	return n
}

func (d *dog) waitFor(t *testing.T, prefix string) {
	t.Helper()
	d.waitForN(t, "", prefix, 1)
}

func (d *dog) waitForN(t *testing.T, container, prefix string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d × %q", n, prefix), func() (string, bool) {
		return tail(d.log.String()), d.count(container, prefix) >= n
	})
}

// settled waits for two reconciliations, in which nothing may happen.
func (d *dog) never(t *testing.T, container, prefix string) {
	t.Helper()
	ctx := time.After(2500 * time.Millisecond)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if d.count(container, prefix) > 0 {
			t.Fatalf("%q:\n%s", prefix, tail(d.log.String()))
		}
		select {
		case <-ctx:
			return
		case <-tick.C:
		}
	}
}

func TestWatchdogRecovers(t *testing.T) {
	t.Parallel()
	first, third := patient(t), patient(t)
	d := startDog(t, nil, "--services", first+","+third)
	waitFor(t, first, "healthy")
	exec_(t, first, "/sick", "ill", "1")
	exec_(t, third, "/sick", "ill", "3")
	d.waitForN(t, first, "recovered in ", 1)
	d.waitForN(t, third, "recovered in ", 1)
	if n, m := starts(t, first), starts(t, third); n != 2 || m != 4 {
		t.Errorf("%d and %d starts, want 2 and 4:\n%s", n, m, d.log)
	}
	if d.count(first, "restart ") < 1 || !strings.Contains(d.log.String(), "pool exhausted") || !strings.Contains(d.log.String(), `"reason":"unhealthy: 1 probes failed in a row"`) {
		t.Errorf("the log does not explain:\n%s", d.log)
	}
}

func TestWatchdogGivesUpOnce(t *testing.T) {
	t.Parallel()
	name := patient(t)
	d := startDog(t, nil, "--services", name, "--max-attempts", "2")
	exec_(t, name, "/sick", "ill", "-1")
	d.waitForN(t, name, "gave up after 2 restarts", 1)
	waitFor(t, name, "unhealthy")
	d.never(t, name, "restart 3")
	if n := starts(t, name); n != 3 || d.count(name, "gave up") != 1 {
		t.Errorf("%d starts, %d alerts:\n%s", n, d.count(name, "gave up"), d.log)
	}
	// It recovers by itself, and is counted as well; ill again it has no
	// attempts left until it has been stable.
	exec_(t, name, "/sick", "ill", "0")
	d.waitForN(t, name, "recovered by itself", 1)
	exec_(t, name, "/sick", "ill", "-1")
	d.waitForN(t, name, "gave up after 2 restarts", 2)
	if n := starts(t, name); n != 3 {
		t.Errorf("%d starts, want 3:\n%s", n, d.log)
	}
}

// A flapping container is not restarted for ever; one that is stable between
// two illnesses has all its attempts again.
func TestWatchdogFlapping(t *testing.T) {
	t.Parallel()
	flaps, stable := patient(t), patient(t, "--label", "watchdog.stable-for=100ms")
	d := startDog(t, nil, "--services", flaps+","+stable, "--max-attempts", "2")
	for i := range 3 {
		exec_(t, flaps, "/sick", "ill", "1")
		if i < 2 {
			d.waitForN(t, flaps, "recovered in ", i+1)
		}
		exec_(t, stable, "/sick", "ill", "1")
		d.waitForN(t, stable, "recovered in ", i+1)
		d.waitForN(t, stable, "stable for 100ms", i+1)
	}
	d.waitForN(t, flaps, "gave up after 2 restarts", 1)
}

func TestWatchdogDeaths(t *testing.T) {
	t.Parallel()
	dies, stopped, policy, killed := patient(t), patient(t), patient(t, "--restart", "always"), patient(t)
	d := startDog(t, nil, "--services", strings.Join([]string{dies, stopped, policy, killed}, ","))
	for _, name := range []string{dies, stopped, policy, killed} {
		waitFor(t, name, "healthy")
	}
	exec_(t, dies, "/sick", "die", "3")
	docker(t, "stop", "-t", "1", stopped)
	docker(t, "kill", killed)
	docker(t, "exec", policy, "/sick", "die", "4")
	d.waitForN(t, dies, "recovered in ", 1)
	if !strings.Contains(d.log.String(), "died by itself with exit code 3") {
		t.Errorf("the log does not say why:\n%s", d.log)
	}
	for _, name := range []string{stopped, policy, killed} {
		d.never(t, name, "restart ")
	}
	if n := starts(t, dies); n != 2 {
		t.Errorf("%d starts", n)
	}
	// Off, a death is nobody's business.
	off := patient(t, "--label", "watchdog.restart-exited=false")
	d = startDog(t, nil, "--services", off)
	waitFor(t, off, "healthy")
	exec_(t, off, "/sick", "die", "3")
	d.never(t, off, "restart ")
}

// A pause makes a container 'unhealthy' without an event, and unpausing leaves
// it so until a probe passes.
func TestWatchdogPause(t *testing.T) {
	t.Parallel()
	name := patient(t)
	d := startDog(t, nil, "--services", name)
	waitFor(t, name, "healthy")
	docker(t, "pause", name)
	waitFor(t, name, "unhealthy")
	d.never(t, name, "restart ")
	docker(t, "unpause", name)
	waitFor(t, name, "healthy")
	d.never(t, name, "restart ")
	// Paused in the middle of a backoff: left alone.
	exec_(t, name, "/sick", "ill", "-1")
	d.waitForN(t, name, "restart 1", 1)
	d.waitForN(t, name, "restarted (1", 1)
	docker(t, "pause", name)
	n := starts(t, name)
	d.never(t, name, "gave up")
	if m := starts(t, name); m > n+1 {
		t.Errorf("%d starts, before the pause %d", m, n)
	}
	docker(t, "unpause", name)
}

func TestWatchdogRemovedAndRecreated(t *testing.T) {
	t.Parallel()
	name := patient(t, "--label", "com.docker.compose.project=p", "--label", "com.docker.compose.service=s"+strconv.Itoa(os.Getpid()))
	service := "s" + strconv.Itoa(os.Getpid())
	d := startDog(t, nil, "--services", service, "--backoff-base", "3s", "--backoff-max", "10s", "--max-attempts", "2")
	exec_(t, name, "/sick", "ill", "-1")
	d.waitForN(t, name, "restart 2 comes in", 1)
	docker(t, "rm", "-f", name)
	d.never(t, name, "restart 2 of")
	// A new container of the same service keeps the count.
	again := patient(t, "-e", "ILL=-1", "--label", "com.docker.compose.project=p", "--label", "com.docker.compose.service="+service)
	d.waitForN(t, again, "restart 2 of 2", 1)
	d.waitForN(t, again, "gave up after 2 restarts", 1)
	// Recreated after giving up it begins anew.
	docker(t, "rm", "-f", again)
	third := patient(t, "-e", "ILL=2", "--label", "com.docker.compose.project=p", "--label", "com.docker.compose.service="+service)
	d.waitForN(t, third, "recovered in ", 1)
}

// Compose recreates the container in the middle of a recovery: the count is
// the service's.
func TestWatchdogRecreatedByCompose(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "docker-compose.yml")
	project := fmt.Sprintf("hcre%d", os.Getpid())
	text := fmt.Sprintf("version: '3.8'\nservices:\n  app: {image: %s, network_mode: none, environment: {ILL: '-1'}, stop_grace_period: 1s, labels: {%s: '%d'}}\n", sickImage(), labelKey, os.Getpid())
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	compose := func(args ...string) {
		t.Helper()
		if out, code := output(t, nil, "docker-compose", append([]string{"-p", project, "-f", file}, args...)...); code != 0 {
			t.Fatalf("docker-compose %v: %s", args, out)
		}
	}
	t.Cleanup(func() { exec.Command("docker-compose", "-p", project, "-f", file, "down", "-t", "0").Run() })
	compose("up", "-d")
	name := docker(t, "ps", "-a", "--format", "{{.Names}}", "--filter", "label=com.docker.compose.project="+project)
	d := startDog(t, nil, "--services", name, "--backoff-base", "3s", "--backoff-max", "10s", "--max-attempts", "2")
	d.waitForN(t, name, "restart 2 comes in", 1)
	compose("up", "-d", "--force-recreate")
	d.waitForN(t, name, "restart 2 of 2", 1)
	d.waitForN(t, name, "gave up after 2 restarts", 1)
	if n := starts(t, name); n != 2 {
		t.Errorf("the new container has %d starts, want 2:\n%s", n, d.log)
	}
}

func TestWatchdogRestartedByOthers(t *testing.T) {
	t.Parallel()
	name := patient(t)
	d := startDog(t, nil, "--services", name, "--backoff-base", "3s", "--backoff-max", "10s")
	exec_(t, name, "/sick", "ill", "2")
	d.waitForN(t, name, "restart 2 comes in", 1)
	docker(t, "restart", "-t", "1", name) // by a person, and it helps
	waitFor(t, name, "healthy")
	d.never(t, name, "restart 2 of")
	if n := starts(t, name); n != 3 {
		t.Errorf("%d starts, want 3:\n%s", n, d.log)
	}
}

// One that ignores SIGTERM is killed after its stop timeout, and the
// watchdog's patience is longer than that.
func TestWatchdogDeafContainer(t *testing.T) {
	t.Parallel()
	name := patient(t, "-e", "DEAF=1", "--label", "autoheal.stop.timeout=3")
	d := startDog(t, nil, "--services", name)
	exec_(t, name, "/sick", "ill", "1")
	d.waitForN(t, name, "recovered in ", 1)
	if n := starts(t, name); n != 2 {
		t.Errorf("%d starts", n)
	}
}

// Fifty at once: the guard holds back and says so once, and all recover.
func TestWatchdogStorm(t *testing.T) {
	const many = 50
	var names []string
	for range many {
		// Probed less often: fifty times three a second is all that two cores do.
		names = append(names, patient(t, "--label", "watchdog.stop-timeout=0", "--health-interval", "2s"))
	}
	d := startDog(t, nil, "--services", strings.Join(names, ","), "--max-restarts", "20/4s")
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() { exec.Command("docker", "exec", name, "/sick", "ill", "1").Run() })
	}
	wg.Wait()
	eventually(t, "all recover", func() (string, bool) {
		well := 0
		for _, name := range names {
			if d.count(name, "recovered in ")+d.count(name, "healthy again by itself") > 0 {
				well++
			}
		}
		return fmt.Sprintf("%d of %d:\n%s", well, many, tail(d.log.String())), well == many
	})
	if n := d.count("", "storm: "); n != 1 {
		t.Errorf("%d alerts of the storm:\n%s", n, tail(d.log.String()))
	}
	d.waitFor(t, "the storm is over")
	for _, name := range names {
		if n := starts(t, name); n != 2 {
			t.Errorf("%s: %d starts", name, n)
		}
	}
}

// What depends on a service by compose's labels follows it, in order, after it
// is healthy; what shares its network too. The labels are those of Compose v2,
// written by hand: Debian's docker-compose is older and does not know them.
func TestWatchdogCascade(t *testing.T) {
	t.Parallel()
	project := fmt.Sprintf("hc%d", os.Getpid())
	names := map[string]string{}
	member := func(service, depends string, args ...string) {
		names[service] = patient(t, append([]string{"--label", "com.docker.compose.project=" + project, "--label", "com.docker.compose.service=" + service,
			"--label", "com.docker.compose.container-number=1", "--label", "com.docker.compose.oneoff=False", "--label", "com.docker.compose.depends_on=" + depends,
			"--stop-timeout", "1"}, args...)...)
	}
	member("db", "")
	member("web", "db:service_started:true")
	member("edge", "web:service_started:true,db:service_healthy:true")
	member("calm", "db:service_started:false")
	member("side", "", "--network", "container:"+names["db"])
	for _, name := range names {
		waitFor(t, name, "healthy")
	}
	d := startDog(t, nil, "--services", names["db"])
	exec_(t, names["db"], "/sick", "ill", "1")
	for _, s := range []string{"db", "web", "side", "edge"} {
		d.waitForN(t, names[s], "recovered in ", 1)
	}
	when := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, docker(t, "inspect", "--format", "{{.State.StartedAt}}", names[s]))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if db, web, edge, side := when("db"), when("web"), when("edge"), when("side"); !db.Before(web) || !web.Before(edge) || !db.Before(side) {
		t.Errorf("started: db %s, web %s, edge %s, side %s", db, web, edge, side)
	}
	for s, want := range map[string]int{"db": 2, "web": 2, "edge": 2, "side": 2, "calm": 1} {
		if n := starts(t, names[s]); n != want {
			t.Errorf("%s has %d starts, want %d", s, n, want)
		}
	}
	// The db is gone for good: side hangs in a network that is no more, and
	// only a person can help.
	docker(t, "rm", "-f", names["db"])
	d2 := startDog(t, nil, "--services", names["side"])
	d2.waitForN(t, names["side"], "it lives in the network of a container that is gone", 1)
	if !strings.Contains(d2.log.String(), "docker compose -p "+project+" up -d --force-recreate side") {
		t.Errorf("no command:\n%s", d2.log)
	}
	d2.never(t, names["side"], "restart ")
}

// SIGKILL in the middle of a backoff: attempts and deadlines survive.
func TestWatchdogKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	name := patient(t)
	d := startDog(t, nil, "--services", name, "--backoff-base", "4s", "--backoff-max", "8s", "--backoff-jitter", "0", "--max-attempts", "2")
	exec_(t, name, "/sick", "ill", "-1")
	d.waitForN(t, name, "restarted (1 of 2)", 1)
	first := time.Now()
	d.waitForN(t, name, "restart 2 comes in", 1)
	d.cmd.Process.Kill()
	d.cmd.Wait()
	d.start(t)
	d.waitForN(t, name, "restart 2 of 2", 1)
	if waited := time.Since(first); waited < 7*time.Second {
		t.Errorf("restart 2 came %s after restart 1, want 8s", waited)
	}
	d.waitForN(t, name, "gave up after 2 restarts", 1)
	if n := starts(t, name); n != 3 {
		t.Errorf("%d starts, want 3", n)
	}
	// Given up is remembered, too.
	d.cmd.Process.Kill()
	d.cmd.Wait()
	d.start(t)
	d.waitFor(t, "watching")
	d.never(t, name, "restart ")
}

// docker-autoheal's variables and labels.
func TestWatchdogAsAutoheal(t *testing.T) {
	t.Parallel()
	own := fmt.Sprintf("heal-%d", os.Getpid())
	yes, no, out := patient(t, "--label", own+"=true"), patient(t), patient(t, "--label", own+"=true", "--label", "autoheal=False")
	d := startDog(t, []string{"AUTOHEAL_CONTAINER_LABEL=" + own, "AUTOHEAL_INTERVAL=5", "AUTOHEAL_DEFAULT_STOP_TIMEOUT=1", "AUTOHEAL_START_PERIOD=1", "DOCKER_SOCK=/var/run/docker.sock"})
	for _, name := range []string{yes, no, out} {
		exec_(t, name, "/sick", "ill", "1")
	}
	d.waitForN(t, yes, "recovered in ", 1)
	d.never(t, no, "restart ")
	d.never(t, out, "restart ")
	if d.count("", "AUTOHEAL_INTERVAL has no effect") != 1 {
		t.Errorf("the log does not say so:\n%s", d.log)
	}
}
