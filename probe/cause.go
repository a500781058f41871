package probe

import "errors"

// Class says what would help against a failure.
type Class string

// The classes of causes.
const (
	// Self: restarting this container.
	Self Class = "self"
	// Dependency: mending the other, whose host and port the cause names where
	// they are known.
	Dependency Class = "dependency"
	// Starting: waiting, since the target says that it starts, loads or recovers.
	Starting Class = "starting"
	// Config: a person, since a password, a certificate or a name is wrong.
	Config Class = "config"
	// Host: a person or the host, since a disk is full or a device broken.
	Host Class = "host"
	// Unknown: nobody can tell; restarting, as ever.
	Unknown Class = "unknown"
)

// AsTarget is the class of an error whose stage would suggest another: what the
// check's target says applies.
const AsTarget Class = "as target"

// Classes lists them all.
var Classes = []Class{Self, Dependency, Starting, Config, Host, Unknown}

// FailureCause is the class of a failure, and where the trouble is.
type FailureCause struct {
	Class Class
	// Host and Port are those of the target; empty for none.
	Host, Port string
}

// WithClass marks an error with a class, for a check that knows better than
// its stage tells.
func WithClass(err error, c Class) error {
	if c == "" {
		return err
	}
	if se, ok := errors.AsType[*StageError](err); ok {
		return &StageError{Stage: se.Stage, Err: err, Class: c}
	}
	return &StageError{Err: err, Class: c}
}

// causeOf is the cause of a failed check: what the check says itself, or else
// what its stage and its target tell.
func causeOf(c Check, err error) FailureCause {
	var stage Stage
	var class Class
	if se, ok := errors.AsType[*StageError](err); ok {
		stage, class = se.Stage, se.Class
	}
	cause := c.Cause
	switch stage {
	case StageResolve, StageConnect, StageTLS:
		if c.Unreachable.Class != "" {
			cause = c.Unreachable
		}
	}
	switch {
	case class == AsTarget:
	case class != "":
		cause.Class = class
	case stage == StageTLS, stage == StageAuth, stage == StageRequest, stage == StagePanic:
		cause.Class = Config
	}
	if cause.Class == "" {
		cause.Class = Unknown
	}
	return cause
}
