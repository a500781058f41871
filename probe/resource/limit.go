package resource

import (
	"errors"
	"fmt"
	"io/fs"

	"healthcheck/probe"
)

// Limit is what a figure is judged by; a zero is no limit.
type Limit struct {
	// Max is the percentage above which a figure is unhealthy, Warn the one
	// above which it is degraded.
	Max, Warn float64
	// MinFree and WarnFree are bytes: unhealthy and degraded where less is free.
	MinFree, WarnFree float64
	// Host says that the host's own figure is judged by it, too.
	Host bool
}

// note is the limit in percent as messages show it; nothing where there is none.
func (l Limit) note() string {
	return limitNote("max", fmt.Sprintf("%g%%", l.Max), l.Max, "above", fmt.Sprintf("%g%%", l.Warn), l.Warn)
}

func limitNote(name, limit string, l float64, side, warn string, w float64) string {
	switch {
	case l > 0 && w > 0:
		return fmt.Sprintf(" (%s %s, warning %s %s)", name, limit, side, warn)
	case l > 0:
		return fmt.Sprintf(" (%s %s)", name, limit)
	case w > 0:
		return fmt.Sprintf(" (warning %s %s)", side, warn)
	}
	return ""
}

// wantsFree says that what is free is judged, too.
func (l Limit) wantsFree() bool { return l.MinFree > 0 || l.WarnFree > 0 }

// freeNote is what is free of a figure, with its limit; nothing where nobody
// asked for it.
func (l Limit) freeNote(f figure) string {
	if !l.wantsFree() {
		return ""
	}
	note := ", " + bytesText(f.free) + " free" + limitNote("min", bytesText(l.MinFree), l.MinFree, "below", bytesText(l.WarnFree), l.WarnFree)
	if l.tooMuch(f) {
		note += ", which is more than there is"
	}
	return note
}

// tooMuch says that a limit asks for more free bytes than there are in all.
func (l Limit) tooMuch(f figure) bool { return max(l.MinFree, l.WarnFree) > f.size }

// The sources of a figure, as messages name them.
const (
	fromLimit = "container limit"
	noLimit   = "no limit"
)

// figure is a percentage and what it is of; the zero figure is none.
type figure struct {
	percent float64
	of      string
	// size and free are bytes, of what is counted in bytes.
	size, free float64
	// source says what limits it, or why there is no figure.
	source  string
	limited bool
}

func (f figure) String() string { return fmt.Sprintf("%.1f%% of %s", f.percent, f.of) }

// unlimited is the figure of a container for which no limit is known, by the
// error err. uerr says that its own use is not known either: it is the host's
// where this program's group is all of the host.
func unlimited(own figure, err, uerr error, isHost bool, host figure) figure {
	source := noLimit
	if !errors.Is(err, errNoLimit) {
		source = "container limit unreadable: " + err.Error()
	}
	switch {
	case uerr == nil:
	case isHost:
		own = host
	case errors.Is(uerr, fs.ErrNotExist):
		return figure{source: source + ", " + errUncounted.Error()}
	default:
		return figure{source: source + ", " + uerr.Error()}
	}
	own.source = source
	return own
}

// grade is how bad a figure is.
type grade int

const (
	fine grade = iota
	warned
	failed
)

// verdict is what a limit says of one number.
type verdict struct {
	grade grade
	// value is the number, and limit what it was compared with; zero for none.
	value, limit float64
	class        probe.Class // of a failure, where the check's own is wrong
}

// percent judges a figure's percentage: unhealthy above the limit, as in the
// Python script that this program replaces.
func (l Limit) percent(value float64) verdict {
	switch {
	case l.Max > 0 && value > l.Max:
		return verdict{grade: failed, value: value, limit: l.Max}
	case l.Warn > 0 && value > l.Warn:
		return verdict{grade: warned, value: value, limit: l.Warn}
	case l.Max > 0:
		return verdict{value: value, limit: l.Max}
	}
	return verdict{value: value, limit: l.Warn}
}

// freeBytes judges what is free of a figure. No restart helps where the limit
// asks for more than there is.
func (l Limit) freeBytes(f figure) verdict {
	v := verdict{value: f.free, limit: l.MinFree}
	switch {
	case f.free < l.MinFree:
		v.grade = failed
		if l.MinFree > f.size {
			v.class = probe.Config
		}
	case f.free < l.WarnFree:
		v.grade, v.limit = warned, l.WarnFree
	}
	return v
}

// conclude builds the finding for a message that the verdicts are about: the
// worst of them counts, of equal ones the first.
func conclude(message string, verdicts ...verdict) (probe.Finding, error) {
	worst := verdicts[0]
	for _, v := range verdicts[1:] {
		if v.grade > worst.grade {
			worst = v
		}
	}
	f := probe.Finding{Message: message, Value: &worst.value}
	if worst.limit > 0 {
		f.Limit = &worst.limit
	}
	switch worst.grade {
	case warned:
		f.Status = probe.Warn
	case failed:
		return f, &probe.StageError{Stage: probe.StageLimit, Err: errors.New(message), Class: worst.class}
	}
	return f, nil
}

// judgeOwn judges what this container uses and, where limit says so, what all
// of its host does. The host's figure is told where nothing limits the
// container, and fails nothing unless asked to: an idle container whose
// neighbours are busy is healthy, and no restart of it would help. What is free
// for a container without a limit is what the host has available.
func judgeOwn(own, host figure, limit Limit) (probe.Finding, error) {
	var verdicts []verdict
	message := "not judged: " + own.source
	if own.of != "" {
		verdicts = append(verdicts, limit.percent(own.percent))
		message = own.String() + limit.note()
		if own.limited && limit.wantsFree() {
			verdicts = append(verdicts, limit.freeBytes(own))
			message += limit.freeNote(own)
		}
		message += ", " + own.source
	}
	judged := limit.Host && host.of != ""
	if judged {
		v := limit.percent(host.percent)
		v.class = probe.Host
		verdicts = append(verdicts, v)
	}
	if host.of != "" && (judged || !own.limited) {
		message += "; host " + host.String()
		if limit.wantsFree() {
			v := limit.freeBytes(host)
			if v.class == "" {
				v.class = probe.Host
			}
			verdicts = append(verdicts, v)
			message += limit.freeNote(host)
		}
	}
	if len(verdicts) == 0 {
		if host.of != "" {
			message += " (--host judges it)"
		}
		return probe.Finding{Status: probe.Skip, Message: message}, nil
	}
	return conclude(message, verdicts...)
}
