package page

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// incident is something that was wrong, from its first alert to its end.
type incident struct {
	Subject  string // as alert.Subject names it
	Service  string // empty for what concerns all of them
	Open     bool
	Opened   time.Time
	Closed   time.Time // zero while it is open, or where its end is not known
	Severity recovery.Severity
	// What is the last alert, Outcome what ended it, and Cause the last one that
	// is known.
	What, Outcome, Cause string
	Attempts             int
	Evidence             []string
}

// maxIncidents bounds those that are shown.
const maxIncidents = 50

// incidents are those that the history tells of and those that are open, which
// come first; then the newest come first.
func incidents(history store.History, open map[string]*alert.Incident) []incident {
	var all []incident
	current := map[string]*incident{} // one without a severity is no incident yet
	for _, d := range history {
		subject := alert.Subject(d.Event, d.Service)
		alerted := d.Alert && !d.Closes && d.Severity != recovery.Info
		inc := current[subject]
		switch {
		case inc != nil && inc.Severity == "" && d.Phase == recovery.Idle && !alerted:
			delete(current, subject)
			continue
		case inc != nil && d.Closes && inc.Severity == "": // over as it was reported, or begun before the history
			delete(current, subject)
			continue
		case inc != nil && d.Closes:
			inc.Closed, inc.Outcome = d.Time, d.What
			all = append(all, *inc)
			delete(current, subject)
			continue
		case inc == nil && (alerted || d.Phase != recovery.Idle):
			inc = &incident{Subject: subject, Service: d.Service}
			current[subject] = inc
		case inc == nil:
			continue
		}
		if alerted {
			if inc.Severity == "" {
				inc.Opened = d.Time
			}
			if inc.Severity != recovery.Critical {
				inc.Severity = d.Severity
			}
			inc.What = d.What
		}
		inc.Cause = cmp.Or(d.Cause, inc.Cause)
		inc.Attempts = max(inc.Attempts, d.Attempt)
		if d.Evidence != "" {
			inc.Evidence = append(inc.Evidence, d.Evidence)
		}
	}
	for subject, inc := range current {
		if inc.Severity != "" {
			_, inc.Open = open[subject]
			all = append(all, *inc)
		}
	}
	for _, subject := range slices.Sorted(maps.Keys(open)) {
		if inc := current[subject]; inc == nil || inc.Severity == "" { // it is older than the history
			o := open[subject]
			service, ok := strings.CutPrefix(subject, "service ")
			if !ok {
				service = ""
			}
			all = append(all, incident{Subject: subject, Service: service, Open: true, Opened: o.Opened, Severity: o.Last.Severity, What: o.Last.Title})
		}
	}
	slices.SortFunc(all, func(a, b incident) int {
		if a.Open != b.Open {
			if a.Open {
				return -1
			}
			return 1
		}
		return cmp.Or(b.Opened.Compare(a.Opened), cmp.Compare(a.Subject, b.Subject))
	})
	return all[:min(len(all), maxIncidents)]
}
