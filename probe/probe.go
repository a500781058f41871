// Package probe is what a check is, and how a set of them is run under one
// deadline. It knows no kind of check, no flag and no output.
//
// Data flows one way: flags → config → checks → [Run] → results → report.
package probe

import (
	"context"
	"time"
)

// Status is the outcome of one check.
type Status string

// The outcomes of a check.
const (
	OK   Status = "ok"
	Fail Status = "fail"
	Warn Status = "warn" // reported, but the program stays in service
	Skip Status = "skip" // not run, or nothing to judge yet
)

// Finding is what a check saw.
type Finding struct {
	// Message is one line for a person: the figure with its limit, or the
	// target with what it answered.
	Message string
	// Value and Limit carry the figure that was judged, in the unit that the
	// message names (percent for resources); nil where there is none.
	Value, Limit *float64
	// Status says how a check that did not fail ended; empty means OK.
	Status Status
}

// Func is one check. A nil error means healthy, degraded or skipped as the
// finding says; any error is a failure and is reported in place of the
// finding's message. A StageError in its chain names the stage that broke.
// It must return soon after ctx ends; Run does not wait for one that hangs.
type Func func(ctx context.Context) (Finding, error)

// Check is a Func with the name and the layer that the report shows.
type Check struct {
	Name  string
	Layer string
	// Optional turns a failure into a warning.
	Optional bool
	// Informational marks a check that cannot fail: it is reported, but not
	// counted among the checks that passed.
	Informational bool
	Run           Func
	// Limit is this check's own, in place of Options.CheckTimeout; 0: that.
	Limit time.Duration
	// Target is what it looks at, with secrets removed; empty for none.
	Target string
	// Cause is that of a failure that names none itself, Unreachable that of one
	// to connect; zero: the same.
	Cause, Unreachable FailureCause
}

// Result is what became of one check.
type Result struct {
	Name          string
	Layer         string
	Status        Status
	Stage         Stage // where it broke; empty unless it did
	Message       string
	Target        string
	Cause         FailureCause // of a failure, or of a warning that stands for one
	Duration      time.Duration
	Value, Limit  *float64
	Informational bool
}
