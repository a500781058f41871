package watchdog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"
)

// Engine is what the loop needs of a container engine. The tests have one of
// their own, which lives in fake time.
type Engine interface {
	// Events sends messages to out until the stream ends, and says why it did.
	// Ready is called when the engine has accepted the subscription.
	Events(ctx context.Context, since time.Time, ready func(), out chan<- Message) error
	List(ctx context.Context) ([]Container, error)
	// Inspect returns ErrGone for a container that is not there.
	Inspect(ctx context.Context, id string) (Container, error)
	// Restart and Start return ErrGone likewise. timeout is in seconds; nil
	// leaves it to the container.
	Restart(ctx context.Context, id string, timeout *int) error
	Start(ctx context.Context, id string) error
}

// ErrGone is a container that does not exist.
var ErrGone = errors.New("no such container")

// Message is one event of the engine. It says that something has happened to a
// container; what its state is now is inspected. So it does not matter that
// Podman sends its health events at every probe, with the status elsewhere.
type Message struct {
	// Action is health_status, kill, die, start, stop, pause, unpause, destroy
	// or rename, without what the engine writes behind it.
	Action   string
	ID       string
	Signal   string
	ExitCode int
	At       time.Time
}

// Docker is the engine behind a Docker API: Docker's own, or Podman's.
type Docker struct {
	opts []client.Opt
	api  atomic.Pointer[client.Client]
}

// NewDocker connects to the engine that the environment names (DOCKER_HOST and
// its kin), or to host where that is not empty. Nothing is sent yet.
func NewDocker(host string) (*Docker, error) {
	d := &Docker{opts: []client.Opt{client.FromEnv, client.WithUserAgent("watchdog")}}
	if host != "" {
		d.opts = append(d.opts, client.WithHost(host))
	}
	api, err := client.New(d.opts...)
	if err != nil {
		return nil, fmt.Errorf("the engine's address: %w", err)
	}
	d.api.Store(api)
	return d, nil
}

// Host is the engine's address.
func (d *Docker) Host() string { return d.api.Load().DaemonHost() }

// negotiate agrees on the API's version anew, as the engine behind the socket
// may be another one than before. A socket proxy may allow version but not
// ping, which the client itself needs.
func (d *Docker) negotiate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	api, err := client.New(d.opts...)
	if err != nil {
		return err
	}
	if _, err = api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true, ForceNegotiate: true}); err != nil {
		version, verr := askVersion(ctx, api)
		if verr != nil {
			return errors.Join(err, verr)
		}
		if api, err = client.New(append(slices.Clone(d.opts), client.WithAPIVersion(version))...); err != nil {
			return err
		}
	}
	if old := d.api.Swap(api); old != nil {
		old.Close() // closes what is idle, not what is in flight
	}
	return nil
}

// askVersion asks /version without a version in the path, which every engine
// answers, for the newest API that both sides know.
func askVersion(ctx context.Context, api *client.Client) (string, error) {
	dial := api.Dialer()
	hc := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+client.DummyHost+"/version", nil)
	if err != nil {
		return "", err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var v struct{ APIVersion string }
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET /version: status %d", resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&v); err != nil {
		return "", fmt.Errorf("GET /version: %w", err)
	}
	if versions.GreaterThan(v.APIVersion, client.MaxAPIVersion) {
		return client.MaxAPIVersion, nil
	}
	return v.APIVersion, nil
}

// watchedEvents are asked of the engine by name: every probe makes three
// events of its own, which would be most of the stream.
var watchedEvents = []string{"health_status", "kill", "die", "start", "pause", "unpause", "destroy", "rename"}

// Events implements Engine.
func (d *Docker) Events(ctx context.Context, since time.Time, ready func(), out chan<- Message) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := d.negotiate(ctx); err != nil {
		return err
	}
	filters := client.Filters{}.Add("type", "container").Add("event", watchedEvents...)
	stream := d.api.Load().Events(ctx, client.EventsListOptions{Filters: filters, Since: fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond())})
	select {
	case err := <-stream.Err:
		return orElse(err, io.EOF)
	default:
	}
	ready()
	for {
		select {
		case m := <-stream.Messages:
			select {
			case out <- parseMessage(m):
			case <-ctx.Done():
				return ctx.Err()
			}
		case err := <-stream.Err:
			return orElse(err, io.EOF)
		}
	}
}

// parseMessage reads the fields that matter.
func parseMessage(m events.Message) Message {
	action, _, _ := strings.Cut(string(m.Action), ":")
	code, _ := strconv.Atoi(m.Actor.Attributes["exitCode"])
	at := time.Unix(0, m.TimeNano)
	if m.TimeNano == 0 {
		at = time.Unix(m.Time, 0)
	}
	return Message{Action: strings.TrimSpace(action), ID: m.Actor.ID, Signal: m.Actor.Attributes["signal"], ExitCode: code, At: at}
}

// List implements Engine.
func (d *Docker) List(ctx context.Context) ([]Container, error) {
	res, err := d.api.Load().ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, err
	}
	out := make([]Container, 0, len(res.Items))
	for _, s := range res.Items {
		out = append(out, fromSummary(s))
	}
	return out, nil
}

