package watchdog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// stage is an engine in memory, for a loop that lives in fake time.
type stage struct {
	mu       sync.Mutex
	boxes    map[string]Container
	stream   chan Message
	down     bool
	restarts []string
	// restart may stand in for the engine's own; nil is success.
	restart func(ctx context.Context, c *Container) error
	lists   int
}

func newStage(boxes ...Container) *stage {
	s := &stage{boxes: map[string]Container{}}
	for _, c := range boxes {
		s.boxes[c.ID] = c
	}
	return s
}

var errDown = errors.New("connection refused")

func (s *stage) Events(ctx context.Context, _ time.Time, ready func(), out chan<- Message) error {
	s.mu.Lock()
	down, stream := s.down, s.stream
	s.mu.Unlock()
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

func (s *stage) List(context.Context) ([]Container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	if s.down {
		return nil, errDown
	}
	return slices.Collect(maps.Values(s.boxes)), nil
}

func (s *stage) Inspect(_ context.Context, id string) (Container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return Container{}, errDown
	}
	c, ok := s.boxes[id]
	if !ok {
		return c, ErrGone
	}
	return c, nil
}

func (s *stage) Restart(ctx context.Context, id string, _ *int) error {
	s.mu.Lock()
	s.restarts = append(s.restarts, id)
	c, act := s.boxes[id], s.restart
	s.mu.Unlock()
	if act != nil {
		if err := act(ctx, &c); err != nil {
			return err
		}
	} else {
		c.State, c.Health, c.FailingStreak, c.StartedAt = "running", "healthy", 0, time.Now()
	}
	s.mu.Lock()
	s.boxes[id] = c
	s.mu.Unlock()
	return nil
}

func (s *stage) Start(ctx context.Context, id string) error { return s.Restart(ctx, id, nil) }

// set changes a container and tells of it, unless action is empty.
func (s *stage) set(id, action string, change func(*Container)) {
	s.mu.Lock()
	c := s.boxes[id]
	change(&c)
	s.boxes[id] = c
	stream := s.stream
	s.mu.Unlock()
	if action != "" {
		stream <- Message{Action: action, ID: id, At: time.Now()}
	}
}

func (s *stage) restarted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.restarts)
}

// syncBuffer is a log that two goroutines may touch.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// inLoop runs a loop in fake time, and play beside it.
func inLoop(t *testing.T, s *stage, play func(l *Loop, log *syncBuffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := &syncBuffer{}
		s.stream = make(chan Message) // of the bubble's own
		set := settings()
		l := &Loop{Engine: s, Settings: set, Log: slog.New(slog.NewTextHandler(log, nil)), Reconcile: time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); l.Run(ctx) }()
		synctest.Wait()
		play(l, log)
		cancel()
		<-ended
		synctest.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
}

func makeIll(c *Container) { c.Health, c.FailingStreak = "unhealthy", 1 }

func TestLoopRestartsAtOnce(t *testing.T) {
	s := newStage(box("healthy"))
	inLoop(t, s, func(_ *Loop, log *syncBuffer) {
		begin := time.Now()
		s.set("id1", "health_status", makeIll)
		synctest.Wait()
		if s.restarted() != 1 || time.Since(begin) != 0 || !strings.Contains(log.String(), "recovered in 0s, by restart 1") {
			t.Errorf("%d restarts after %s:\n%s", s.restarted(), time.Since(begin), log)
		}
	})
}

// What was unhealthy before the watchdog came says nothing: it is listed.
func TestLoopFindsWhoIsIllAlready(t *testing.T) {
	s := newStage(box("unhealthy"))
	inLoop(t, s, func(*Loop, *syncBuffer) {
		if s.restarted() != 1 {
			t.Errorf("%d restarts", s.restarted())
		}
	})
}

// An event that is lost costs a minute, no more.
func TestLoopReconciles(t *testing.T) {
	s := newStage(box("healthy"))
	inLoop(t, s, func(*Loop, *syncBuffer) {
		s.set("id1", "", makeIll)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if s.restarted() != 1 {
			t.Errorf("%d restarts", s.restarted())
		}
	})
}

// An idle loop asks for one list a minute and nothing else.
func TestLoopIsQuietWhenIdle(t *testing.T) {
	s := newStage(box("healthy"))
	inLoop(t, s, func(*Loop, *syncBuffer) {
		s.mu.Lock()
		before := s.lists
		s.mu.Unlock()
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := s.lists - before; n != 4 {
			t.Errorf("%d lists in four minutes", n)
		}
	})
}

