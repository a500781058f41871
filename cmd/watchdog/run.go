package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"healthcheck/watchdog"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/page"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// gcPercent is how much garbage may gather, in percent of what is in use, before
// it is collected: a daemon that idles has CPU time for a third of Go's default.
const gcPercent = 30

// runDaemon is watchdog run.
func runDaemon(ctx context.Context, g given, stdout, stderr io.Writer) int {
	cfg, err := parseRun(g)
	if err != nil {
		return failOrHelp(err, "run", stdout, stderr)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	var handler slog.Handler = slog.NewTextHandler(stderr, nil)
	if cfg.jsonLog {
		handler = slog.NewJSONHandler(stderr, nil)
	}
	log := slog.New(handler)
	engine, err := docker.New(cfg.host, nil)
	if err != nil {
		return fail(stderr, usagef("--host unix:///var/run/docker.sock", "%v", err))
	}
	cfg.settings.SelfID = docker.SelfID()
	file := store.File{Path: cfg.stateFile}
	release, err := file.Lock()
	switch {
	case errors.Is(err, store.ErrLocked):
		return fail(stderr, usagef("end the other one, or give this one a --state-file and a --control of its own", "--state-file %s: %v", cfg.stateFile, err))
	case err != nil:
		// It watches all the same: the state is kept in memory.
		log.Error("the state file cannot be locked", "event", recovery.EventStateNotSaved, "error", err)
	default:
		defer release()
	}
	state, err := file.Load(time.Now())
	if err != nil {
		log.Error("nothing is remembered", "event", recovery.EventStateNotLoaded, "error", err)
	}
	past, err := file.LoadHistory()
	if err != nil {
		log.Error("the history is not remembered", "event", recovery.EventStateNotLoaded, "error", err)
	}
	notifier := &alert.Notifier{Router: cfg.router, Log: log}
	labelled := &watchdog.Relabelled{Engine: engine}
	labelled.Use(cfg.overrides)
	daemon := &watchdog.Daemon{Engine: labelled, Settings: cfg.settings, File: file, Saved: state, Past: past, Log: log,
		Reconcile: cfg.reconcile, StartDelay: cfg.startDelay, Alerts: notifier}
	engine.Figures, daemon.ProbeFigures = cfg.probeFigures, cfg.probeFigures
	if cfg.evidence {
		daemon.Evidence, daemon.EvidenceLines = engine.Evidence, cfg.evidenceLines
	}
	notifier.Changed = daemon.AlertsChanged
	if strings.HasPrefix(engine.Host(), "unix://") { // else it is another host
		daemon.Host = watchdog.NewHost("/proc", time.Now())
	}
	// Alerts of the restarts in flight are sent after ctx has ended, too.
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	notifier.Start(sending, state.Alerts, time.Now())
	for _, n := range cfg.notes {
		log.Warn(n, "event", recovery.EventVariableIgnored)
	}
	if cfg.listen != "" {
		shown := &page.Page{Source: daemon.Overview, Health: daemon.Health, About: page.About{Host: cfg.router.Host, Version: buildVersion()}}
		daemon.Changed = shown.Changed
		addr, close, err := serve(cfg.listen, cfg.hosts, daemon, notifier, shown)
		if err != nil {
			return fail(stderr, usagef("--listen none serves nothing", "listening on %s: %v", cfg.listen, err))
		}
		defer close()
		log.Info("listening", "event", recovery.EventListening, "address", addr)
	}
	if cfg.control != "" {
		close, err := serveControl(cfg.control, daemon)
		switch {
		case errors.Is(err, errServed):
			return fail(stderr, usagef("end the other one, or give this one a --control and a --state-file of its own", "--control %s: %v", cfg.control, err))
		case err != nil:
			// It watches all the same: a person can read the log.
			log.Warn("status, history and reset are not served", "event", recovery.EventControlNotServed, "error", err)
		default:
			defer close()
		}
	}
	log.Info("watching", "event", recovery.EventStarted, "engine", engine.Host(), "version", buildVersion(), "dry_run", cfg.settings.DryRun)
	if cfg.notifyStart {
		notifier.Alert(recovery.Action{Kind: recovery.DoAlert, Event: recovery.EventStarted, Severity: recovery.Info, Closes: true,
			Text: "the watchdog " + buildVersion() + " has started"})
	}
	if cfg.heartbeat != "" {
		beating, stop := context.WithCancel(ctx)
		defer stop()
		go watchdog.Heartbeat{URL: cfg.heartbeat, Every: time.Minute, Health: daemon.Health, Log: log}.Run(beating)
	}
	reloading, stopReloading := context.WithCancel(ctx)
	defer stopReloading()
	go func() {
		for {
			select {
			case <-reloading.Done():
				return
			case <-hangups:
				cfg = reload(reloading, cfg, g, daemon, labelled, notifier)
			}
		}
	}()
	manager := newSupervisor(g.environ)
	alive, stopAlive := context.WithCancel(context.WithoutCancel(ctx)) // a restart that is waited for at the end is work, too
	defer stopAlive()
	go manager.keepAlive(alive, func(now time.Time) bool { return daemon.Stalled(now) == nil })
	manager.notify(notifyReady)
	context.AfterFunc(ctx, func() { manager.notify(notifyStopping) })
	daemon.Run(ctx)
	log.Info("stopped", "event", recovery.EventStopped)
	return 0
}
