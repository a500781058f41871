package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"healthcheck/watchdog/recovery"
)

// File is the state file, which is replaced as a whole and synced before the
// engine is asked for a restart.
type File struct {
	// Path of the file; empty keeps nothing.
	Path string
}

// State is the file's content.
type State struct {
	Version  int                          `json:"version"`
	Saved    time.Time                    `json:"saved"`
	Services map[string]*recovery.Service `json:"services"`
	Restarts []time.Time                  `json:"restarts"`
	History  History                      `json:"history"`
}

const version = 1

// maxSize bounds the file, in bytes: several times what 10,000 services need.
const maxSize = 64 << 20

// Load returns what an earlier run saved. A file that does not exist is an
// empty state. One that cannot be understood is set aside, under its name with
// the time appended, and the error says so: the state is empty then.
func (f File) Load(now time.Time) (State, error) {
	empty := State{Services: map[string]*recovery.Service{}}
	if f.Path == "" {
		return empty, nil
	}
	st, err := os.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err == nil && (!st.Mode().IsRegular() || st.Size() > maxSize) {
		err = errors.New("not a regular file of a sane size")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(f.Path)
	}
	if err != nil {
		return empty, fmt.Errorf("state file: %w", err)
	}
	var v State
	err = json.Unmarshal(data, &v)
	if err == nil && v.Version != version {
		err = fmt.Errorf("version %d, want %d", v.Version, version)
	}
	if err != nil {
		aside := fmt.Sprintf("%s.%s", f.Path, now.UTC().Format("20060102T150405"))
		if rerr := os.Rename(f.Path, aside); rerr != nil {
			return empty, fmt.Errorf("state file %s: %w; it could not be set aside: %w", f.Path, err, rerr)
		}
		return empty, fmt.Errorf("state file %s: %w; it is set aside as %s", f.Path, err, aside)
	}
	if v.Services == nil {
		v.Services = empty.Services
	}
	for key, svc := range v.Services {
		if svc == nil {
			delete(v.Services, key)
		}
	}
	return v, nil
}

// Save replaces the file. It leaves out the services that nothing is known of
// but their names.
func (f File) Save(m *recovery.Machine, history History, now time.Time) error {
	if f.Path == "" {
		return nil
	}
	v := State{version, now, map[string]*recovery.Service{}, m.Restarts, history}
	for key, svc := range m.Services {
		if svc.Persistent() {
			v.Services[key] = svc
		}
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err = os.MkdirAll(filepath.Dir(f.Path), 0o700); err == nil {
		err = renameio.WriteFile(f.Path, data, 0o600)
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err // without the temporary file's name, which differs each time
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return nil
}
