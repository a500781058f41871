package protocol

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"healthcheck/probe"
)

// What may be asked of a server of MySQL beyond an answer.

// mysqlDemand is a query, and what makes of its answer a fault or nothing.
type mysqlDemand struct {
	query string
	judge func(row map[string]string) error // a nil row: the answer has none
}

// mysqlDemands are what a target's parameters ask of the server, beside a
// session: those that MariaDB's own healthcheck.sh tells apart, and whether
// it can be written to.
func mysqlDemands(q url.Values) (all []mysqlDemand, err error) {
	query := cmp.Or(q.Get("query"), "SELECT 1")
	expect, expected := q.Get("expect"), q.Has("expect")
	if expected && !q.Has("query") {
		return nil, errors.New("expect= needs a query= whose answer it is")
	}
	all = append(all, mysqlDemand{query, func(row map[string]string) error {
		if !expected {
			return nil
		}
		return expectAnswer(row != nil, row[firstColumn], expect)
	}})
	maxLag := time.Duration(-1)
	if text := q.Get("max_lag"); text != "" {
		if maxLag, err = time.ParseDuration(text); err != nil || maxLag < 0 {
			return nil, fmt.Errorf("max_lag=%q is not a duration such as 30s", probe.Cut(text, 20))
		}
	}
	for _, d := range []struct {
		name, query string
		judge       func(row map[string]string) error
	}{
		{"writable", "SELECT @@global.read_only, @@global.innodb_read_only", func(row map[string]string) error {
			if row["@@global.read_only"] == "0" && row["@@global.innodb_read_only"] == "0" || row["@@global.read_only"] == "OFF" {
				return nil
			}
			return errors.New("the server is read-only, which writable= refuses")
		}},
		{"innodb_initialized", "SELECT 1 FROM information_schema.ENGINES WHERE engine = 'innodb' AND support IN ('YES', 'DEFAULT', 'ENABLED')", func(row map[string]string) error {
			if row == nil {
				return errors.New("the engine InnoDB is not initialised")
			}
			return nil
		}},
		{"galera_online", "SHOW GLOBAL STATUS LIKE 'wsrep_local_state'", func(row map[string]string) error {
			const synced = "4" // Galera's documentation of wsrep_local_state
			if row["Value"] != synced {
				return fmt.Errorf("the wsrep_local_state of Galera is %q, want 4 (Synced)", probe.Cut(row["Value"], 20))
			}
			return nil
		}},
		// MySQL 8.4 knows the new words alone, MariaDB both.
		{"replication", "SHOW REPLICA STATUS", func(row map[string]string) error { return mysqlReplication(row, maxLag) }},
	} {
		on, err := switchParam(d.name, q.Get(d.name))
		if err != nil {
			return nil, err
		}
		if on || d.name == "replication" && maxLag >= 0 {
			all = append(all, mysqlDemand{d.query, d.judge})
		}
	}
	return all, nil
}

// mysqlReplication judges a row of SHOW REPLICA STATUS; a negative lag is any.
func mysqlReplication(row map[string]string, maxLag time.Duration) error {
	if row == nil {
		return errors.New("the server replicates from nobody")
	}
	for _, thread := range []string{"IO", "SQL"} {
		if state := cmp.Or(row["Slave_"+thread+"_Running"], row["Replica_"+thread+"_Running"]); state != "Yes" {
			return fmt.Errorf("replication: %s_Running is %q, want Yes: %q", thread, probe.Cut(state, 20), row["Last_"+thread+"_Error"])
		}
	}
	if maxLag < 0 {
		return nil
	}
	behind := cmp.Or(row["Seconds_Behind_Master"], row["Seconds_Behind_Source"])
	if n, err := strconv.Atoi(behind); err != nil || time.Duration(n)*time.Second > maxLag {
		return fmt.Errorf("replication is %q seconds behind, want at most %s", probe.Cut(behind, 20), maxLag)
	}
	return nil
}

// expectAnswer compares the first value of a query's answer with expect=.
func expectAnswer(any bool, got, want string) error {
	switch {
	case !any:
		return fmt.Errorf("the query answered no row, want %q", probe.Cut(want, 80))
	case got != want:
		return fmt.Errorf("the query answered %q, want %q", got, probe.Cut(want, 80))
	}
	return nil
}
