package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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
	body, status, err := q.ask(ctx, http.MethodPost, "/reset?name="+url.QueryEscape(name))
	switch {
	case err != nil:
		return fail(stderr, err)
	case status == http.StatusNotFound:
		return fail(stderr, usagef("watchdog status lists the names", "no service or container is called %q", name))
	case q.format == "json":
		stdout.Write(body)
		return 0
	}
	var answer resetAnswer
	if err := json.Unmarshal(body, &answer); err != nil {
		return fail(stderr, fmt.Errorf("the daemon's answer: %w", err))
	}
	io.WriteString(stdout, resetText(name, answer))
	return 0
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