// A restart that hangs is waited for as long as the engine may take, and not
// cancelled before; nobody else waits with it.
func TestLoopRestartThatHangs(t *testing.T) {
	other := with(box("healthy"), func(c *Container) { c.ID, c.Name = "id2", "other" })
	s := newStage(box("healthy"), other)
	s.restart = func(ctx context.Context, c *Container) error {
		if c.ID == "id1" {
			<-ctx.Done()
			return ctx.Err()
		}
		c.State, c.Health, c.FailingStreak, c.StartedAt = "running", "healthy", 0, time.Now()
		return nil
	}
	inLoop(t, s, func(_ *Loop, log *syncBuffer) {
		s.set("id1", "health_status", makeIll)
		synctest.Wait()
		s.set("id2", "health_status", makeIll)
		synctest.Wait()
		if !strings.Contains(log.String(), "recovered in 0s") {
			t.Errorf("the other one waits:\n%s", log)
		}
		time.Sleep(engineStopTimeout + killWait + startWait - time.Second)
		synctest.Wait()
		if n := s.restarted(); n != 2 || strings.Contains(log.String(), "the restart failed") {
			t.Errorf("%d restarts:\n%s", n, log)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !strings.Contains(log.String(), "the restart failed: context deadline exceeded") {
			t.Errorf("the hung one is not told:\n%s", log)
		}
	})
}

// SIGTERM in the middle of a restart finishes it.
func TestLoopFinishesWhatIsInFlight(t *testing.T) {
	s := newStage(box("healthy"))
	s.restart = func(ctx context.Context, c *Container) error {
		select {
		case <-ctx.Done():
			t.Error("the call was cancelled")
		case <-time.After(20 * time.Second):
		}
		c.State, c.Health, c.FailingStreak, c.StartedAt = "running", "healthy", 0, time.Now()
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		s.stream = make(chan Message)
		file := filepath.Join(t.TempDir(), "state.json")
		l := &Loop{Engine: s, Settings: settings(), Store: Store{file}, Log: slog.New(slog.DiscardHandler), Reconcile: time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); l.Run(ctx) }()
		synctest.Wait()
		s.set("id1", "health_status", makeIll)
		synctest.Wait()
		begin := time.Now()
		cancel()
		if <-ended; time.Since(begin) != 20*time.Second {
			t.Errorf("ended after %s", time.Since(begin))
		}
		kept, err := Store{file}.Load(time.Now())
		if err != nil || kept.Services["app"].Attempts != 1 || kept.Services["app"].Phase != Idle || len(kept.History) != 3 {
			t.Errorf("%v, %+v, %v", err, kept.Services["app"], kept.History)
		}
	})
}

// A lost engine is retried for ever, told after a minute, once, and resolved.
func TestLoopEngineLost(t *testing.T) {
	s := newStage(box("healthy"))
	inLoop(t, s, func(l *Loop, log *syncBuffer) {
		s.mu.Lock()
		s.down = true
		close(s.stream)
		s.stream = make(chan Message)
		s.mu.Unlock()
		time.Sleep(50 * time.Second)
		if strings.Contains(log.String(), "severity=critical") || l.Health(time.Now()) != nil {
			t.Errorf("told too early:\n%s", log)
		}
		time.Sleep(10 * time.Minute)
		if n := strings.Count(log.String(), "the engine has been lost for"); n != 1 {
			t.Errorf("told %d times", n)
		}
		if err := l.Health(time.Now()); err == nil || !strings.Contains(err.Error(), "cannot be reached since") {
			t.Errorf("health: %v", err)
		}
		s.set("id1", "", makeIll) // meanwhile
		s.mu.Lock()
		s.down = false
		s.mu.Unlock()
		time.Sleep(lastRetry + time.Second)
		synctest.Wait()
		if !strings.Contains(log.String(), "the engine is back") || s.restarted() != 1 || l.Health(time.Now()) != nil {
			t.Errorf("%d restarts, %v:\n%s", s.restarted(), l.Health(time.Now()), log)
		}
	})
}

