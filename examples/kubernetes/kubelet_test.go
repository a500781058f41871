//go:build kubelet

package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// This test runs the Deployment's pod under a real kubelet, which KUBELET
// names, on a containerd of its own. It needs root, and a Docker engine to
// build the images with.

// node is a kubelet with its containerd.
type node struct {
	dir, socket string
	pods        string // the directory of those that no API server directs
	port        string // the kubelet's, for reading
	log         *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// command runs a program, which must succeed.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// eventually waits for a condition for as long as something changes.
func eventually(t *testing.T, what string, cond func() (seen string, ok bool)) {
	t.Helper()
	const stuck, limit = 2 * time.Minute, 10 * time.Minute
	begin := time.Now()
	last, changed := "", begin
	for {
		seen, ok := cond()
		if ok {
			return
		}
		if seen != last {
			last, changed = seen, time.Now()
		}
		if time.Since(changed) > stuck || time.Since(begin) > limit {
			t.Fatalf("waited %s: %s; last seen: %s", time.Since(begin).Round(time.Second), what, seen)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("the test has ended: %s", what)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// background runs a program until the end of the test.
func background(t *testing.T, log *lockedBuffer, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			text := log.String()
			t.Logf("the end of %s's log:\n%s", filepath.Base(name), text[max(0, len(text)-4000):])
		}
	})
	return cmd
}

// keepSysctls restores at the end what a kubelet sets for the whole machine.
func keepSysctls(t *testing.T) {
	for _, name := range []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"} {
		path := "/proc/sys/" + name
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.WriteFile(path, text, 0) })
	}
}

// startNode starts containerd and, when it has the images, a kubelet: one that
// an API server directs, or that runs the pods of a directory alone.
func startNode(t *testing.T, im images, kubeconfig string) (n *node) {
	t.Helper()
	kubelet := os.Getenv("KUBELET")
	if kubelet == "" {
		t.Fatal("KUBELET names no kubelet: ./test.sh kubelet builds one")
	}
	keepSysctls(t)
	dir, err := os.MkdirTemp("", "hc-node-")
	if err != nil {
		t.Fatal(err)
	}
	n = &node{dir: dir, pods: filepath.Join(dir, "pods"), socket: filepath.Join(dir, "containerd.sock"), port: freePort(t), log: &lockedBuffer{}}
	t.Cleanup(func() { n.remove(t) })
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := write("containerd.toml", fmt.Sprintf(`version = 2
root = %q
state = %q
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
`, dir+"/root", dir+"/state", n.socket, im.named(im.pause), dir+"/cni/bin", dir+"/cni/net"))
	background(t, &lockedBuffer{}, "containerd", "--config", config)
	eventually(t, "containerd answers", func() (string, bool) {
		out, err := exec.Command("ctr", "--address", n.socket, "version").CombinedOutput()
		return string(out), err == nil
	})
	archive := filepath.Join(dir, "images.tar")
	command(t, "docker", "save", "-o", archive, im.pause, im.app, im.probe)
	n.ctr(t, "images", "import", archive)

	settings := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"readOnlyPort": atoi(t, n.port), "port": atoi(t, freePort(t)), "address": "127.0.0.1",
		"healthzPort": 0, "authentication": map[string]any{"anonymous": map[string]any{"enabled": true}, "webhook": map[string]any{"enabled": false}},
		"authorization": map[string]any{"mode": "AlwaysAllow"}, "failSwapOn": false, "failCgroupV1": false, "cgroupDriver": "cgroupfs",
		"cgroupRoot": "/", "enforceNodeAllocatable": []string{}, "makeIPTablesUtilChains": false, "fileCheckFrequency": "1s", "syncFrequency": "2s",
		"containerRuntimeEndpoint": "unix://" + n.socket, "imageGCHighThresholdPercent": 100, "evictionHard": map[string]string{"memory.available": "1Mi"},
		"podLogsDir": dir + "/logs",
	}
	args := []string{"--root-dir", dir + "/kubelet", "--cert-dir", dir + "/pki", "--hostname-override", "localhost", "--v", "3"}
	if kubeconfig != "" {
		args = append(args, "--kubeconfig", kubeconfig)
	} else {
		settings["staticPodPath"] = n.pods
	}
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(n.pods, 0o755); err != nil {
		t.Fatal(err)
	}
	background(t, n.log, kubelet, append(args, "--config", write("kubelet.json", string(text)))...)
	return n
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) ctr(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, "ctr", append([]string{"--address", n.socket, "--namespace", "k8s.io"}, args...)...)
}

