package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"healthcheck/watchdog/recovery"
)

// resetAnswer is what the daemon answers to a reset.
type resetAnswer struct {
	// Reset is how many services have been reset.
	Reset int `json:"reset"`
	// Services are these, as they were before.
	Services []recovery.ServiceStatus `json:"services"`
}

// runReset is watchdog reset NAME.
func runReset(ctx context.Context, g given, stdout, stderr io.Writer) int {
	q, err := parseQuestion("reset", 1, g, stdout, stderr)
	if err != nil {
		return failOrHelp(err, "reset", stdout, stderr)
	}
	name := q.args[0]
	return q.change(ctx, "/reset?name="+url.QueryEscape(name), name, func(body []byte) (string, error) {
		var answer resetAnswer
		err := json.Unmarshal(body, &answer)
		return resetText(name, answer), err
	})
}

// resetText says what a reset has changed, a service a line.
func resetText(name string, answer resetAnswer) string {
	var b strings.Builder
	for _, s := range answer.Services {
		fmt.Fprintf(&b, "%s: %d of %d attempts are forgotten; it was %s", clean(s.Service), s.Attempts, s.MaxAttempts, clean(s.Phase))
		fmt.Fprintf(&b, ", its container %s is %s and is looked at now\n", clean(s.Container), clean(s.Health))
	}
	if more := answer.Reset - len(answer.Services); more > 0 {
		fmt.Fprintf(&b, "%s: the attempts of %d services are forgotten, and they are looked at now\n", clean(name), more)
	}
	return b.String()
}
