package watchdog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

// Store keeps what must survive a restart of this program in one file, which
// is replaced as a whole and synced before a restart is asked for.
type Store struct {
	// Path of the file; empty keeps nothing.
	Path string
}

// Memory is the file's content.
type Memory struct {
	Version  int                 `json:"version"`
	Saved    time.Time           `json:"saved"`
	Services map[string]*Service `json:"services"`
	Restarts []time.Time         `json:"restarts"`
	History  []Decision          `json:"history"`
}

const storeVersion = 1

// maxStore bounds the file, in bytes: 10,000 services and room to spare.
const maxStore = 64 << 20

// Load returns what an earlier run saved. A file that does not exist is an
// empty memory. One that cannot be understood is set aside, under its name
// with the time behind it, and the error says so: the memory is empty then.
func (s Store) Load(now time.Time) (Memory, error) {
	empty := Memory{Services: map[string]*Service{}}
	if s.Path == "" {
		return empty, nil
	}
	st, err := os.Stat(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err == nil && (!st.Mode().IsRegular() || st.Size() > maxStore) {
		err = errors.New("not a regular file of a sane size")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(s.Path)
	}
	if err != nil {
		return empty, fmt.Errorf("state file: %w", err)
	}
	var v Memory
	err = json.Unmarshal(data, &v)
	if err == nil && v.Version != storeVersion {
		err = fmt.Errorf("version %d, want %d", v.Version, storeVersion)
	}
	if err != nil {
		aside := fmt.Sprintf("%s.%s", s.Path, now.UTC().Format("20060102T150405"))
		if rerr := os.Rename(s.Path, aside); rerr != nil {
			return empty, fmt.Errorf("state file %s: %w; it could not be set aside: %w", s.Path, err, rerr)
		}
		return empty, fmt.Errorf("state file %s: %w; it is set aside as %s", s.Path, err, aside)
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

// Save replaces the file. Services at rest are not worth remembering.
func (s Store) Save(m *Machine, history []Decision, now time.Time) error {
	if s.Path == "" {
		return nil
	}
	v := Memory{storeVersion, now, map[string]*Service{}, m.Restarts, history}
	for key, svc := range m.Services {
		if svc.memorable() {
			v.Services[key] = svc
		}
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err = os.MkdirAll(filepath.Dir(s.Path), 0o700); err == nil {
		err = renameio.WriteFile(s.Path, data, 0o600)
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err // without the temporary file's name, which differs each time
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	return nil
}

// memorable says whether a service differs from one that was never seen.
func (s *Service) memorable() bool {
	return s.Phase != Idle || s.Attempts > 0 || s.Stopped || s.Died
}
