package resource

import (
	"errors"
	"fmt"
	"io/fs"

	"healthcheck/probe"
)

// Limit is the percentage above which a figure is unhealthy; zero is none.
type Limit struct {
	Percent float64
	// Host says that the host's own figure is judged by it, too.
	Host bool
}

// note is the limit as messages show it; nothing where there is none.
func (l Limit) note() string {
	if l.Percent <= 0 {
		return ""
	}
	return fmt.Sprintf(" (max %g%%)", l.Percent)
}

func (l Limit) exceeded(f figure) bool {
	return f.of != "" && l.Percent > 0 && f.percent > l.Percent
}

// The sources of a figure, as messages name them.
const (
	fromLimit = "container limit"
	noLimit   = "no limit"
)

// figure is a percentage and what it is of; the zero figure is none.
type figure struct {
	percent float64
	of      string
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

// judgeOwn judges what this container uses and, where limit says so, what all
// of its host does. The host's figure is told where nothing limits the
// container, and fails nothing unless asked to: an idle container whose
// neighbours are busy is healthy, and no restart of it would help.
func judgeOwn(own, host figure, limit Limit) (probe.Finding, error) {
	message := own.String() + limit.note() + ", " + own.source
	if own.of == "" {
		message = "not judged: " + own.source
	}
	judged := limit.Host && host.of != ""
	if host.of != "" && (judged || !own.limited) {
		message += "; host " + host.String()
	}
	switch {
	case judged && limit.exceeded(host) && !limit.exceeded(own):
		f, err := judge(host.percent, limit.Percent, message)
		return f, probe.WithClass(err, probe.Host)
	case own.of != "":
		return judge(own.percent, limit.Percent, message)
	case judged:
		return judge(host.percent, limit.Percent, message)
	case host.of != "":
		message += " (--host judges it)"
	}
	return probe.Finding{Status: probe.Skip, Message: message}, nil
}

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
