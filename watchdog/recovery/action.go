package recovery

import "time"

// Severity of an alert.
type Severity string

// The severities.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// ActionKind says what is to be done.
type ActionKind string

// The kinds of actions.
const (
	DoRestart ActionKind = "restart"
	DoStart   ActionKind = "start"
	DoStop    ActionKind = "stop"
	DoCascade ActionKind = "cascade"
	DoAlert   ActionKind = "alert"
	DoLog     ActionKind = "log"
	// DoGather asks for evidence of a container that is about to be restarted.
	DoGather ActionKind = "gather"
	// DoLook asks for the inspection of containers that a report may mean.
	DoLook ActionKind = "look"
	// DoForget drops what others keep of a service that has ended.
	DoForget ActionKind = "forget"
)

// Action is one thing to do, with all that is needed to explain it.
type Action struct {
	Kind     ActionKind
	Event    Event
	Severity Severity // of an alert or a log line
	// Key is the service's; empty for what concerns all of them.
	Key      string
	ID, Name string
	// Phase is the one that the service is in after the decision.
	Phase Phase
	// Container is what a restart or a stop is about.
	Container Container
	Policy    Policy
	Attempt   int
	Delay     time.Duration
	Text      string
	// Cause is why the service needs a restart, Output what its last failed
	// probe printed.
	Cause, Output string
	// Evidence is the id under which is kept what was known before a restart,
	// and Lines the end of the container's log then, which the daemon sets.
	Evidence, Lines string
	// IDs are the containers to look at.
	IDs []string
	// Closes says that with this alert the service's incident is over.
	Closes bool
	// Failed marks a restart that failed or did not help.
	Failed bool
	// Took is how long a recovery took since the first failure.
	Took time.Duration
}
