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

// testImage holds the test's application, with a healthcheck whose interval
// this machine can afford. The probe itself never hangs: a timeout would only
// say that the machine is busy.
var testImage = sync.OnceValue(func() string {
	base := buildTestImage("base", "FROM scratch", "COPY testapp /testapp", `CMD ["/testapp", "serve"]`)
	return buildTestImage("app", "FROM "+base,
		fmt.Sprintf(`HEALTHCHECK --interval=%s --timeout=60s --retries=1 CMD ["/testapp", "probe"]`, probeInterval(base)))
})

// buildTestImage builds an image that many tests share; the run's end removes it.
func buildTestImage(name string, lines ...string) (tag string) {
	dir, err := os.MkdirTemp(runDir, "image-")
	if err != nil {
		panic(err)
	}
	if out, err := exec.Command("cp", filepath.Join(bin, "testapp"), filepath.Join(bin, "healthcheck"), dir).CombinedOutput(); err != nil {
		panic(string(out))
	}
	lines = append(lines, "LABEL "+label, "")
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		panic(err)
	}
	tag = runName(name)
	if err := legacyBuild("-t", tag, dir); err != nil {
		panic(err)
	}
	return tag
}

// pace is how long this machine takes for one command in a container: the
// median of a few, as the run begins.
var pace time.Duration

