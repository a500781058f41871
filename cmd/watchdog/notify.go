package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
)

// newNotifyFlags declares the flags of notify, which are among those of run:
// with its environment, the receivers of the daemon are tested.
func newNotifyFlags() (*pflag.FlagSet, *raw) {
	r := &raw{}
	fs := newFlagSet("notify")
	fs.StringVar(&r.configFile, "config", "", "`FILE` the configuration of watchdog run, with its receivers")
	r.addReceivers(fs)
	return fs, r
}

// addReceivers declares the flags that name receivers.
func (r *raw) addReceivers(fs *pflag.FlagSet) {
	fs.Var(&flags.List{Values: &r.notify, Begins: flags.ByStart(receiverStart), Spaces: true, Kind: "[SEVERITY=]URL"}, "notify", "a receiver of alerts of that severity and above, as shoutrrr writes it: slack://…")
	fs.Var(&flags.List{Values: &r.escalate, Begins: flags.ByStart(escalationStart), Spaces: true, Kind: "DURATION=URL"}, "escalate-after", "a receiver of critical alerts that are unresolved for so long")
	fs.StringVar(&r.title, "notify-title", "", "`TEMPLATE` the title of alerts: {{.Severity}} {{.Project}} on {{.Host}}")
	fs.StringVar(&r.text, "notify-text", "", "`TEMPLATE` their text")
	fs.StringVar(&r.router.Host, "host-name", "", "`NAME` the host's in alerts and in requests to --listen, beside its own")
}

// runNotify is watchdog notify test [URL].
func runNotify(ctx context.Context, g given, stdout, stderr io.Writer) int {
	r, err := parseNotify(g)
	if err != nil {
		return failOrHelp(err, "notify", stdout, stderr)
	}
	code := 0
	for i, url := range r.router.Receivers() {
		scheme, _, _ := strings.Cut(url, "://") // behind it there may be a token
		which := fmt.Sprintf("receiver %d, %s", i+1, scheme)
		for name, sinks := range r.router.Named {
			if slices.ContainsFunc(sinks, func(s alert.Sink) bool { return s.URL == url }) {
				which = fmt.Sprintf("receiver %d, %s, %s", i+1, name, scheme)
			}
		}
		begin := time.Now()
		if err := r.router.Test(ctx, url); err != nil {
			fmt.Fprintf(stdout, "%s: not delivered: %s\n", which, err)
			code = 1
			continue
		}
		fmt.Fprintf(stdout, "%s: delivered in %s\n", which, time.Since(begin).Round(time.Millisecond))
	}
	return code
}

// parseNotify reads the receivers to test, as watchdog run does. Its error
// repeats no address.
func parseNotify(g given) (*raw, error) {
	const usage = "watchdog notify test, with --notify or --config as watchdog run has them, or watchdog notify test URL"
	fs, _ := newNotifyFlags()
	if _, err := g.parse(fs, 2); err != nil {
		return nil, err
	}
	if fs.Arg(0) != "test" {
		return nil, usagef(usage, "notify: the word test comes first")
	}
	all, r := newFlags()
	all.Init("notify", pflag.ContinueOnError)
	var err error
	if r.environ, err = g.parse(all, 2); err != nil {
		return nil, err
	}
	if err := r.readConfigFile(g, all); err != nil {
		return nil, err
	}
	which := fs.Arg(1)
	if strings.Contains(which, "://") {
		if err := checkReceiver("the receiver", which); err != nil {
			return nil, err
		}
		r.notify, r.escalate, r.receivers = []string{which}, nil, nil
	}
	if err := r.resolveAlerts(); err != nil {
		return nil, err
	}
	if which != "" && !strings.Contains(which, "://") && !receiverName(which) {
		return nil, usagef(usage, "the argument is neither an address nor the name of a receiver") // it may hold a token
	}
	if which != "" && !strings.Contains(which, "://") && which != recovery.DefaultReceivers {
		named, known := r.router.Named[which]
		if !known {
			hint := "watchdog notify test tests all; no receiver has a name without receivers in the file of --config"
			if len(r.settings.Receivers) > 0 {
				hint = "the receivers are default, " + strings.Join(r.settings.Receivers, ", ")
			}
			return nil, usagef(hint, "there is no receiver %q", flags.Clip(which))
		}
		r.router.Sinks, r.router.Escalations, r.router.Named = nil, nil, map[string][]alert.Sink{which: named}
	} else if which == recovery.DefaultReceivers {
		r.router.Escalations, r.router.Named = nil, nil
	}
	if len(r.router.Receivers()) == 0 {
		return nil, usagef(usage, "no receiver is given")
	}
	return r, nil
}
