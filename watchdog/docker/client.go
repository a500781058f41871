package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"

	"healthcheck/watchdog/recovery"
)

// ErrGone is a container that does not exist.
var ErrGone = errors.New("no such container")

// Client speaks to one engine.
type Client struct {
	// Figures reads what the last probe's report tells of each check, and Details
	// the image, the probe's command and the log of probes.
	Figures, Details bool

	opts []client.Opt
	api  atomic.Pointer[client.Client]
	// agreed says that api knows the engine's version. The client would ask for
	// it itself, and would let all other calls wait for that without a limit.
	agreed atomic.Bool
	turn   chan struct{} // held by the call that asks for it
	over   http.RoundTripper
	lists  lists
}

const userAgent = "watchdog"

// New connects to the engine that the environment names (DOCKER_HOST,
// DOCKER_TLS_VERIFY, DOCKER_CERT_PATH), or to host where that is not empty.
// Nothing is sent yet. What is over, if it is set, carries the requests: the
// tests' engine has no socket.
func New(host string, over http.RoundTripper) (*Client, error) {
	c := &Client{turn: make(chan struct{}, 1), over: over, opts: []client.Opt{client.FromEnv, client.WithUserAgent(userAgent)}}
	if host != "" {
		c.opts = append(c.opts, client.WithHost(host))
	}
	if over != nil {
		c.opts = append(c.opts, client.WithHTTPClient(&http.Client{Transport: over, CheckRedirect: client.CheckRedirect}))
	}
	api, err := client.New(c.opts...)
	if err != nil {
		return nil, fmt.Errorf("the engine's address: %w", err)
	}
	c.api.Store(api)
	return c, nil
}

// Host is the engine's address.
func (c *Client) Host() string { return c.api.Load().DaemonHost() }

// negotiateTimeout bounds the calls that agree on the API's version.
const negotiateTimeout = 10 * time.Second

// negotiate agrees on the API's version anew, as the engine behind the socket
// may be another one than before. A socket proxy may allow version but not
// ping, which the client itself needs.
func (c *Client) negotiate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, negotiateTimeout)
	defer cancel()
	api, err := client.New(c.opts...)
	if err != nil {
		return err
	}
	if _, err = api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true, ForceNegotiate: true}); err != nil {
		version, verr := askVersion(ctx, api)
		if verr != nil {
			return errors.Join(err, verr)
		}
		if api, err = client.New(append(slices.Clone(c.opts), client.WithAPIVersion(version))...); err != nil {
			return err
		}
	}
	if old := c.api.Swap(api); old != nil {
		old.Close() // closes what is idle, not what is in flight
	}
	c.agreed.Store(true)
	return nil
}

// connected is the client for a call, which agrees on the version first where
// no stream of events has.
func (c *Client) connected(ctx context.Context) (*client.Client, error) {
	if c.agreed.Load() {
		return c.api.Load(), nil
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !c.agreed.Load() {
		if err := c.negotiate(ctx); err != nil {
			return nil, err
		}
	}
	return c.api.Load(), nil
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

// Inspect returns ErrGone for a container that is not there.
func (c *Client) Inspect(ctx context.Context, id string) (recovery.Container, error) {
	api, err := c.connected(ctx)
	if err != nil {
		return recovery.Container{}, err
	}
	res, err := api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return recovery.Container{}, goneOr(err)
	}
	out, err := fromInspect(res.Container)
	if err != nil {
		return out, err
	}
	if c.Figures {
		out.Figures = figures(res.Container.State.Health)
	}
	if c.Details {
		out.Details = details(res.Container)
	}
	return out, nil
}

// Restart returns ErrGone for a container that is not there. timeout is the
// time to stop in, in seconds; nil leaves it to the container.
func (c *Client) Restart(ctx context.Context, id string, timeout *int) error {
	api, err := c.connected(ctx)
	if err != nil {
		return err
	}
	_, err = api.ContainerRestart(ctx, id, client.ContainerRestartOptions{Timeout: timeout})
	return goneOr(err)
}

// Stop returns ErrGone for a container that is not there; timeout is as in
// Restart. One that is down already is no error.
func (c *Client) Stop(ctx context.Context, id string, timeout *int) error {
	api, err := c.connected(ctx)
	if err != nil {
		return err
	}
	_, err = api.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: timeout})
	return goneOr(err)
}

// Start returns ErrGone for a container that is not there.
func (c *Client) Start(ctx context.Context, id string) error {
	api, err := c.connected(ctx)
	if err != nil {
		return err
	}
	_, err = api.ContainerStart(ctx, id, client.ContainerStartOptions{})
	return goneOr(err)
}

func goneOr(err error) error {
	if err != nil && cerrdefs.IsNotFound(err) && strings.Contains(strings.ToLower(err.Error()), "no such container") {
		return ErrGone
	}
	return err
}
