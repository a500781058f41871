package main

import (
	"context"
	"strings"

	"healthcheck/probe"
	"healthcheck/watchdog"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
)

// reload reads the configuration anew, its file and the files of variables
// among it, and returns the one that holds from now on: the old one, where the
// new one is not good.
func reload(ctx context.Context, old *config, g given, daemon *watchdog.Daemon, engine *watchdog.Relabelled, notifier *alert.Notifier) *config {
	cfg, err := parseRun(g)
	if err != nil {
		daemon.Log.Error("the configuration is not read anew, and the old one holds: "+probe.Clean(err.Error()), "event", recovery.EventConfigRefused)
		return old
	}
	if fixed := old.fixed(cfg); len(fixed) > 0 {
		daemon.Log.Warn("these change with a restart of the watchdog alone: "+strings.Join(fixed, ", "), "event", recovery.EventConfigRead)
	}
	cfg.settings.SelfID, cfg.router.Host = old.settings.SelfID, old.router.Host // the page and --listen keep the host's name, too
	engine.Use(cfg.overrides)
	notifier.Reload(cfg.router)
	daemon.Reload(ctx, cfg.settings)
	daemon.Log.Info("the configuration was read anew", "event", recovery.EventConfigRead)
	return cfg
}

// fixed names the flags in which two configurations differ and that hold until
// the end of the program.
func (c *config) fixed(other *config) (names []string) {
	for _, f := range []struct {
		name string
		same bool
	}{
		{"host", c.host == other.host}, {"state-file", c.stateFile == other.stateFile}, {"reconcile", c.reconcile == other.reconcile},
		{"listen", c.listen == other.listen}, {"control", c.control == other.control}, {"log-format", c.jsonLog == other.jsonLog},
		{"evidence", c.evidence == other.evidence}, {"evidence-lines", c.evidenceLines == other.evidenceLines},
		{"probe-figures", c.probeFigures == other.probeFigures}, {"heartbeat", c.heartbeat == other.heartbeat},
		{"host-name", c.router.Host == other.router.Host},
	} {
		if !f.same {
			names = append(names, "--"+f.name)
		}
	}
	return names
}
