package protocol

import (
	"fmt"

	"healthcheck/probe/target"
)

// takeReady reads the setting ready of a target: its check needs no credentials
// then, and is content with a server that takes connections, as pg_isready and
// mysqladmin ping are. Parameters that look further exclude it.
func takeReady(t target.Target, further ...string) (ready bool, rest target.Target, err error) {
	value, rest, given, err := t.Take("ready")
	if err != nil || !given {
		return false, rest, err
	}
	if ready, err = switchParam("ready", value); err != nil || !ready {
		return false, rest, err
	}
	for _, name := range further {
		if t.URL.Query().Has(name) {
			return false, rest, fmt.Errorf("ready= asks no further than whether the server takes connections, and %s= does: leave one out", name)
		}
	}
	return true, rest, nil
}

// accepting is what a server is that a check with ready= found, and what it said.
func accepting(t target.Target, said string) string {
	if said != "" {
		said = ": " + t.Secrets.Quote(said)
	}
	return t.String() + ": accepting connections" + said
}
