//go:build !amd64 && !arm64

package main

import "context"

// untilSignal returns a context that ends with SIGINT or SIGTERM, for good.
func untilSignal() context.Context { return untilNotified() }
