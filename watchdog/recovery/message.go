package recovery

import "time"

// Message is something that happened; one of the types below.
type Message interface{ isMessage() }

type (
	// Seen is a container's state, freshly inspected.
	Seen struct{ Container Container }
	// Listed is a list of all containers: who is not in it is gone. Those that
	// need no inspection are taken as they are listed.
	Listed struct{ All []Container }
	// Signalled is a signal that somebody sent to a container.
	Signalled struct {
		ID, Signal string
		At         time.Time // by the engine's clock, as in those below
	}
	// Exited is the end of a container's main process.
	Exited struct {
		ID       string
		ExitCode int
		At       time.Time
	}
	// StopDone is the end of a request to stop a container.
	StopDone struct {
		ID string
		At time.Time
	}
	// Destroyed is a container that was removed.
	Destroyed struct{ ID string }
	// CallEnded is the end of a restart or start that was asked for. Seen is the
	// container as it is now; nil where that is not known.
	CallEnded struct {
		Key  string
		Err  error
		Seen *Container
		// Missing says that the container was inspected and is not there.
		Missing bool
	}
	// Gathered is the end of a gathering of evidence, which is kept under an id;
	// an empty one says that there is none.
	Gathered struct{ Key, ID, Evidence string }
	// Dependents are the containers to restart after a recovery, with what each
	// of them needs.
	Dependents struct {
		Of  string
		All []Dependent
	}
	// EngineCall is how long an inspection took, and whether the engine's host is
	// known to have been idle of late: then a probe that runs out of time is its
	// own container's fault.
	EngineCall struct {
		Took time.Duration
		Idle bool
	}
	// Tick lets time pass.
	Tick struct{}
	// Online says that the engine can be asked, and that what it lists has been
	// seen; Offline that it is lost. Time stands still in between.
	Online  struct{}
	Offline struct{}
	// SnoozeAsked asks for a pause of the services of that name, or of all where
	// it is empty; ResumeAsked ends it.
	SnoozeAsked struct {
		Name, Reason string
		Until        time.Time
	}
	ResumeAsked struct{ Name string }
	// ResetAsked clears the attempts of the services of that name.
	ResetAsked struct{ Name string }
)

func (Seen) isMessage() {}

func (Listed) isMessage() {}

func (Signalled) isMessage() {}

func (Exited) isMessage() {}

func (StopDone) isMessage() {}

func (Destroyed) isMessage() {}

func (CallEnded) isMessage() {}

func (Gathered) isMessage() {}

func (Dependents) isMessage() {}

func (EngineCall) isMessage() {}

func (Tick) isMessage() {}

func (Online) isMessage() {}

func (Offline) isMessage() {}

func (SnoozeAsked) isMessage() {}

func (ResumeAsked) isMessage() {}

func (ResetAsked) isMessage() {}
