package protocol

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// postgresFiles are libpq's parameters that name files for TLS.
var postgresFiles = []string{"sslrootcert", "sslcert", "sslkey"}

// readFiles reads the files that the session is about to need: one that is no
// file, or too large, is said so by its name.
func (p *postgresCheck) readFiles() error {
	for _, name := range postgresFiles {
		path := cmp.Or(p.settings[name], os.Getenv("PG"+strings.ToUpper(name)))
		if path == "" || path == "system" {
			continue
		}
		if _, err := target.ReadBounded(path, 1<<20); err != nil {
			return p.target.Errorf(probe.StageTLS, "%s %q: %s", name, path, err)
		}
	}
	if cmp.Or(p.settings["service"], os.Getenv("PGSERVICE")) != "" {
		path := cmp.Or(p.settings["servicefile"], os.Getenv("PGSERVICEFILE"))
		if path != "" {
			if _, err := target.ReadBounded(path, 1<<20); err != nil {
				return p.target.Errorf(probe.StageRequest, "service file %q: %s", path, err)
			}
		}
	}
	path := cmp.Or(p.settings["passfile"], os.Getenv("PGPASSFILE"))
	given := path != ""
	if home := os.Getenv("HOME"); !given && home != "" {
		path = filepath.Join(home, ".pgpass")
	}
	if path == "" || p.settings["password"] != "" {
		return nil
	}
	_, err := target.ReadBounded(path, 1<<20)
	// One that nobody named may be missing, or in another user's home.
	_, isErrno := errors.AsType[syscall.Errno](err)
	if err == nil || errors.Is(err, syscall.ENOENT) || !given && isErrno {
		return nil
	}
	return p.target.Errorf(probe.StageAuth, "passfile %q: %s", path, err)
}

// postgresPaths are those that libpq's variables and defaults name.
func postgresPaths(t target.Target) []string {
	var all []string
	for _, name := range []string{"PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGPASSFILE", "PGSERVICEFILE"} {
		all = append(all, os.Getenv(name))
	}
	if host := os.Getenv("PGHOST"); strings.HasPrefix(host, "/") {
		all = append(all, host)
	}
	for _, name := range []string{"sslrootcert", "sslcert", "sslkey", "passfile", "servicefile"} {
		all = append(all, t.URL.Query().Get(name)) // relative ones, too
	}
	if home := os.Getenv("HOME"); home != "" {
		all = append(all, filepath.Join(home, ".pgpass"), filepath.Join(home, ".pg_service.conf"), filepath.Join(home, ".postgresql"))
	}
	if t.URL.Host == "" {
		all = append(all, "/var/run/postgresql", "/tmp") // where the socket is looked for
	}
	return all
}