// fromSummary reads a list's entry; the health is only in the status text of
// older engines: "Up 2 hours (healthy)".
func fromSummary(s container.Summary) Container {
	c := Container{ID: s.ID, Labels: s.Labels, State: string(s.State)}
	if len(s.Names) > 0 {
		c.Name = strings.TrimPrefix(s.Names[0], "/")
	}
	for _, name := range s.Names { // a link's names have a second slash
		if strings.Count(name, "/") == 1 {
			c.Name = strings.TrimPrefix(name, "/")
		}
	}
	switch {
	case strings.Contains(s.Status, "(healthy)"):
		c.Health = "healthy"
	case strings.Contains(s.Status, "(unhealthy)"):
		c.Health = "unhealthy"
	case strings.Contains(s.Status, "(health: starting)"), strings.Contains(s.Status, "(starting)"):
		c.Health = "starting"
	}
	c.HasHealthcheck = c.Health != ""
	c.NetworkOf, _ = strings.CutPrefix(s.HostConfig.NetworkMode, "container:")
	if c.NetworkOf == s.HostConfig.NetworkMode {
		c.NetworkOf = ""
	}
	return c
}

// Inspect implements Engine.
func (d *Docker) Inspect(ctx context.Context, id string) (Container, error) {
	res, err := d.api.Load().ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return Container{}, goneOr(err)
	}
	return fromInspect(res.Container)
}

func fromInspect(r container.InspectResponse) (Container, error) {
	if r.ID == "" || r.State == nil || r.Config == nil || r.HostConfig == nil {
		return Container{}, errors.New("the engine's answer lacks the container's state")
	}
	c := Container{ID: r.ID, Name: strings.TrimPrefix(r.Name, "/"), Labels: r.Config.Labels, State: string(r.State.Status),
		ExitCode: r.State.ExitCode, RestartPolicy: string(r.HostConfig.RestartPolicy.Name), StopTimeout: r.Config.StopTimeout}
	if c.State == "" {
		return Container{}, errors.New("the engine's answer lacks the container's state")
	}
	c.Image = r.Config.Image
	c.StartedAt, _ = time.Parse(time.RFC3339Nano, r.State.StartedAt)
	if mode := string(r.HostConfig.NetworkMode); strings.HasPrefix(mode, "container:") {
		c.NetworkOf = strings.TrimPrefix(mode, "container:")
	}
	if h := r.Config.Healthcheck; h != nil && len(h.Test) > 0 && h.Test[0] != "NONE" {
		c.HasHealthcheck = true
		c.Test = h.Test
		c.Interval, c.Timeout, c.StartPeriod, c.Retries = h.Interval, h.Timeout, h.StartPeriod, h.Retries
	}
	if h := r.State.Health; h != nil && h.Status != container.NoHealthcheck && h.Status != "" {
		c.Health, c.FailingStreak, c.HasHealthcheck = string(h.Status), h.FailingStreak, true
		for _, l := range h.Log {
			if l == nil {
				continue
			}
			c.Log = append(c.Log, ProbeResult{l.Start, l.End, l.ExitCode, bounded(l.Output)})
			c.Dying = endedWithContainer(l.ExitCode, l.Output)
			if l.ExitCode != 0 {
				c.LastOutput = bounded(l.Output)
			}
		}
	}
	return c, nil
}

// endedWithContainer says whether a probe may have failed only because its
// container was ending: it was killed, as everything in a container is then,
// or it could not be started (-1) for a reason that is not its own. runc says
// "cannot exec in a stopped state", "read init-p: connection reset by peer"
// and more; what is wrong with the probe itself it says of exec: "program".
// The engine says "container … is not running".
func endedWithContainer(code int, output string) bool {
	const killed = 128 + 9 // by SIGKILL
	switch {
	case code == killed:
		return true
	case code != -1:
		return false
	case strings.Contains(output, "OCI runtime exec failed"):
		return !strings.Contains(output, `exec: "`)
	}
	return strings.Contains(output, "stopped") || strings.Contains(output, "is not running")
}

// bounded keeps what a log line can bear of a probe's output: its beginning,
// since the cause stands first.
func bounded(text string) string {
	const most = 500
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// Restart implements Engine.
func (d *Docker) Restart(ctx context.Context, id string, timeout *int) error {
	_, err := d.api.Load().ContainerRestart(ctx, id, client.ContainerRestartOptions{Timeout: timeout})
	return goneOr(err)
}

// Start implements Engine.
func (d *Docker) Start(ctx context.Context, id string) error {
	_, err := d.api.Load().ContainerStart(ctx, id, client.ContainerStartOptions{})
	return goneOr(err)
}

func goneOr(err error) error {
	if err != nil && cerrdefs.IsNotFound(err) && strings.Contains(strings.ToLower(err.Error()), "no such container") {
		return ErrGone
	}
	return err
}

// SelfID returns the id of the container that this program runs in, or empty:
// the engine mounts its own files into every container from a directory that
// is named after it.
func SelfID() string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return selfID(string(text))
}

var containerFiles = regexp.MustCompile(`/(?:containers|overlay-containers)/([0-9a-f]{64})/[^ ]* /etc/(?:hostname|hosts|resolv\.conf) `)

func selfID(mountinfo string) string {
	if m := containerFiles.FindStringSubmatch(mountinfo); m != nil {
		return m[1]
	}
	return ""
}
