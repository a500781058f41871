package main

import (
	"context"
	"io"
	"log/slog"

	"healthcheck/watchdog"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/docker"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// runDaemon is watchdog run.
func runDaemon(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	cfg, err := parseRun(args, environ)
	if err != nil {
		return fail(stderr, err)
	}
	if cfg.help {
		io.WriteString(stdout, helpText())
		return 0
	}
	var handler slog.Handler = slog.NewTextHandler(stderr, nil)
	if cfg.jsonLog {
		handler = slog.NewJSONHandler(stderr, nil)
	}
	log := slog.New(handler)
	engine, err := docker.New(cfg.host)
	if err != nil {
		return fail(stderr, usagef("--host unix:///var/run/docker.sock", "%v", err))
	}
	cfg.settings.SelfID = docker.SelfID()
	notifier := &alert.Notifier{Router: cfg.router, Log: log}
	// Alerts of the restarts in flight are sent after ctx has ended, too.
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	notifier.Start(sending)
	daemon := &watchdog.Daemon{Engine: engine, Settings: cfg.settings, State: store.File{Path: cfg.stateFile}, Log: log,
		Reconcile: cfg.reconcile, StartDelay: cfg.startDelay, Notify: notifier.Alert}
	for _, n := range cfg.notes {
		log.Warn(n, "event", recovery.EventVariableIgnored)
	}
	if cfg.listen != "" {
		addr, close, err := serve(cfg.listen, daemon, notifier)
		if err != nil {
			return fail(stderr, usagef("--listen none serves nothing", "listening on %s: %v", cfg.listen, err))
		}
		defer close()
		log.Info("listening", "event", recovery.EventListening, "address", addr)
	}
	if cfg.control != "" {
		close, err := serveControl(cfg.control, daemon)
		if err != nil {
			// It watches all the same: a person can read the log.
			log.Warn("status, history and reset are not served", "event", recovery.EventControlNotServed, "error", err)
		} else {
			defer close()
		}
	}
	log.Info("watching", "event", recovery.EventStarted, "engine", engine.Host(), "version", buildVersion(), "dry_run", cfg.settings.DryRun)
	daemon.Run(ctx)
	log.Info("stopped", "event", recovery.EventStopped)
	return 0
}
