package watchdog

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
)

// settings are the flags' defaults, without jitter.
func settings() recovery.Settings {
	p := recovery.DefaultPolicy()
	p.Jitter = 0
	return recovery.Settings{Policy: p, MaxConcurrent: 4, MaxRestarts: 20, Window: 5 * time.Minute}
}

// container is a watched one that started an hour before fake time begins.
func container(health string) recovery.Container {
	c := recovery.Container{ID: "id1", Name: "app", Labels: map[string]string{"watchdog.enable": "true"}, State: "running", Health: health,
		HasHealthcheck: true, StartedAt: time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC), Interval: time.Second, Timeout: time.Second, Retries: 1}
	if health == "unhealthy" {
		c.FailingStreak = 1
		c.LastOutput = "status 503"
	}
	return c
}

// fakeEngine is an engine in memory, for a daemon that lives in fake time.
type fakeEngine struct {
	mu         sync.Mutex
	containers map[string]recovery.Container
	stream     chan docker.Message
	down       bool
	restarts   []string
	stops      []string
	// restart may stand in for the engine's own; nil is success.
	restart func(ctx context.Context, c *recovery.Container) error
	lists   int
	listErr error                // what a list answers; nil: the list
	slowly  func(id string) bool // whose inspections take long
	asked   []time.Time          // since when the streams were asked for, and
	opened  []time.Time          // when
	looks   int                  // inspections at the moment, and
	most    int                  // the most of them at once
}

func newFakeEngine(containers ...recovery.Container) *fakeEngine {
	f := &fakeEngine{containers: map[string]recovery.Container{}}
	for _, c := range containers {
		f.containers[c.ID] = c
	}
	return f
}

var errDown = errors.New("connection refused")

func (f *fakeEngine) Events(ctx context.Context, since time.Time, ready func(), out chan<- docker.Message) error {
	f.mu.Lock()
	down, stream := f.down, f.stream
	f.asked, f.opened = append(f.asked, since), append(f.opened, time.Now())
	f.mu.Unlock()
	if down {
		return errDown
	}
	ready()
	for {
		select {
		case m, ok := <-stream:
			if !ok {
				return io.EOF
			}
			select {
			case out <- m:
			case <-ctx.Done():
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fakeEngine) List(context.Context) ([]recovery.Container, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	if f.down {
		return nil, errDown
	}
	if f.listErr != nil {
		return nil, f.listErr
	}
	return slices.Collect(maps.Values(f.containers)), nil
}

func (f *fakeEngine) Inspect(ctx context.Context, id string) (recovery.Container, error) {
	f.mu.Lock()
	f.looks++
	f.most = max(f.most, f.looks)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.looks--
		f.mu.Unlock()
	}()
	if f.slowly != nil && f.slowly(id) {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return recovery.Container{}, errDown
	}
	c, ok := f.containers[id]
	if !ok {
		return c, docker.ErrGone
	}
	return c, nil
}

func (f *fakeEngine) Restart(ctx context.Context, id string, _ *int) error {
	f.mu.Lock()
	f.restarts = append(f.restarts, id)
	c, act := f.containers[id], f.restart
	f.mu.Unlock()
	if act != nil {
		if err := act(ctx, &c); err != nil {
			return err
		}
	} else {
		c.State, c.Health, c.FailingStreak, c.StartedAt = "running", "healthy", 0, time.Now()
	}
	f.mu.Lock()
	f.containers[id] = c
	f.mu.Unlock()
	return nil
}

func (f *fakeEngine) Start(ctx context.Context, id string) error { return f.Restart(ctx, id, nil) }

func (f *fakeEngine) Stop(_ context.Context, id string, _ *int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stops = append(f.stops, id)
	c := f.containers[id]
	c.State, c.FinishedAt = "exited", time.Now()
	f.containers[id] = c
	return nil
}

// set changes a container and sends an event of it, unless action is empty.
func (f *fakeEngine) set(id, action string, change func(*recovery.Container)) {
	f.mu.Lock()
	c := f.containers[id]
	change(&c)
	f.containers[id] = c
	stream := f.stream
	f.mu.Unlock()
	if action != "" {
		stream <- docker.Message{Action: action, ID: id, At: time.Now()}
	}
}

func (f *fakeEngine) restarted() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.restarts)
}

func makeUnhealthy(c *recovery.Container) { c.Health, c.FailingStreak = "unhealthy", 1 }

// streams are the times since when streams were asked for, and when.
func (f *fakeEngine) streams() (since, at []time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked), slices.Clone(f.opened)
}

// breakStream ends the stream; down says whether another can be opened.
func (f *fakeEngine) breakStream(down bool) {
	f.mu.Lock()
	broken := f.stream
	f.stream, f.down = make(chan docker.Message), down
	f.mu.Unlock()
	close(broken)
}
