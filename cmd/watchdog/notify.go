package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
	"healthcheck/watchdog/alert"
)

// newNotifyFlags declares the flags of notify, which are among those of run:
// with its environment, the receivers of the daemon are tested.
func newNotifyFlags() (*pflag.FlagSet, *raw) {
	r := &raw{}
	fs := newFlagSet("notify")
	r.addReceivers(fs)
	return fs, r
}

// addReceivers declares the flags that name receivers.
func (r *raw) addReceivers(fs *pflag.FlagSet) {
	fs.Var(&flags.List{Values: &r.notify, Begins: flags.ByStart(receiverStart), Spaces: true, Kind: "[SEVERITY=]URL"}, "notify", "a receiver of alerts of that severity and above, as shoutrrr writes it: slack://…")
	fs.Var(&flags.List{Values: &r.escalate, Begins: flags.ByStart(escalationStart), Spaces: true, Kind: "DURATION=URL"}, "escalate-after", "a receiver of critical alerts that are unresolved for so long")
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
		begin := time.Now()
		if err := alert.Test(ctx, url, r.router.Host); err != nil {
			fmt.Fprintf(stdout, "receiver %d, %s: not delivered: %s\n", i+1, scheme, err)
			code = 1
			continue
		}
		fmt.Fprintf(stdout, "receiver %d, %s: delivered in %s\n", i+1, scheme, time.Since(begin).Round(time.Millisecond))
	}
	return code
}

// parseNotify reads the receivers to test. Its error repeats no address.
func parseNotify(g given) (*raw, error) {
	const usage = "watchdog notify test, with --notify or WATCHDOG_NOTIFY as watchdog run has them, or watchdog notify test URL"
	fs, r := newNotifyFlags()
	var err error
	if r.environ, err = g.parse(fs, 2); err != nil {
		return nil, err
	}
	switch {
	case fs.Arg(0) != "test":
		return nil, usagef(usage, "notify: the word test comes first")
	case fs.NArg() == 2:
		if err := checkReceiver("the receiver", fs.Arg(1)); err != nil {
			return nil, err
		}
		r.notify, r.escalate = []string{fs.Arg(1)}, nil
	}
	if err := r.resolveAlerts(); err != nil {
		return nil, err
	}
	if len(r.router.Receivers()) == 0 {
		return nil, usagef(usage, "no receiver is given")
	}
	return r, nil
}
