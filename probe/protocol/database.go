package protocol

import (
	"context"
	"fmt"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// What the checks that speak a protocol of their own have in common: the
// connection they dial, and the message for a server that speaks another one.

// early returns a context that ends a little before ctx does, so that there is
// time left to call a running query off and to close the session properly.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(end)
	const most = 100 * time.Millisecond
	return context.WithDeadline(ctx, end.Add(-min(most, left/5)))
}

// sessionFault is a StageError with the target before it.
func sessionFault(t target.Target, err error) error {
	return t.Errorf(probe.StageOf(err), "%s", err)
}

// switchParam reads a yes-or-no query parameter.
func switchParam(name, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "", "false", "0", "disable", "no":
		return false, nil
	case "true", "1", "require", "yes":
		return true, nil
	}
	return false, fmt.Errorf("%s=%q is neither true nor false", name, probe.Cut(value, 20))
}