// remove ends what containerd leaves behind: it goes on without it. It runs
// last, when containerd and the kubelet have ended.
func (n *node) remove(t *testing.T) {
	shims, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range shims {
		text, _ := os.ReadFile(path)
		if !bytes.Contains(text, []byte("containerd-shim")) || !bytes.Contains(text, []byte(n.socket)) {
			continue
		}
		pid := atoi(t, strings.Split(path, "/")[2])
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		for child := range strings.FieldsSeq(string(children)) {
			syscall.Kill(atoi(t, child), syscall.SIGKILL)
		}
		syscall.Kill(pid, syscall.SIGKILL)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // the test's own context has ended
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		left := 0
		for line := range strings.Lines(string(mounts)) {
			if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], n.dir) {
				left++
				syscall.Unmount(f[4], syscall.MNT_DETACH)
			}
		}
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%d mounts are left below %s", left, n.dir)
			return
		}
	}
	os.RemoveAll(n.dir)
	for _, controller := range []string{"*/kubepods", "kubepods"} {
		groups, _ := filepath.Glob("/sys/fs/cgroup/" + controller)
		for _, group := range groups {
			removeGroups(group)
		}
	}
}

// removeGroups removes a cgroup and those below it.
func removeGroups(group string) {
	entries, _ := os.ReadDir(group)
	for _, e := range entries {
		if e.IsDir() {
			removeGroups(filepath.Join(group, e.Name()))
		}
	}
	syscall.Rmdir(group)
}

// status is what the kubelet says of the one pod.
func (n *node) status(t *testing.T) (s corev1.PodStatus, text string) {
	t.Helper()
	resp, err := http.Get("http://127.0.0.1:" + n.port + "/pods")
	if err != nil {
		return s, err.Error()
	}
	defer resp.Body.Close()
	var list corev1.PodList
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return s, err.Error()
	}
	if len(list.Items) != 1 {
		return s, fmt.Sprintf("%d pods", len(list.Items))
	}
	s = list.Items[0].Status
	short, _ := json.Marshal(map[string]any{"phase": s.Phase, "init": s.InitContainerStatuses, "containers": s.ContainerStatuses})
	return s, string(short)
}

// ready waits until the application is ready or not, and returns how often it
// was restarted.
func (n *node) ready(t *testing.T, want bool, restarts int32) {
	t.Helper()
	eventually(t, fmt.Sprintf("ready: %v, restarts: %d", want, restarts), func() (string, bool) {
		s, text := n.status(t)
		log := n.log.String()
		return text + log[max(0, len(log)-1000):], len(s.ContainerStatuses) == 1 && s.ContainerStatuses[0].Ready == want && s.ContainerStatuses[0].RestartCount == restarts
	})
}

// process is the application's process id on this machine; 0 for none.
func process(t *testing.T, mark string) int {
	t.Helper()
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		if text, _ := os.ReadFile(path); bytes.HasPrefix(text, []byte("/demo\x00serve\x00"+mark+"\x00")) {
			return atoi(t, strings.Split(path, "/")[2])
		}
	}
	return 0
}

// signalTo sends the application a signal, and returns its process id.
func signalTo(t *testing.T, mark string, s syscall.Signal) (pid int) {
	t.Helper()
	if pid = process(t, mark); pid == 0 {
		t.Fatalf("no process serves %s", mark)
	}
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
	return pid
}

// images are those of the test's own: the pods' pause, the demonstration in
// the application's place, serving at listen, and the probe.
type images struct{ pause, app, probe, listen string }

func (im images) named(tag string) string { return "docker.io/library/" + tag }