// The delays between the restarts of one that never recovers are the policy's.
func TestLoopBacksOff(t *testing.T) {
	s := newStage(box("healthy"))
	var at []time.Duration
	var begin time.Time
	s.restart = func(_ context.Context, c *Container) error {
		at = append(at, time.Since(begin))
		c.State, c.StartedAt = "running", time.Now()
		makeIll(c)
		return nil
	}
	inLoop(t, s, func(_ *Loop, log *syncBuffer) {
		begin = time.Now()
		s.set("id1", "health_status", makeIll)
		time.Sleep(time.Hour)
		synctest.Wait()
		if got, want := fmt.Sprint(at), "[0s 2s 6s]"; got != want || strings.Count(log.String(), "gave up after 3 restarts") != 1 {
			t.Errorf("restarts at %s, want %s:\n%s", got, want, log)
		}
	})
}

// A loop that does not turn is ill, whatever the engine does.
func TestLoopThatStalls(t *testing.T) {
	s := newStage(box("healthy"))
	inLoop(t, s, func(l *Loop, _ *syncBuffer) {
		if err := l.Health(time.Now()); err != nil {
			t.Error(err)
		}
		if err := l.Health(time.Now().Add(2 * time.Minute)); err == nil || !strings.Contains(err.Error(), "the loop has not turned for 2m0s") {
			t.Errorf("%v", err)
		}
	})
}

// The client's patience is longer than what the engine may take.
func TestRestartTime(t *testing.T) {
	at := func(n int) *int { return &n }
	for _, c := range []struct {
		own, given *int
		want       time.Duration
	}{
		{nil, nil, 82 * time.Second}, {at(30), nil, 102 * time.Second}, {at(30), at(5), 77 * time.Second}, {at(-1), nil, time.Hour}, {nil, at(-1), time.Hour}, {at(100000), nil, time.Hour},
	} {
		if got := restartTime(Action{Container: Container{StopTimeout: c.own}, Policy: Policy{StopTimeout: c.given}}); got != c.want {
			t.Errorf("%v: %s", c, got)
		}
	}
}

func TestSelfID(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	line := "700 690 254:0 /var/lib/docker/containers/" + id + "/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw\n"
	if got := selfID("22 1 0:20 / / rw - overlay overlay rw\n" + line); got != id {
		t.Errorf("got %q", got)
	}
	if got := selfID("22 1 0:20 / / rw - ext4 /dev/vda rw\n"); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestStore(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sub", "state.json")
	m := NewMachine(settings())
	m.Apply(Online{}, t0)
	m.Apply(Seen{box("unhealthy")}, t0)
	m.Apply(Seen{with(box("healthy"), func(c *Container) { c.ID, c.Name = "id2", "well" })}, t0)
	store := Store{file}
	if err := store.Save(m, nil, t0); err != nil {
		t.Fatal(err)
	}
	kept, err := store.Load(t0)
	services, restarts := kept.Services, kept.Restarts
	if err != nil || len(services) != 1 || services["app"].Attempts != 1 || services["app"].Phase != Restarting || len(restarts) != 1 {
		t.Fatalf("%v, %+v, %v", err, services, restarts)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	// After a crash in the middle of the call: the container is found dead,
	// and nobody but the watchdog did it.
	m2 := NewMachine(settings())
	m2.Adopt(services, restarts)
	m2.Apply(Seen{with(box("unhealthy"), func(c *Container) { c.State = "exited" })}, t0.Add(time.Second))
	m2.Apply(Online{}, t0.Add(time.Second))
	if got := words(m2.Apply(Tick{}, t0.Add(3*time.Second))); got != "restart2" {
		t.Errorf("got %q", got)
	}
	for name, text := range map[string]string{"torn": `{"version":1,"services":{"a":`, "newer": `{"version":2}`, "garbage": "\x00\x01", "null": `{"version":1,"services":{"a":null}}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		kept, err := store.Load(t0)
		if len(kept.Services) != 0 || (err == nil) != (name == "null") {
			t.Errorf("%s: %v, %v", name, kept, err)
		}
		aside := file + ".20260102T030405"
		if kept, rerr := os.ReadFile(aside); name != "null" && (rerr != nil || string(kept) != text || !strings.Contains(err.Error(), aside)) {
			t.Errorf("%s is not set aside: %v, %v", name, err, rerr)
		}
	}
	// A directory that cannot be written to is told, and carried on without.
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Store{filepath.Join(dir, "fifo")}).Load(t0); err == nil {
		t.Error("a FIFO was read")
	}
	if err := (Store{filepath.Join(dir, "fifo", "x")}).Save(m, nil, t0); err == nil {
		t.Error("saved below a file")
	}
}
