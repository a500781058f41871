package watchdog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Loop carries decisions out: it feeds the machine with what the engine says
// and does what the machine answers. One goroutine owns the machine; every
// call to the engine has a goroutine of its own, so that one container that
// hangs holds up no other.
type Loop struct {
	Engine   Engine
	Settings Settings
	Store    Store
	Log      *slog.Logger
	// Reconcile is how often the engine's list is compared with what is known:
	// pauses, stops and lost events change things silently.
	Reconcile time.Duration
	// StartDelay waits before anything is done at all.
	StartDelay time.Duration
	// Notify, if set, is told of every alert; it must not block.
	Notify func(Action)

	machine *Machine
	results chan func(now time.Time) // what goroutines bring back, run in the loop
	done    chan struct{}            // closed when nobody takes results any more
	busy    int                      // restarts and starts in flight
	asking  map[string]bool          // containers being inspected: true to ask again
	lists   int                      // lists in flight
	// listedAll says that a list has been compared since the engine was lost.
	listedAll bool
	slots     chan struct{}   // bounds inspections at once
	heard     time.Time       // when the last event came
	lost      time.Time       // since when the engine cannot be reached; zero: it can
	told      bool            // that it is lost
	orphans   map[string]bool // told that these must be recreated
	saveErr   string

	history []Decision
	stats   Stats

	startOnce sync.Once
	turning   chan struct{}

	beat atomic.Int64 // when the loop last turned, in Unix nanoseconds
	down atomic.Int64 // since when the engine is lost, likewise; 0: it is not
}

// The shell's own figures.
const (
	// callTimeout bounds lists and inspections.
	callTimeout = 10 * time.Second
	// killWait and startWait are what the engine may take on top of the stop
	// timeout (moby, daemon/stop.go: 12 s of waits after the kill; a start
	// pulls mounts and networks together).
	killWait  = 12 * time.Second
	startWait = 60 * time.Second
	// engineStopTimeout is the engine's own default.
	engineStopTimeout = 10 * time.Second
	// longestRestart bounds a restart whose stop timeout is infinite.
	longestRestart = time.Hour
	// inspections at once.
	inspections = 8
	// lostAfter is when people are told that the engine cannot be reached.
	lostAfter = time.Minute
	// quietAfter is when a stream that says nothing is opened anew: a proxy
	// may have dropped it without a word.
	quietAfter = 5 * time.Minute
	// The pauses between attempts to reach the engine.
	firstRetry, lastRetry = 100 * time.Millisecond, 15 * time.Second
	// stalledAfter is when a loop that has not turned counts as dead.
	stalledAfter = time.Minute
)

// Run watches until ctx ends. Then it waits for the restarts in flight, since
// one that is cut off may leave its container dead, and saves.
func (l *Loop) Run(ctx context.Context) {
	l.machine = NewMachine(l.Settings)
	kept, err := l.Store.Load(time.Now())
	if err != nil {
		l.Log.Error("nothing is remembered", "error", err)
	}
	l.machine.Adopt(kept.Services, kept.Restarts)
	l.history = kept.History
	l.stats = Stats{Restarts: map[string]int{}, Failures: map[string]int{}, GiveUps: map[string]int{}}
	l.results, l.done = make(chan func(time.Time), 64), make(chan struct{})
	defer close(l.done)
	l.asking, l.orphans = map[string]bool{}, map[string]bool{}
	l.slots = make(chan struct{}, inspections)
	close(l.started())
	l.lost = time.Now()
	l.beat.Store(l.lost.Add(l.StartDelay).UnixNano())
	if l.StartDelay > 0 {
		select {
		case <-time.After(l.StartDelay):
		case <-ctx.Done():
			return
		}
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	events, up := make(chan Message), make(chan error)
	refresh := make(chan struct{}, 1)
	go l.subscribe(inner, events, up, refresh)

	reconcile := time.NewTicker(l.Reconcile)
	defer reconcile.Stop()
	pulse := time.NewTicker(20 * time.Second) // for /healthz, and for what is held back
	defer pulse.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case m := <-events:
			l.event(m, time.Now())
		case err := <-up:
			l.connected(inner, err, time.Now())
		case f := <-l.results:
			f(time.Now())
		case <-reconcile.C:
			l.list(inner)
			if now := time.Now(); now.Sub(l.heard) > quietAfter {
				l.heard = now
				select {
				case refresh <- struct{}{}:
				default:
				}
			}
		case <-timer.C:
			l.apply(Tick{}, time.Now())
		case <-pulse.C:
			l.checkLost(time.Now())
		}
		now := time.Now()
		l.beat.Store(now.UnixNano())
		if next := l.machine.Next(now); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(next.Sub(now), time.Millisecond))
		}
	}
	l.finish()
}