// probeInterval sizes the load of the tests to the machine: a probe costs the
// engine about pace of one core, and some ten containers are probed at a time.
func probeInterval(image string) time.Duration {
	out, err := exec.Command("docker", "run", "-d", "--label", label, "--network", "none", image).Output()
	if err != nil {
		panic(err)
	}
	id := strings.TrimSpace(string(out))
	defer exec.Command("docker", "rm", "-f", id).Run()
	var took []time.Duration
	for range 5 {
		begin := time.Now()
		if out, err := exec.Command("docker", "exec", id, "/testapp", "probe").CombinedOutput(); err != nil {
			panic(string(out))
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	pace = took[len(took)/2]
	return min(max(12*pace, 500*time.Millisecond), 30*time.Second).Round(time.Millisecond)
}

// newContainer starts a container of the test image.
func newContainer(t *testing.T, args ...string) (name string) {
	t.Helper()
	name = fmt.Sprintf("hc-%d-%s-%d", os.Getpid(), notInNames.ReplaceAllString(strings.ToLower(t.Name()), "-"), containerNumbers.next())
	if !slices.Contains(args, "--network") {
		args = append(args, "--network", "none")
	}
	start(t, append(append([]string{"--name", name}, args...), testImage())...)
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

var containerNumbers counterInt

// dockerExec runs a command in a container until it succeeds: one that the
// watchdog restarts just now says so in many ways.
func dockerExec(t *testing.T, name string, args ...string) {
	t.Helper()
	eventually(t, name+" runs "+strings.Join(args, " "), func() (string, bool) {
		out, code := output(t, nil, "docker", append([]string{"exec", name}, args...)...)
		return fmt.Sprintf("exit %d: %s", code, out), code == 0
	})
}

// starts is how often the container was started.
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

// daemon is a watchdog that runs.
type daemon struct {
	cmd  *exec.Cmd
	log  *logBuffer
	dir  string
	args []string
	env  []string
}

// startWatchdog runs the built watchdog until the end of the test, with short
// pauses and a state file of its own.
func startWatchdog(t *testing.T, env []string, args ...string) *daemon {
	t.Helper()
	d := &daemon{dir: shortDir(t), env: env}
	d.args = append([]string{"run", "--log-format", "json", "--listen", "none", "--state-file", filepath.Join(d.dir, "state.json"), "--control", filepath.Join(d.dir, "control.sock"),
		"--backoff-base", "100ms", "--backoff-max", "2s", "--reconcile", "1s", "--stop-timeout", "1"}, args...)
	d.start(t)
	t.Cleanup(func() { d.stop(t) })
	d.waitFor(t, "watching")
	return d
}

func (d *daemon) start(t *testing.T) {
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
func (d *daemon) stop(t *testing.T) {
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
	case <-time.After(5 * time.Minute):
		d.cmd.Process.Kill()
		t.Errorf("the watchdog does not end:\n%s", tail(d.log.String()))
	}
}

// line is one line of its log.
type line struct {
	Time                                                    time.Time
	Level, Msg, Severity, Service, Container, Cause, Output string
}

func (d *daemon) lines() (out []line) {
	for text := range strings.Lines(d.log.String()) {
		var l line
		if json.Unmarshal([]byte(text), &l) == nil {
			out = append(out, l)
		}
	}
	return out
}

// count says how many lines begin so, about that container where one is named.
func (d *daemon) count(container, prefix string) (n int) {
	for _, l := range d.lines() {
		if strings.HasPrefix(l.Msg, prefix) && (container == "" || l.Container == container) {
			n++
		}
	}
	return n
}

// when is the time of the first line that begins so.
func (d *daemon) when(t *testing.T, prefix string) time.Time {
	t.Helper()
	for _, l := range d.lines() {
		if strings.HasPrefix(l.Msg, prefix) {
			return l.Time
		}
	}
	t.Fatalf("no line begins with %q:\n%s", prefix, tail(d.log.String()))
	return time.Time{}
}

func (d *daemon) waitFor(t *testing.T, prefix string) {
	t.Helper()
	d.waitForN(t, "", prefix, 1)
}

func (d *daemon) waitForN(t *testing.T, container, prefix string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d × %q", n, prefix), func() (string, bool) {
		return tail(d.log.String()), d.count(container, prefix) >= n
	})
}

// never waits for two reconciliations, in which nothing may happen.
func (d *daemon) never(t *testing.T, container, prefix string) {
	t.Helper()
	ctx := time.After(2500*time.Millisecond + 5*pace)
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
	first, third := newContainer(t), newContainer(t)
	d := startWatchdog(t, nil, "--services", first+","+third)
	waitFor(t, first, "healthy")
	dockerExec(t, first, "/testapp", "fail", "1")
	dockerExec(t, third, "/testapp", "fail", "3")
	d.waitForN(t, first, "recovered in ", 1)
	d.waitForN(t, third, "recovered in ", 1)
	if n, m := starts(t, first), starts(t, third); n != 2 || m != 4 {
		t.Errorf("%d and %d starts, want 2 and 4:\n%s", n, m, d.log)
	}
	if d.count(first, "restart ") < 1 || !strings.Contains(d.log.String(), "pool exhausted") || !strings.Contains(d.log.String(), `"cause":"unhealthy: 1 probes failed in a row: pool exhausted`) {
		t.Errorf("the log does not explain:\n%s", d.log)
	}
}

func TestWatchdogGivesUpOnce(t *testing.T) {
	t.Parallel()
	name := newContainer(t)
	d := startWatchdog(t, nil, "--services", name, "--max-attempts", "2")
	dockerExec(t, name, "/testapp", "fail", "-1")
	d.waitForN(t, name, "gave up after 2 restarts", 1)
	waitFor(t, name, "unhealthy")
	d.never(t, name, "restart 3")
	if n := starts(t, name); n != 3 || d.count(name, "gave up") != 1 {
		t.Errorf("%d starts, %d alerts:\n%s", n, d.count(name, "gave up"), d.log)
	}
	// It recovers by itself, and is counted as healthy; failing again it has no
	// attempts left until it has been stable.
	dockerExec(t, name, "/testapp", "fail", "0")
	d.waitForN(t, name, "recovered by itself", 1)
	dockerExec(t, name, "/testapp", "fail", "-1")
	d.waitForN(t, name, "gave up after 2 restarts", 2)
	if n := starts(t, name); n != 3 {
		t.Errorf("%d starts, want 3:\n%s", n, d.log)
	}
}

// A flapping container is not restarted for ever; one that is stable between
// two failures has all its attempts again.
func TestWatchdogFlapping(t *testing.T) {
	t.Parallel()
	flaps, stable := newContainer(t), newContainer(t, "--label", "watchdog.stable-for=100ms")
	d := startWatchdog(t, nil, "--services", flaps+","+stable, "--max-attempts", "2")
	for i := range 3 {
		dockerExec(t, flaps, "/testapp", "fail", "1")
		if i < 2 {
			d.waitForN(t, flaps, "recovered in ", i+1)
		}
		dockerExec(t, stable, "/testapp", "fail", "1")
		d.waitForN(t, stable, "recovered in ", i+1)
		d.waitForN(t, stable, "stable for 100ms", i+1)
	}
	d.waitForN(t, flaps, "gave up after 2 restarts", 1)
}

func TestWatchdogDeaths(t *testing.T) {
	t.Parallel()
	dies, stopped, policy, killed := newContainer(t), newContainer(t), newContainer(t, "--restart", "always"), newContainer(t)
	d := startWatchdog(t, nil, "--services", strings.Join([]string{dies, stopped, policy, killed}, ","))
	for _, name := range []string{dies, stopped, policy, killed} {
		waitFor(t, name, "healthy")
	}
	dockerExec(t, dies, "/testapp", "die", "3")
	docker(t, "stop", "-t", "1", stopped)
	docker(t, "kill", killed)
	docker(t, "exec", policy, "/testapp", "die", "4")
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
	off := newContainer(t, "--label", "watchdog.restart-exited=false")
	d = startWatchdog(t, nil, "--services", off)
	waitFor(t, off, "healthy")
	dockerExec(t, off, "/testapp", "die", "3")
	d.never(t, off, "restart ")
}

// A pause makes a container 'unhealthy' without an event, and unpausing leaves
// it so until a probe passes.
func TestWatchdogPause(t *testing.T) {
	t.Parallel()
	name := newContainer(t)
	d := startWatchdog(t, nil, "--services", name)
	waitFor(t, name, "healthy")
	docker(t, "pause", name)
	waitFor(t, name, "unhealthy")
	d.never(t, name, "restart ")
	docker(t, "unpause", name)
	waitFor(t, name, "healthy")
	d.never(t, name, "restart ")
	// Paused in the middle of a backoff: left alone.
	dockerExec(t, name, "/testapp", "fail", "-1")
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
	name := newContainer(t, "--label", "com.docker.compose.project=p", "--label", "com.docker.compose.service=s"+strconv.Itoa(os.Getpid()))
	service := "s" + strconv.Itoa(os.Getpid())
	d := startWatchdog(t, nil, "--services", service, "--backoff-base", "3s", "--backoff-max", "10s", "--max-attempts", "2")
	dockerExec(t, name, "/testapp", "fail", "-1")
	d.waitForN(t, name, "restart 2 comes in", 1)
	docker(t, "rm", "-f", name)
	d.never(t, name, "restart 2 of")
	// A new container of the same service keeps the count.
	again := newContainer(t, "-e", "FAIL=-1", "--label", "com.docker.compose.project=p", "--label", "com.docker.compose.service="+service)
	d.waitForN(t, again, "restart 2 of 2", 1)
	d.waitForN(t, again, "gave up after 2 restarts", 1)
	// Recreated after giving up it begins anew.
	docker(t, "rm", "-f", again)
	third := newContainer(t, "-e", "FAIL=2", "--label", "com.docker.compose.project=p", "--label", "com.docker.compose.service="+service)
	d.waitForN(t, third, "recovered in ", 1)
}

// Compose recreates the container in the middle of a recovery: the count is
// the service's.
func TestWatchdogRecreatedByCompose(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "docker-compose.yml")
	project := runName("recreated")
	text := fmt.Sprintf("version: '3.8'\nservices:\n  app: {image: %s, network_mode: none, environment: {FAIL: '-1'}, stop_grace_period: 1s, labels: {%s: '%d'}}\n", testImage(), labelKey, os.Getpid())
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
	d := startWatchdog(t, nil, "--services", name, "--backoff-base", "3s", "--backoff-max", "10s", "--max-attempts", "2")
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
	name := newContainer(t)
	d := startWatchdog(t, nil, "--services", name, "--backoff-base", "3s", "--backoff-max", "10s")
	dockerExec(t, name, "/testapp", "fail", "2")
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
func TestWatchdogContainerIgnoresSIGTERM(t *testing.T) {
	t.Parallel()
	name := newContainer(t, "-e", "IGNORE_SIGTERM=1", "--label", "autoheal.stop.timeout=3")
	d := startWatchdog(t, nil, "--services", name)
	dockerExec(t, name, "/testapp", "fail", "1")
	d.waitForN(t, name, "recovered in ", 1)
	if n := starts(t, name); n != 2 {
		t.Errorf("%d starts", n)
	}
}

// Many at once: the guard limits the rate and says so once, and all recover.
func TestWatchdogStorm(t *testing.T) {
	testImage() // which measures the pace
	// Fifty where the machine is as quick as that, fewer on a slow one, and
	// probed so that they take about half of two cores.
	many := int(min(max(50*100*time.Millisecond/pace, 12), 50))
	interval := time.Duration(many) * pace
	var names []string
	for range many {
		names = append(names, newContainer(t, "--label", "watchdog.stop-timeout=0", "--health-interval", interval.String()))
	}
	d := startWatchdog(t, nil, "--services", strings.Join(names, ","), "--max-restarts", fmt.Sprintf("%d/%s", many*2/5, 6*interval))
	for _, name := range names {
		dockerExec(t, name, "/testapp", "fail", "1")
	}
	eventually(t, "all recover", func() (string, bool) {
		recovered := 0
		for _, name := range names {
			if d.count(name, "recovered in ")+d.count(name, "healthy again by itself") > 0 {
				recovered++
			}
		}
		return fmt.Sprintf("%d of %d:\n%s", recovered, many, tail(d.log.String())), recovered == many
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
	project := runName("cascade")
	names := map[string]string{}
	member := func(service, depends string, args ...string) {
		names[service] = newContainer(t, append([]string{"--label", "com.docker.compose.project=" + project, "--label", "com.docker.compose.service=" + service,
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
	d := startWatchdog(t, nil, "--services", names["db"])
	dockerExec(t, names["db"], "/testapp", "fail", "1")
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
	d2 := startWatchdog(t, nil, "--services", names["side"])
	d2.waitForN(t, names["side"], "it lives in the network of a container that is gone", 1)
	if !strings.Contains(d2.log.String(), "docker compose -p "+project+" up -d --force-recreate side") {
		t.Errorf("no command:\n%s", d2.log)
	}
	d2.never(t, names["side"], "restart ")
}

// SIGKILL in the middle of a backoff: attempts and deadlines survive.
func TestWatchdogKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	name := newContainer(t)
	d := startWatchdog(t, nil, "--services", name, "--backoff-base", "4s", "--backoff-max", "8s", "--backoff-jitter", "0", "--max-attempts", "2")
	dockerExec(t, name, "/testapp", "fail", "-1")
	d.waitForN(t, name, "restarted (1 of 2)", 1)
	d.waitForN(t, name, "restart 2 comes in", 1)
	first := d.when(t, "restarted (1 of 2)")
	d.cmd.Process.Kill()
	d.cmd.Wait()
	d.start(t)
	d.waitForN(t, name, "restart 2 of 2", 1)
	if waited := d.when(t, "restart 2 of 2").Sub(first); waited < 7*time.Second {
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
	yes, no, out := newContainer(t, "--label", own+"=true"), newContainer(t), newContainer(t, "--label", own+"=true", "--label", "autoheal=False")
	d := startWatchdog(t, []string{"AUTOHEAL_CONTAINER_LABEL=" + own, "AUTOHEAL_INTERVAL=5", "AUTOHEAL_DEFAULT_STOP_TIMEOUT=1", "AUTOHEAL_START_PERIOD=1", "DOCKER_SOCK=/var/run/docker.sock"})
	for _, name := range []string{yes, no, out} {
		dockerExec(t, name, "/testapp", "fail", "1")
	}
	d.waitForN(t, yes, "recovered in ", 1)
	d.never(t, no, "restart ")
	d.never(t, out, "restart ")
	if d.count("", "AUTOHEAL_INTERVAL has no effect") != 1 {
		t.Errorf("the log does not say so:\n%s", d.log)
	}
}
