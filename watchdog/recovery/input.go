package recovery

import (
	"strings"
	"time"
)

// Input is what the machine reacts to; one of the types below.
type Input interface{ isInput() }

type (
	// Seen is a container's state, freshly inspected or listed.
	Seen struct{ Container Container }
	// SeenAll is Seen for many at once.
	SeenAll struct{ Containers []Container }
	// Killed is a signal that somebody sent, at the engine's time.
	Killed struct {
		ID, Signal string
		At         time.Time
	}
	// Died is the end of a container's main process, at the engine's time.
	Died struct {
		ID       string
		ExitCode int
		At       time.Time
	}
	// Gone is a container that was removed.
	Gone struct{ ID string }
	// Done is the end of a restart or start that was asked for. Seen is the
	// container as it is now; nil where nobody knows.
	Done struct {
		Key  string
		Err  error
		Seen *Container
		// Missing says that there is no such container any more.
		Missing bool
	}
	// Depends asks for the restart of a dependent after its dependency, the
	// service After, has recovered.
	Depends struct {
		Container Container
		After     string
	}
	// Tick lets time pass.
	Tick struct{}
	// Online says that the engine answers, and that the machine has seen all
	// its containers; Offline that it is lost. The machine decides nothing in
	// between.
	Online  struct{}
	Offline struct{}
	// Reset forgets the attempts of the services of that name; a person asks
	// for it.
	Reset struct{ Name string }
)

func (Seen) isInput()    {}
func (SeenAll) isInput() {}
func (Killed) isInput()  {}
func (Died) isInput()    {}
func (Gone) isInput()    {}
func (Done) isInput()    {}
func (Depends) isInput() {}
func (Tick) isInput()    {}
func (Reset) isInput()   {}
func (Online) isInput()  {}
func (Offline) isInput() {}

// endsProcess says whether a signal is one that people stop containers with.
func endsProcess(signal string) bool {
	switch strings.TrimPrefix(strings.ToUpper(signal), "SIG") {
	case "15", "9", "2", "3", "6", "TERM", "KILL", "INT", "QUIT", "ABRT", "37", "RTMIN+3":
		return true
	}
	return false
}
