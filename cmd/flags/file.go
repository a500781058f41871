package flags

import (
	"context"

	"healthcheck/probe/target"
)

// MaxFile bounds the file of a variable, in bytes.
const MaxFile = 64 << 10

// ReadFile reads the regular file that a variable names, of 64 KiB at most, and
// waits until ctx ends for it.
func ReadFile(ctx context.Context, path string) (string, error) {
	type outcome struct {
		text []byte
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		text, err := target.ReadBounded(path, MaxFile)
		done <- outcome{text, err}
	}()
	select {
	case o := <-done:
		return string(o.text), o.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
