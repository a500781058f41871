package resource

import (
	"errors"

	"healthcheck/probe"
)

// judge builds the finding for a figure with an upper limit, both in percent:
// unhealthy above it, as in the Python script that this program replaces.
// A limit of zero is no limit.
func judge(percent, limit float64, message string) (probe.Finding, error) {
	f := probe.Finding{Message: message, Value: &percent}
	if limit <= 0 {
		return f, nil
	}
	f.Limit = &limit
	if percent > limit {
		return f, &probe.StageError{Stage: probe.StageLimit, Err: errors.New(message)}
	}
	return f, nil
}
