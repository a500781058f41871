package recovery

import (
	"slices"
	"strings"
	"time"
)

// MarkKind is what the engine reported about the end of a life.
type MarkKind string

// The kinds of marks.
const (
	// Asked is a signal that stops the container, sent through the engine.
	Asked MarkKind = "asked"
	// Ended is the end of its main process.
	Ended MarkKind = "ended"
	// Stopped is the engine's word that a request to stop it was carried out.
	Stopped MarkKind = "stopped"
)

// Mark is one report about the end of a life.
type Mark struct {
	Kind MarkKind  `json:"kind"`
	At   time.Time `json:"at"` // by the engine's clock
	// Received is the time by this program's clock.
	Received time.Time `json:"received"`
	Signal   string    `json:"signal,omitempty"`
	ExitCode int       `json:"exit_code,omitempty"`
	// Ours says that this program's own call caused it.
	Ours bool `json:"ours,omitempty"`
}

// Life is one run of a container's main process: when it started, and what is
// known of its end. Marks of an earlier life are dropped by their time.
type Life struct {
	Started time.Time `json:"started"`
	// Earlier are the starts of the lives before, as far as they were seen.
	Earlier []time.Time `json:"earlier,omitempty"`
	Marks   []Mark      `json:"marks,omitempty"`

	doubtful time.Time // an unknown start that lies before this one, seen once
}

// maxEarlier is how many starts of earlier lives are remembered: an inspection
// that was overtaken shows one of the last few.
const maxEarlier = 4

// maxMarks bounds what a container that is sent signals all the time can make
// this program remember.
const maxMarks = 8

// begin takes over the start that the engine reports. What came after it is
// nobody's doing but somebody else's: a call of this program stops first.
func (l *Life) begin(started time.Time) {
	setBack := started.Before(l.Started) // the engine's clock was
	l.Marks = slices.DeleteFunc(l.Marks, func(m Mark) bool { return !m.At.After(started) || setBack && m.At.After(l.Started) })
	if !l.Started.IsZero() && !started.Equal(l.Started) {
		l.Earlier = append(l.Earlier, l.Started)
		l.Earlier = l.Earlier[max(0, len(l.Earlier)-maxEarlier):]
	}
	l.Started = started
	for i := range l.Marks {
		l.Marks[i].Ours = false
	}
}

// another says whether a start is not the one of this life, nor one of those
// before that were seen.
func (l *Life) another(started time.Time) bool {
	return !started.IsZero() && !started.Equal(l.Started) && !slices.ContainsFunc(l.Earlier, started.Equal)
}

// overtaken says whether an inspection that shows this start is of an earlier
// life, and came in late. One that is not known and lies before this one is
// believed when it comes again: then the engine's clock was set back.
func (l *Life) overtaken(started time.Time) bool {
	switch {
	case started.IsZero(), started.Equal(l.Started), l.another(started) && (started.After(l.Started) || started.Equal(l.doubtful)):
		return false
	case l.another(started):
		l.doubtful = started
	}
	return true
}

// note keeps a mark of this life. One that came before its start belongs to
// an earlier life; one that is there already is the engine's repetition.
func (l *Life) note(m Mark) {
	if !m.At.After(l.Started) || slices.ContainsFunc(l.Marks, func(o Mark) bool { return o.Kind == m.Kind && o.At.Equal(m.At) && o.Signal == m.Signal }) {
		return
	}
	if len(l.Marks) == maxMarks {
		// The oldest request goes first: the end itself says more.
		i := max(0, slices.IndexFunc(l.Marks, func(o Mark) bool { return o.Kind == Asked }))
		l.Marks = slices.Delete(l.Marks, i, i+1)
	}
	l.Marks = append(l.Marks, m)
}

// ours says whether a mark like m of this program's own call is known: of each
// kind it makes one, and of signals one that asks and one that kills.
func (l *Life) ours(m Mark) bool {
	return slices.ContainsFunc(l.Marks, func(o Mark) bool {
		return o.Ours && o.Kind == m.Kind && (signalNumber(o.Signal) == sigKill) == (signalNumber(m.Signal) == sigKill)
	})
}

