package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What Swarm does by itself with an unhealthy task, with the example's stack
// in a swarm of one; and that the watchdog keeps out of it.
func TestSwarmExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../examples/swarm/stack.yml")
	if err != nil {
		t.Fatal(err)
	}
	image := buildImage(t, `ENTRYPOINT ["/demo", "serve", ":5000"]`)
	e := startEngine(t)
	t.Cleanup(func() {
		exec.Command("docker", "-H", e.host, "swarm", "leave", "--force").Run() // and so ends its tasks
		e.gone()
	})
	e.take(t, image)
	e.docker(t, "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")

	// As it stands but for the pauses, one replica, and the network: this
	// engine has only that of its host. The probe looks at what can be broken.
	stack := strings.NewReplacer("interval: 10s", "interval: 2s", "timeout: 5s", "timeout: 2s", "retries: 3", "retries: 1", "start_period: 5m", "start_period: 0s",
		"replicas: 3", "replicas: 1", "delay: 5s", "delay: 0s", `ports: ["5000:5000"]`, "networks: [host]",
		`"--layers", "api", "--interval", "10s", "--timeout", "4s"`, `"--layers", "db", "--interval", "2s", "--timeout", "1s"`).Replace(string(text)) +
		"networks:\n  host:\n    external: true\n    name: host\n"
	if strings.Count(stack, `"--layers", "db"`) != 1 || strings.Count(stack, "condition: any") != 1 {
		t.Fatal(stack)
	}
	deploy := func(stack string) {
		file := filepath.Join(t.TempDir(), "stack.yml")
		if err := os.WriteFile(file, []byte(stack), 0o600); err != nil {
			t.Fatal(err)
		}
		out, code := output(t, append(os.Environ(), "APP_IMAGE="+image), "docker", "-H", e.host, "stack", "deploy", "--resolve-image", "never", "-c", file, "pdf-chat")
		if code != 0 {
			t.Fatal(out)
		}
	}
	healthy := func(but string) (id string) {
		eventually(t, "a healthy task", func() (string, bool) {
			id = e.docker(t, "ps", "-q", "--no-trunc", "--filter", "health=healthy")
			return e.docker(t, "ps", "-a"), id != "" && id != but
		})
		return id
	}
	deploy(stack)
	first := healthy("")
	d := startWatchdog(t, []string{"DOCKER_HOST=" + e.host}, "--all")
	e.docker(t, "kill", "-s", "USR1", first)
	second := healthy(first)
	if state := e.docker(t, "inspect", "-f", "{{.State.Status}}", first); state != "exited" {
		t.Errorf("the unhealthy task is %s", state)
	}

	// The example's remark on on-failure, which it avoids.
	e.docker(t, "stack", "rm", "pdf-chat")
	eventually(t, "the stack is gone", func() (string, bool) { out := e.docker(t, "ps", "-q"); return out, out == "" })
	deploy(strings.Replace(stack, "condition: any", "condition: on-failure", 1))
	e.docker(t, "kill", "-s", "USR1", healthy(second))
	eventually(t, "nothing runs any more", func() (string, bool) {
		out := e.docker(t, "stack", "ps", "pdf-chat", "--format", "{{.DesiredState}} {{.CurrentState}}")
		return out, !strings.Contains(out, "Running") && e.docker(t, "ps", "-q") == ""
	})
	d.never(t, "", "restart ")
}
