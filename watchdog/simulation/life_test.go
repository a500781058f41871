package simulation

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"healthcheck/watchdog"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// life is one process of the watchdog, from its start to its end.
type life struct {
	w        *world
	number   int
	began    time.Time
	file     store.File
	daemon   *watchdog.Daemon
	notifier *alert.Notifier
	stop     context.CancelFunc
	killed   chan struct{}
	ended    chan struct{}

	mu         sync.Mutex
	intents    map[string]intent // the last restart that it spoke of, by container
	overloaded bool              // it said so
}

// intent is what the log said of a restart before it was asked for.
type intent struct {
	attempt int
	follows bool
	at      time.Time
}

// disk is where the state is kept.
type disk struct {
	failing bool
	hanging chan struct{} // closed when it no longer hangs
	freed   time.Time     // when it last ceased to hang
	doubt   bool          // something may not have been saved
}

// late says that a decision may not be saved: the disk hangs, or what waited
// for it is being written.
func (d *disk) late() bool { return d.hanging != nil || time.Since(d.freed) < time.Second }

// receivers are who gets alerts, and from which severity on.
var sinks = []alert.Sink{{MinSeverity: recovery.Info, URL: "all"}, {MinSeverity: recovery.Critical, URL: "critical"}}

const (
	escalateAfter = 15 * time.Minute
	notifyEvery   = time.Hour
)

// settings are the flags' defaults, with limits that a few containers reach.
func settings(all bool) recovery.Settings {
	return recovery.Settings{Policy: recovery.DefaultPolicy(), All: all, MaxConcurrent: 3, MaxRestarts: 12, Window: 5 * time.Minute}
}

// saveGaps are the least times between two saves. They are odd, so that nothing
// else happens at the same time, which two runs of a seed could see differently.
var saveGaps = []time.Duration{0, 201_003_017, 999_983_027}

// start begins a life with what the last one left on the disk.
func (w *world) start() {
	w.lives++
	l := &life{w: w, number: w.lives, began: time.Now(), killed: make(chan struct{}), ended: make(chan struct{}), intents: map[string]intent{}}
	dir := filepath.Join(w.dir, fmt.Sprint("life", l.number))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		panic(err)
	}
	l.file = store.File{Path: filepath.Join(dir, "state.json"), Hang: l.hang}
	if w.lives > 1 {
		w.bequeath(filepath.Join(w.dir, "left"), dir)
	}
	log := slog.New(logHandler{l, nil})
	engine, err := docker.New("unix:///simulated/engine.sock", transport{l})
	if err != nil {
		panic(err)
	}
	saved, err := l.file.Load(time.Now())
	if err != nil {
		w.say("the state is not understood")
	}
	past, err := l.file.LoadHistory()
	if err != nil {
		w.fail("store", "the history cannot be read: %v", err)
	}
	l.overloaded = saved.Alerts.Has(recovery.EventOverloaded)
	router := alert.Router{Sinks: sinks, Escalations: []alert.Escalation{{After: escalateAfter, URL: "escalation"}}, Every: notifyEvery, Host: "host"}
	l.notifier = &alert.Notifier{Router: router, Log: log, Send: func(d alert.Delivery) error {
		return l.ask(&request{life: l, kind: "send", send: d, answer: make(chan answer, 1)}).err
	}}
	l.daemon = &watchdog.Daemon{Engine: engine, Settings: settings(w.people.all), File: l.file, Saved: saved, Past: past, Log: log, Reconcile: time.Minute, Alerts: l.notifier,
		SaveGap: saveGaps[w.hash("save", l.number)%uint64(len(saveGaps))],
		Trace: func(p recovery.Phase, in recovery.Input) {
			if l.alive() {
				w.pairs[pair{p, in}]++
			}
		}}
	l.notifier.Changed = l.daemon.AlertsChanged
	if w.history.seed%3 > 0 {
		l.daemon.EvidenceLines = int(w.history.seed % 2)
		l.daemon.Evidence = func(ctx context.Context, id string) docker.Evidence {
			return engine.Evidence(context.WithValue(ctx, forEvidence{}, true), id)
		}
	}
	sending, stopSending := context.WithCancel(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	w.life = l
	w.audit.born(saved)
	l.notifier.Start(sending, saved.Alerts, time.Now())
	go func() {
		defer close(l.ended)
		l.daemon.Run(ctx)
		stopSending()
		l.notifier.Wait()
	}()
}

func (l *life) alive() bool {
	select {
	case <-l.killed:
		return false
	default:
		return true
	}
}

// kill ends a life between two steps: nothing that it still does reaches
// anybody.
func (w *world) kill() {
	w.say("killed")
	w.audit.died()
	w.leave()
	close(w.life.killed)
	w.life.stop()
	w.life = nil
}

// leave moves what is on the disk out of the reach of the life that ends.
func (w *world) leave() {
	w.fill(false)
	w.disk.doubt = w.disk.doubt || w.disk.late()
	os.RemoveAll(filepath.Join(w.dir, "left"))
	if err := os.Rename(filepath.Dir(w.life.file.Path), filepath.Join(w.dir, "left")); err != nil {
		panic(err)
	}
}