// buildImages builds them from this repository.
func buildImages(t *testing.T) images {
	t.Helper()
	bin := t.TempDir()
	command(t, "go", "-C", "../..", "build", "-o", bin+"/", "./cmd/healthcheck", "./cmd/demo")
	tag := func(name string) string { return fmt.Sprintf("hc-kubelet-%s-%d:latest", name, os.Getpid()) }
	im := images{tag("pause"), tag("app"), tag("probe"), "127.0.0.1:" + freePort(t)}
	for name, text := range map[string]string{
		im.pause: "COPY demo /demo\n" + `ENTRYPOINT ["/demo", "serve", "127.0.0.1:0"]`,
		im.app:   "COPY demo /demo\n" + `ENTRYPOINT ["/demo", "serve", "` + im.listen + `"]`,
		im.probe: "COPY healthcheck /healthcheck\n" + `ENTRYPOINT ["/healthcheck"]`,
	} {
		if err := os.WriteFile(bin+"/Dockerfile", []byte("FROM scratch\n"+text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		command(t, "docker", "build", "-q", "-t", name, bin)
		t.Cleanup(func() { exec.Command("docker", "rmi", "-f", name).Run() })
	}
	return im
}

// suit makes the pod of the Deployment one for this machine, and quicker.
func (im images) suit(t *testing.T, spec *corev1.PodSpec) {
	t.Helper()
	spec.HostNetwork = true
	grace := int64(1)
	spec.TerminationGracePeriodSeconds = &grace
	spec.InitContainers[0].Image = im.named(im.probe)
	c := &spec.Containers[0]
	c.Image, c.Ports = im.named(im.app), nil
	c.Env = []corev1.EnvVar{{Name: "HEALTHCHECK_BASE_URL", Value: "http://" + im.listen}, {Name: "HEALTHCHECK_DB_SERVICE_HOST", Value: "10.0.0.1"}}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		p.PeriodSeconds, p.FailureThreshold = 2, 2
		for i, word := range p.Exec.Command {
			if word == "/ready" {
				p.Exec.Command[i] = "/health" // what the demonstration serves
			}
		}
	}
	c.StartupProbe.FailureThreshold = 60
}

// TestKubelet runs the manifest's pod with quicker probes.
func TestKubelet(t *testing.T) {
	im := buildImages(t)
	listen := im.listen
	n := startNode(t, im, "")
	pod := corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "pdf-chat", Namespace: "default"}}
	for _, o := range decode(t, "deployment.yaml") {
		if d, ok := o.(*appsv1.Deployment); ok {
			pod.Spec = d.Spec.Template.Spec
		}
	}
	im.suit(t, &pod.Spec)
	c := &pod.Spec.Containers[0]
	run := func() {
		t.Helper()
		text, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		// As a whole: the kubelet reads the directory every second.
		if err := errors.Join(os.WriteFile(filepath.Join(n.dir, "pod.json"), text, 0o644), os.Rename(filepath.Join(n.dir, "pod.json"), filepath.Join(n.pods, "pod.json"))); err != nil {
			t.Fatal(err)
		}
	}
	run()
	n.ready(t, true, 0)
	said := func(words ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("the kubelet repeats %q", words), func() (string, bool) {
			log := n.log.String()
			for _, w := range words {
				if !strings.Contains(log, w) {
					return log[max(0, len(log)-2000):], false
				}
			}
			return "", true
		})
	}
	// A dependency is down: no requests, and no restart.
	signalTo(t, listen, syscall.SIGUSR1)
	n.ready(t, false, 0)
	said(`probeType="Readiness"`, "unhealthy: 1 of 3 failed: db: GET http://"+listen+"/db/health: status 503")
	signalTo(t, listen, syscall.SIGUSR2)
	n.ready(t, true, 0)
	// It hangs: the probe ends by itself, before the kubelet's patience, and says
	// why it is restarted.
	hung := signalTo(t, listen, syscall.SIGSTOP)
	n.ready(t, true, 1)
	said(`probeType="Liveness"`, "unhealthy: 1 of 1 failed: api: GET http://"+listen+"/health: no answer within ")
	if process(t, listen) == hung {
		t.Error("the same process serves")
	}
	if s, text := n.status(t); len(s.InitContainerStatuses) != 1 || s.InitContainerStatuses[0].State.Terminated == nil || s.InitContainerStatuses[0].State.Terminated.ExitCode != 0 {
		t.Errorf("the probe was not installed: %s", text)
	}
	// A probe that has more time than the kubelet gives it is killed, and says
	// nothing; none is left behind, dead or alive.
	c.LivenessProbe.FailureThreshold = 100
	c.ReadinessProbe.TimeoutSeconds = 1
	c.ReadinessProbe.Exec.Command = []string{"/probe/healthcheck", "--layers", "api", "--interval", "60s", "--timeout", "50s", "--check-timeout", "50s"}
	run()
	eventually(t, "the pod is the new one", func() (string, bool) {
		s, text := n.status(t)
		return text, process(t, listen) != 0 && len(s.ContainerStatuses) == 1 && s.ContainerStatuses[0].Ready && s.ContainerStatuses[0].RestartCount == 0
	})
	slow := signalTo(t, listen, syscall.SIGSTOP)
	n.ready(t, false, 0)
	said(`probeType="Readiness"`, "timed out")
	signalTo(t, listen, syscall.SIGCONT)
	n.ready(t, true, 0)
	eventually(t, "no probe is left", func() (string, bool) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", slow, slow))
		return string(text), strings.TrimSpace(string(text)) == ""
	})
	if err := os.Remove(filepath.Join(n.pods, "pod.json")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod is gone", func() (string, bool) {
		out, err := exec.Command("ctr", "--address", n.socket, "--namespace", "k8s.io", "tasks", "ls", "-q").CombinedOutput()
		return string(out), err == nil && strings.TrimSpace(string(out)) == ""
	})
}