// finish waits for what is in flight and saves.
func (l *Loop) finish() {
	if l.busy > 0 {
		l.Log.Info("stopping: waiting for the restarts in flight", "restarts", l.busy)
	}
	l.machine.Apply(Offline{}, time.Now()) // no new ones
	for l.busy > 0 {
		f := <-l.results
		f(time.Now())
	}
	l.save(time.Now())
}

// Health says what ails the program itself; nil for nothing.
func (l *Loop) Health(now time.Time) error {
	if age := now.Sub(time.Unix(0, l.beat.Load())); age > stalledAfter {
		return fmt.Errorf("the loop has not turned for %s", age.Round(time.Second))
	}
	if since := l.down.Load(); since != 0 && now.Sub(time.Unix(0, since)) > lostAfter {
		return fmt.Errorf("the engine cannot be reached since %s", now.Sub(time.Unix(0, since)).Round(time.Second))
	}
	return nil
}

// subscribe keeps a stream of events open, for ever. up gets nil for every
// stream that has been opened and the cause for every one that ended.
func (l *Loop) subscribe(ctx context.Context, events chan<- Message, up chan<- error, refresh <-chan struct{}) {
	since := time.Now().Add(-time.Second)
	retry := firstRetry
	for ctx.Err() == nil {
		stream, cancel := context.WithCancel(ctx)
		inbox := make(chan Message)
		ended := make(chan error, 1)
		opened := make(chan struct{}, 1)
		go func() {
			ended <- l.Engine.Events(stream, since, func() { opened <- struct{}{} }, inbox)
		}()
		var err error
		for open := true; open; {
			select {
			case <-opened:
				up <- nil
				retry = firstRetry
			case m := <-inbox:
				if m.At.After(since) {
					since = m.At
				}
				select {
				case events <- m:
				case <-ctx.Done():
				}
			case <-refresh:
				cancel()
			case err = <-ended:
				open = false
			}
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		select {
		case up <- err:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
		retry = min(retry*2, lastRetry)
	}
}

// connected is the begin (nil) or the end of a stream.
func (l *Loop) connected(ctx context.Context, err error, now time.Time) {
	if err == nil {
		l.heard = now
		// Subscribed first, listed then: nothing falls in between.
		l.list(ctx)
		return
	}
	// Until a list arrives nothing is known, and nothing is decided.
	l.listedAll = false
	l.apply(Offline{}, now)
	if l.lost.IsZero() {
		l.lost = now
		l.Log.Info("the event stream has ended", "error", err)
	} else if !l.told {
		l.Log.Warn("the engine cannot be reached", "error", err)
	}
	l.checkLost(now)
}

// checkLost tells people once that the engine is lost.
func (l *Loop) checkLost(now time.Time) {
	if l.lost.IsZero() {
		return
	}
	l.down.Store(l.lost.UnixNano())
	if now.Sub(l.lost) >= lostAfter && !l.told {
		l.told = true
		l.alert(Action{Kind: DoAlert, Severity: Critical, Topic: "engine-lost", Text: fmt.Sprintf("the engine has been lost for %s", now.Sub(l.lost).Round(time.Second))})
	}
}

// back is a list that arrived: the engine is there.
func (l *Loop) back() {
	l.lost = time.Time{}
	l.down.Store(0)
	if l.told {
		l.told = false
		l.alert(Action{Kind: DoAlert, Severity: Info, Topic: "engine-back", Text: "the engine is back"})
	}
}

// event takes a message of the engine. Whatever it says, the container is
// looked at: the event may be late, doubled, or out of order.
func (l *Loop) event(m Message, now time.Time) {
	l.heard = now
	switch m.Action {
	case "kill":
		l.apply(Killed{m.ID, m.Signal, m.At}, now)
		return // its end brings an event of its own
	case "die":
		l.apply(Died{m.ID, m.ExitCode, m.At}, now)
	case "destroy":
		l.apply(Gone{m.ID}, now)
		return
	case "health_status", "start", "pause", "unpause", "rename":
	default:
		return
	}
	l.inspect(m.ID)
}

// post brings a result to the loop.
func (l *Loop) post(f func(now time.Time)) {
	select {
	case l.results <- f:
	case <-l.done:
	}
}

// inspect looks at a container, once at a time: what comes meanwhile asks for
// one more look.
func (l *Loop) inspect(id string) {
	if _, running := l.asking[id]; running {
		l.asking[id] = true
		return
	}
	l.asking[id] = false
	go func() {
		l.slots <- struct{}{}
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		c, err := l.Engine.Inspect(ctx, id)
		cancel()
		<-l.slots
		l.post(func(now time.Time) {
			again := l.asking[id]
			delete(l.asking, id)
			switch {
			case errors.Is(err, ErrGone):
				l.apply(Gone{id}, now)
			case err != nil:
				l.Log.Warn("a container cannot be inspected; the next reconciliation tries again", "id", short(id), "error", err)
			default:
				l.apply(Seen{c}, now)
			}
			if again {
				l.inspect(id)
			}
			l.goOnline(now)
		})
	}()
}

// list asks for all containers and compares.
func (l *Loop) list(ctx context.Context) {
	if l.lists > 0 {
		return
	}
	l.lists++
	go func() {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		all, err := l.Engine.List(ctx)
		cancel()
		l.post(func(now time.Time) {
			l.lists--
			if err != nil {
				if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
					l.Log.Warn("the containers cannot be listed; trying again", "error", err)
				}
				l.retryList(now)
				return
			}
			l.listed(all, now)
		})
	}()
}

// retryList tries again soon, unless a reconciliation comes before.
func (l *Loop) retryList(now time.Time) {
	if l.lost.IsZero() {
		l.lost = now
	}
	l.checkLost(now)
	time.AfterFunc(time.Second, func() { l.post(func(time.Time) { l.list(context.Background()) }) })
}

// listed compares a list with what is known: who is missing is gone, who is
// plainly well needs no further look, the others are inspected.
func (l *Loop) listed(all []Container, now time.Time) {
	l.back()
	there := map[string]bool{}
	var well []Container
	for _, c := range all {
		there[c.ID] = true
		s := l.machine.Services[c.Service()]
		switch {
		case !l.Settings.Watched(c) && (s == nil || s.ID != c.ID):
		case s == nil && c.State != "running":
		case c.State == "running" && c.Health == "healthy" && (s == nil || s.Phase == Idle && s.ID == c.ID):
			well = append(well, c)
		case s != nil && s.Phase == Restarting:
		default:
			l.inspect(c.ID)
		}
		if l.Settings.Watched(c) && c.State == "running" && Orphaned(all, c) && !l.orphans[c.ID] {
			l.orphans[c.ID] = true
			l.alert(Action{Kind: DoAlert, Severity: Critical, Topic: "orphan", Key: c.Service(), ID: c.ID, Name: c.Name,
				Text: "it lives in the network of a container that is gone, and no restart can help: " + recreateCommand(c)})
		}
	}
	l.apply(SeenAll{well}, now)
	for id := range l.machine.byID {
		if !there[id] {
			l.apply(Gone{id}, now)
		}
	}
	// What is not at rest is being inspected: its answers come before time
	// goes on.
	l.listedAll = true
	l.goOnline(now)
}

// goOnline lets time go on once all that was listed has been looked at.
func (l *Loop) goOnline(now time.Time) {
	if l.listedAll && len(l.asking) == 0 {
		l.listedAll = false
		l.apply(Online{}, now)
	}
}

// apply lets the machine decide and carries out what it says.
func (l *Loop) apply(e Event, now time.Time) {
	before := l.dirty()
	actions := l.machine.Apply(e, now)
	for _, a := range actions {
		l.record(a, now)
	}
	if len(actions) > 0 || l.dirty() != before {
		// Before anything is done: an attempt that is not remembered could be
		// made again after a crash.
		l.save(now)
	}
	for _, a := range actions {
		switch a.Kind {
		case DoRestart, DoStart:
			l.act(a)
		case DoCascade:
			l.cascade(a)
		case DoAlert:
			l.alert(a)
		default:
			l.say(a)
		}
	}
}

// record keeps a decision for the history and counts it.
func (l *Loop) record(a Action, now time.Time) {
	if a.Kind == DoCascade {
		return
	}
	switch {
	case a.Kind == DoRestart:
		l.stats.Restarts[a.Key]++
	case a.Topic == "gave-up":
		l.stats.GiveUps[a.Key]++
	case a.Failed:
		l.stats.Failures[a.Key]++
	case a.Took > 0 && len(l.stats.Recoveries) < 1<<20:
		l.stats.Recoveries = append(l.stats.Recoveries, a.Took.Seconds())
	}
	l.history = append(l.history, Decision{now, orElse(a.Severity, Info), a.Key, a.Name, a.Text, a.Reason, a.Attempt, a.Took.Seconds()})
	if extra := len(l.history) - historyLength; extra > 0 {
		l.history = slices.Delete(l.history, 0, extra)
	}
}

// inLoop runs f in the loop and waits for it; false where the loop has ended.
func (l *Loop) inLoop(ctx context.Context, f func(now time.Time)) bool {
	done := make(chan struct{})
	select {
	case <-l.started():
	case <-ctx.Done():
		return false
	}
	go l.post(func(now time.Time) { f(now); close(done) })
	select {
	case <-done:
		return true
	case <-ctx.Done():
	case <-l.done:
	}
	return false
}

// started is closed when the loop turns.
func (l *Loop) started() chan struct{} {
	l.startOnce.Do(func() { l.turning = make(chan struct{}) })
	return l.turning
}

// Status lists the watched services.
func (l *Loop) Status(ctx context.Context) (out []ServiceStatus) {
	l.inLoop(ctx, func(time.Time) { out = l.machine.Status() })
	return orEmpty(out)
}

// History lists the last decisions, the oldest first.
func (l *Loop) History(ctx context.Context) (out []Decision) {
	l.inLoop(ctx, func(time.Time) { out = slices.Clone(l.history) })
	return orEmpty(out)
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Reset forgets the attempts of the services of that name, and looks at them
// anew. It returns how many there are.
func (l *Loop) Reset(ctx context.Context, name string) (n int) {
	l.inLoop(ctx, func(now time.Time) {
		for _, s := range l.machine.Services {
			if s.Key == name || s.Name == name {
				n++
				defer l.inspect(s.ID)
			}
		}
		l.apply(Reset{name}, now)
	})
	return n
}

// figuresWait bounds how long a scrape waits for the loop.
const figuresWait = 5 * time.Second

// Figures are what the metrics are made of.
func (l *Loop) Figures() (services []ServiceStatus, stats Stats) {
	ctx, cancel := context.WithTimeout(context.Background(), figuresWait)
	defer cancel()
	l.inLoop(ctx, func(time.Time) {
		services = l.machine.Status()
		stats = Stats{maps.Clone(l.stats.Restarts), maps.Clone(l.stats.Failures), maps.Clone(l.stats.GiveUps), slices.Clone(l.stats.Recoveries)}
	})
	return services, stats
}

// EngineUp says whether the engine can be reached.
func (l *Loop) EngineUp() bool { return l.down.Load() == 0 }

// dirty is a cheap sign of change in what is worth saving.
func (l *Loop) dirty() (n int) {
	for _, s := range l.machine.Services {
		if s.memorable() {
			n++
		}
		if s.Stopped {
			n += 1 << 20
		}
		if s.Died {
			n += 1 << 40
		}
	}
	return n
}

func (l *Loop) save(now time.Time) {
	err := l.Store.Save(l.machine, l.history, now)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != l.saveErr {
		l.Log.Error("the state cannot be saved; it is kept in memory", "error", err)
	}
	l.saveErr = text
}

// act restarts or starts a container. The call is never cancelled: one that is
// cut off may leave the container dead.
func (l *Loop) act(a Action) {
	l.say(a)
	l.busy++
	go func() {
		done := Done{Key: a.Key}
		if !a.Policy.DryRun {
			ctx, cancel := context.WithTimeout(context.Background(), restartTime(a))
			if a.Kind == DoStart {
				done.Err = l.Engine.Start(ctx, a.ID)
			} else {
				done.Err = l.Engine.Restart(ctx, a.ID, a.Policy.StopTimeout)
			}
			cancel()
			done.Missing = errors.Is(done.Err, ErrGone)
			if !done.Missing {
				ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
				if c, err := l.Engine.Inspect(ctx, a.ID); err == nil {
					done.Seen = &c
				} else {
					done.Missing = errors.Is(err, ErrGone)
				}
				cancel()
			}
		}
		l.post(func(now time.Time) {
			l.busy--
			l.apply(done, now)
		})
	}()
}

// restartTime is how long the engine may take: longer than the container's
// stop timeout, whoever set it.
func restartTime(a Action) time.Duration {
	stop := engineStopTimeout
	for _, t := range []*int{a.Container.StopTimeout, a.Policy.StopTimeout} {
		if t == nil {
			continue
		}
		if *t < 0 {
			return longestRestart
		}
		stop = time.Duration(*t) * time.Second
	}
	return min(stop+killWait+startWait, longestRestart)
}

// cascade finds out who depends on a container that has recovered.
func (l *Loop) cascade(a Action) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		all, err := l.Engine.List(ctx)
		if err != nil {
			l.post(func(time.Time) { l.Log.Warn("the dependents cannot be listed", "service", a.Key, "error", err) })
			return
		}
		for _, d := range Dependents(all, a.Container) {
			c, err := l.Engine.Inspect(ctx, d.ID)
			if err != nil {
				continue
			}
			l.post(func(now time.Time) { l.apply(Depends{c, a.Key}, now) })
		}
	}()
}

// alert tells people, in the log and wherever else they want to hear it.
func (l *Loop) alert(a Action) {
	l.say(a)
	if l.Notify != nil {
		l.Notify(a)
	}
}

// say writes one line per decision, with all that explains it.
func (l *Loop) say(a Action) {
	level := map[Severity]slog.Level{Warning: slog.LevelWarn, Critical: slog.LevelError}[a.Severity]
	var attrs []any
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, key, value)
		}
	}
	if a.Severity == Critical {
		add("severity", string(a.Severity))
	}
	add("service", a.Key)
	add("container", a.Name)
	add("id", short(a.ID))
	if a.Attempt > 0 {
		attrs = append(attrs, "attempt", a.Attempt)
	}
	if a.Delay > 0 {
		attrs = append(attrs, "delay", a.Delay.Round(time.Millisecond))
	}
	add("reason", a.Reason)
	add("output", a.Output)
	if a.Policy.DryRun && (a.Kind == DoRestart || a.Kind == DoStart) {
		attrs = append(attrs, "dry_run", true)
	}
	l.Log.Log(context.Background(), level, a.Text, attrs...)
}

func short(id string) string { return id[:min(12, len(id))] }