// bequeath copies what a life has left on the disk, as a crash of the machine
// or a change of its clock may have left it.
func (w *world) bequeath(from, to string) {
	for _, name := range []string{"state.json", "state.history.jsonl"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			continue
		}
		if step := w.people.clockStep; step != 0 && name == "state.json" {
			data = stepTimes(data, step)
			w.audit.stepped(step)
		}
		if w.people.corrupt {
			data = data[:len(data)*2/3]
			if name == "state.json" {
				w.audit.forgotten()
			}
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o600); err != nil {
			panic(err)
		}
	}
	if _, err := os.Stat(filepath.Join(to, "state.json")); err != nil {
		w.audit.forgotten()
	}
	w.people.clockStep, w.people.corrupt = 0, false
}

// savedTime is a time by the watchdog's own clock in the state file. Those by the
// engine's stay what the engine says.
var savedTime = regexp.MustCompile(`"((?:hold":\{[^{}]*"since)|saved|until|asked|due|last_restart|failing_since|healthy_since|gone|received|opened|critical)":"([^"]+)"`)

// stepTimes is what a state looks like to a watchdog whose clock was set.
func stepTimes(data []byte, step time.Duration) []byte {
	return savedTime.ReplaceAllFunc(data, func(text []byte) []byte {
		m := savedTime.FindSubmatch(text)
		t, err := time.Parse(time.RFC3339Nano, string(m[2]))
		if err != nil {
			return text
		}
		return fmt.Appendf(nil, `"%s":%q`, m[1], t.Add(step).Format(time.RFC3339Nano))
	})
}

// fill makes the disk refuse what is written: the state's folder is none.
func (w *world) fill(on bool) {
	if w.life == nil || w.disk.failing == on {
		return
	}
	dir := filepath.Dir(w.life.file.Path)
	if w.disk.failing = on; on {
		w.disk.doubt = true
		os.Rename(dir, dir+".away")
		os.WriteFile(dir, nil, 0o600)
		return
	}
	os.Remove(dir)
	os.Rename(dir+".away", dir)
}

// hang lets the disk hang, or no longer.
func (w *world) hang(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case on && w.disk.hanging == nil:
		w.disk.hanging = make(chan struct{})
	case !on && w.disk.hanging != nil:
		close(w.disk.hanging)
		w.disk.hanging, w.disk.freed = nil, time.Now()
	}
}

// hang waits as long as the disk hangs; what a life that was killed would write
// then is not written.
func (l *life) hang() {
	l.w.mu.Lock()
	hanging := l.w.disk.hanging
	l.w.mu.Unlock()
	if hanging == nil {
		return
	}
	select {
	case <-hanging:
	case <-l.killed:
	}
}

// logHandler reads the log of one life.
type logHandler struct {
	life  *life
	attrs []slog.Attr
}

func (h logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return logHandler{h.life, attrs} }

func (h logHandler) WithGroup(string) slog.Handler { return h }

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	if !h.life.alive() {
		return nil
	}
	var event recovery.Event
	var id, service string
	var attempt, receiver int
	var line bytes.Buffer
	fmt.Fprintf(&line, "    log %s", r.Message)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "event":
			event, _ = a.Value.Any().(recovery.Event)
		case "id":
			id = a.Value.String()
		case "service":
			service = a.Value.String()
		case "attempt":
			attempt = int(a.Value.Int64())
		case "receiver":
			receiver = int(a.Value.Int64())
		case "output", "cause", "error":
			return true
		}
		fmt.Fprintf(&line, " %s=%v", a.Key, a.Value)
		return true
	})
	w := h.life.w
	w.mu.Lock()
	defer w.mu.Unlock()
	h.life.mu.Lock()
	defer h.life.mu.Unlock()
	switch event {
	case recovery.EventRestarting:
		h.life.intents[id] = intent{attempt, strings.HasPrefix(r.Message, "restart after "), time.Now()}
	case recovery.EventAlertNotDelivered:
		if receiver > 0 && strings.HasPrefix(r.Message, "an alert was not delivered") {
			w.audit.mailboxes[[]string{"all", "critical", "escalation"}[receiver-1]].lossy = true
		}
	case recovery.EventReleased:
		w.audit.released(service)
	case recovery.EventOverloaded:
		h.life.overloaded = true
	case recovery.EventOverloadOver:
		h.life.overloaded = false
	}
	w.counts["log: "+string(event)]++
	if row := rowOf(r.Message, event); row != "" {
		w.counts["row: "+row]++
	}
	if w.log != nil {
		fmt.Fprintf(w.log, "%14s  %s\n", time.Since(w.begin).Round(time.Microsecond), line.String())
	}
	return nil
}

// rowOf is the row of the decision table that a line of the log tells of.
func rowOf(text string, event recovery.Event) string {
	switch {
	case strings.HasPrefix(text, "held: the host is overloaded"):
		return "the host is overloaded"
	case event == recovery.EventHeld && strings.Contains(text, " depends on ") && strings.HasPrefix(text, "held: "):
		return "a dependency of this engine is not healthy"
	case event == recovery.EventHeld && strings.Contains(text, "knows nothing bad"):
		return "a dependency that nothing bad is known of"
	case event == recovery.EventHeld && strings.Contains(text, "says that it is starting"):
		return "its target is starting"
	case event == recovery.EventNeedsPerson:
		return "configuration or the host"
	case event == recovery.EventRestarting && !strings.HasPrefix(text, "restart after "):
		return "its own, or unknown"
	}
	return ""
}

var rows = []string{"the host is overloaded", "a dependency of this engine is not healthy", "a dependency that nothing bad is known of", "its target is starting", "configuration or the host", "its own, or unknown"}