// stoppedByUs says whether a call of this program ended the life.
func (l *Life) stoppedByUs() bool {
	return slices.ContainsFunc(l.Marks, func(m Mark) bool { return m.Ours && m.Kind == Ended })
}

// asked says whether a call of this program asked it to stop, not longer ago
// than the engine takes for that.
func (l *Life) asked(now time.Time, stopWindow time.Duration) bool {
	return slices.ContainsFunc(l.Marks, func(m Mark) bool {
		return m.Ours && m.Kind == Asked && (stopWindow < 0 || now.Sub(m.Received) <= stopWindow)
	})
}

// forgetOurs drops what an earlier call of this program left.
func (l *Life) forgetOurs() {
	l.Marks = slices.DeleteFunc(l.Marks, func(m Mark) bool { return m.Ours })
}

// ending is how a life ended.
type ending int

const (
	endUnknown  ending = iota // nobody saw it
	endByItself               // its main process ended
	endByPerson               // somebody asked for it
	endByUs                   // this program's restart stopped it and did not start it
)

// ended says how a life ended whose container does not run. stopWindow is how
// long a stop may take: a signal that is older than that when the process ends
// did not end it. Negative is without a bound.
func (l *Life) ended(stopWindow time.Duration) ending {
	var died *Mark
	for i, m := range l.Marks {
		if m.Kind == Ended {
			died = &l.Marks[i]
		}
	}
	for _, m := range l.Marks {
		switch {
		case m.Ours || m.Kind == Ended:
		case m.Kind == Stopped, died == nil, stopWindow < 0, died.At.Sub(m.At) <= stopWindow:
			return endByPerson
		}
	}
	switch {
	case died == nil:
		return endUnknown
	case died.Ours:
		return endByUs
	}
	return endByItself
}

// stopping says whether somebody has asked a container that still runs to
// stop, not longer ago than patience; then it went on.
func (l *Life) stopping(now time.Time, patience time.Duration) bool {
	return slices.ContainsFunc(l.Marks, func(m Mark) bool {
		return !m.Ours && m.Kind != Ended && (patience < 0 || now.Sub(m.Received) <= patience)
	})
}

const (
	sigHup  = 1
	sigInt  = 2
	sigQuit = 3
	sigAbrt = 6
	sigKill = 9
	sigUsr1 = 10
	sigUsr2 = 12
	sigTerm = 15
	sigWinc = 28
	sigRTM  = 34 // SIGRTMIN as glibc counts it, which the engine's table follows
)

// signalNumber reads a signal as the engine writes it, by number or by name,
// with or without SIG; 0 for none that stops containers in practice.
func signalNumber(text string) int {
	text = strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(text)), "SIG")
	n := 0
	for _, r := range text {
		if r < '0' || r > '9' || n > 64 {
			n = -1
			break
		}
		n = n*10 + int(r-'0')
	}
	if n > 0 && n <= 64 {
		return n
	}
	switch text {
	case "HUP":
		return sigHup
	case "INT":
		return sigInt
	case "QUIT":
		return sigQuit
	case "ABRT":
		return sigAbrt
	case "KILL":
		return sigKill
	case "USR1":
		return sigUsr1
	case "USR2":
		return sigUsr2
	case "TERM":
		return sigTerm
	case "WINCH":
		return sigWinc
	case "RTMIN":
		return sigRTM
	case "RTMIN+3":
		return sigRTM + 3
	}
	return 0
}

// stops says whether a signal is one that people stop this container with:
// the usual ones, and the one that its image asks for (httpd's SIGWINCH,
// haproxy's SIGUSR1).
func stops(signal, stopSignal string) bool {
	switch n := signalNumber(signal); n {
	case 0:
		return false
	case sigInt, sigQuit, sigAbrt, sigKill, sigTerm, sigRTM + 3:
		return true
	default:
		return n == signalNumber(stopSignal)
	}
}
