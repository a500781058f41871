package flags

import (
	"context"
	"errors"
	"strings"

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
		for _, mark := range []string{"\xff\xfe", "\xfe\xff"} { // UTF-16's, which PowerShell writes
			if o.err == nil && strings.HasPrefix(string(o.text), mark) {
				return "", errors.New("the text is UTF-16, want UTF-8")
			}
		}
		return string(o.text), o.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
