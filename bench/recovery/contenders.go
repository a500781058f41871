package recovery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"
)

// contender is one way to have containers recovered.
type contender struct {
	name, what string
	// policy is the restart policy of the containers.
	policy string
	// start begins to watch, and returns when it does. What it returns ends it.
	start func(ctx context.Context, s *system) (stop func(), err error)
}

const enginesPolicy = "unless-stopped"

// contenders is the table of them, in the order in which they are shown.
var contenders = []contender{
	{"none", "no watchdog, no restart policy", "no", nothing},
	{"restart-policy", "the engine's own: restart: unless-stopped", enginesPolicy, nothing},
	{"polling", "asks every second for what is unhealthy, and restarts it, as docker-autoheal does (every 5 s by default); unless-stopped", enginesPolicy, polling},
	{"on-event", "restarts at the event, without a limit, as deunhealth does; unless-stopped", enginesPolicy, onEvent},
	{"watchdog-by-count", "watchdog --by-cause=false; no restart policy", "no", watchdog("--by-cause=false")},
	{"watchdog", "watchdog, all defaults; no restart policy", "no", watchdog()},
}

func nothing(context.Context, *system) (func(), error) { return func() {}, nil }

// inBackground runs a loop until it is stopped, and waits for its end.
func inBackground(ctx context.Context, loop func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop(ctx)
	}()
	return func() { cancel(); <-done }
}

// polling does what docker-autoheal's page says: every AUTOHEAL_INTERVAL it
// asks for the containers with its label that are unhealthy, restarts one after
// the other with a stop timeout of ten seconds, and posts to WEBHOOK_URL.
func polling(ctx context.Context, s *system) (func(), error) {
	filters := client.Filters{}.Add("label", trialLabel+"="+s.name).Add("health", "unhealthy")
	seconds := 10
	return inBackground(ctx, func(ctx context.Context) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			res, err := s.engine.api.ContainerList(ctx, client.ContainerListOptions{Filters: filters})
			if err != nil {
				continue
			}
			for _, c := range res.Items {
				text := "restarted"
				if _, err := s.engine.api.ContainerRestart(ctx, c.ID, client.ContainerRestartOptions{Timeout: &seconds}); err != nil {
					text = "failed to restart"
				}
				s.post(ctx, fmt.Sprintf("Container %s found to be unhealthy: %s", c.ID, text))
			}
		}
	}), nil
}

// post sends an alert to the benchmark's own receiver.
func (s *system) post(ctx context.Context, text string) {
	body, _ := json.Marshal(map[string]string{"text": text})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.webhook, strings.NewReader(string(body)))
	if err != nil {
		return
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
	}
}

// onEvent does what deunhealth does: it subscribes to the events of the
// containers with its label, and restarts what becomes unhealthy, one after the
// other, by the container's own stop timeout. It sends no alerts.
func onEvent(ctx context.Context, s *system) (func(), error) {
	filters := client.Filters{}.Add("label", trialLabel+"="+s.name).Add("event", "health_status")
	ctx, cancel := context.WithCancel(ctx)
	stream := s.engine.api.Events(ctx, client.EventsListOptions{Filters: filters})
	stop := inBackground(ctx, func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-stream.Err:
				return
			case m := <-stream.Messages:
				if m.Action == "health_status: unhealthy" {
					s.engine.api.ContainerRestart(ctx, m.Actor.ID, client.ContainerRestartOptions{})
				}
			}
		}
	})
	return func() { stop(); cancel() }, nil
}

// watchdog is this project's, as users start it: every figure its default.
func watchdog(flags ...string) func(context.Context, *system) (func(), error) {
	return func(ctx context.Context, s *system) (func(), error) {
		dir, err := os.MkdirTemp(s.engine.dir, "dog-")
		if err != nil {
			return nil, err
		}
		log, err := os.Create(filepath.Join(s.engine.logs, s.name+".log"))
		if err != nil {
			return nil, err
		}
		var names []string
		for _, name := range s.watched() {
			names = append(names, s.full(name))
		}
		// Not CommandContext: it is asked to end, and finishes what it does.
		cmd := exec.Command(filepath.Join(s.engine.dir, "watchdog"), append([]string{"run", "--services", strings.Join(names, ","), "--listen", "none",
			"--state-file", filepath.Join(dir, "state.json"), "--control", filepath.Join(dir, "control.sock"), "--log-format", "json",
			"--notify", "generic+" + s.webhook + "?template=json"}, flags...)...)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		stop := func() {
			cmd.Process.Signal(syscall.SIGTERM)
			time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
			cmd.Wait()
			log.Close()
		}
		err = until(ctx, 20*time.Second, "the watchdog watches", func() bool {
			text, _ := os.ReadFile(log.Name())
			return strings.Contains(string(text), `"event":"watching"`)
		})
		if err != nil {
			stop()
			return nil, err
		}
		return stop, nil
	}
}
