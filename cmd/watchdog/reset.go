package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// runReset is watchdog reset NAME.
func runReset(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	q, code, ok := parseQuestion("reset", 1, args, stdout, stderr)
	if !ok {
		return code
	}
	name := q.args[0]
	_, status, err := q.ask(ctx, http.MethodPost, "/reset?name="+url.QueryEscape(name))
	switch {
	case err != nil:
		return fail(stderr, err)
	case status == http.StatusNotFound:
		return fail(stderr, usagef("watchdog status lists the names", "no service or container is called %q", name))
	}
	fmt.Fprintf(stdout, "reset: attempts of %s are forgotten\n", name)
	return 0
}
