package probe

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// Stage names the step at which a check broke, so that 'connection refused',
// 'no such host', 'certificate expired' and 'status 503' are told apart.
type Stage string

// The stages, in the order in which a network check passes through them;
// resource and file checks know only StageRead and StageLimit.
const (
	StageResolve  Stage = "resolve"
	StageConnect  Stage = "connect"
	StageTLS      Stage = "tls"
	StageAuth     Stage = "auth"
	StageRequest  Stage = "request"
	StageResponse Stage = "response"
	StageStatus   Stage = "status"
	StageBody     Stage = "body"
	StageJSON     Stage = "json"
	StageRead     Stage = "read"  // the figure or file could not be read
	StageLimit    Stage = "limit" // it could, and is out of bounds
	StagePanic    Stage = "panic" // a fault in this program
)

// StageError is an error with the stage that it belongs to. Its text is the
// text of Err alone: the report prints the stage only where programs read it.
type StageError struct {
	Stage Stage
	Err   error
	// Class, if set, says what would help, where the stage does not.
	Class Class
}

func (e *StageError) Error() string { return e.Err.Error() }

// Unwrap returns the error behind the stage.
func (e *StageError) Unwrap() error { return e.Err }

// StageOf returns the outermost stage in the chain of err, or "" for none.
//
// Inlined at each of its calls it would take 4 KB more.
//
//go:noinline
func StageOf(err error) Stage {
	if se, ok := errors.AsType[*StageError](err); ok {
		return se.Stage
	}
	return ""
}

// deadlineSlack is how far apart the kernel's and the context's timers for
// the same deadline may fire.
const deadlineSlack = 20 * time.Millisecond

// Cause returns why an operation under ctx failed: the context's own
// cause where that is what ended it (it says how long was waited, or which
// signal came), else err.
func Cause(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		if d, ok := ctx.Deadline(); ok && time.Until(d) < deadlineSlack {
			<-ctx.Done()
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// Bare strips the operation and the address that Go's network errors repeat
// and returns the operating system's own error, where there is one.
//
// Inlined at each of its calls it would take 2 KB more.
//
//go:noinline
func Bare(err error) error {
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return no
	}
	return err
}
