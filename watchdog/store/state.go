package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
)

// File is where the state is kept: it is replaced as a whole and synced before
// the engine is asked for a restart. The history lies beside it.
type File struct {
	// Path of the state file; empty keeps nothing.
	Path string
	// Hang, if set, is called before each write: the simulation's disk hangs
	// in it.
	Hang func()
}

// wait is for a disk that hangs.
func (f File) wait() {
	if f.Hang != nil {
		f.Hang()
	}
}

// State is the file's content.
type State struct {
	Version int       `json:"version"`
	Saved   time.Time `json:"saved"`
	// Since is when the engine's last event came, by its clock: the next run
	// asks for those behind it.
	Since    time.Time                    `json:"since,omitzero"`
	Services map[string]*recovery.Service `json:"services"`
	Restarts []time.Time                  `json:"restarts,omitempty"`
	Snoozes  map[string]recovery.Snooze   `json:"snoozes,omitempty"`
	Alerts   alert.State                  `json:"alerts"`
}

const version = 2

// maxSize bounds the files, in bytes: several times what 10,000 services need.
const maxSize = 64 << 20

// Load returns what an earlier run saved. A file that does not exist is an
// empty state. One that cannot be understood is set aside, under its name with
// the time appended, and the error says so: the state is empty then. So it is
// where the file is not this user's own.
func (f File) Load(now time.Time) (State, error) {
	empty := State{Version: version, Services: map[string]*recovery.Service{}}
	if f.Path == "" {
		return empty, nil
	}
	data, err := readOwn(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, fmt.Errorf("state file %s: %w", f.Path, err)
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

// readOwn reads a regular file that belongs to this user and that nobody else
// may write. It follows no link, and waits for no FIFO.
func readOwn(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, errors.New("is a symbolic link")
	}
	if err != nil {
		return nil, reason(err)
	}
	defer file.Close()
	if err := checkOwn(file); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = fmt.Errorf("is larger than %d bytes", maxSize)
	}
	return data, err
}

// checkOwn refuses what others could have written.
func checkOwn(file *os.File) error {
	st, err := file.Stat()
	if err != nil {
		return reason(err)
	}
	if !st.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	return checkOwner(st)
}

// checkOwner refuses what another user owns or may write.
func checkOwner(st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !ok || int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("belongs to another user than %d", os.Geteuid())
	case st.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("its mode %#o lets others write it", st.Mode().Perm())
	}
	return nil
}

// Encode is the file's content for a state.
func Encode(v State) ([]byte, error) {
	v.Version = version
	return json.Marshal(v)
}

// Write replaces the file.
func (f File) Write(data []byte) error {
	if f.Path == "" {
		return nil
	}
	f.wait()
	err := os.MkdirAll(filepath.Dir(f.Path), 0o700)
	if err == nil {
		err = renameio.WriteFile(f.Path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, reason(err))
	}
	return nil
}

// reason is an error without the path, which is a temporary file's and
// different each time.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// ErrLocked is a state file that another watchdog uses.
var ErrLocked = errors.New("another watchdog uses it")

// Lock makes this process the only one that uses the file, until release is
// called or the process ends.
func (f File) Lock() (release func(), err error) {
	if f.Path == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return nil, reason(err)
	}
	lock, err := os.OpenFile(f.Path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, reason(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// historyPath is the history's, beside the state file.
func (f File) historyPath() string {
	if f.Path == "" {
		return ""
	}
	return strings.TrimSuffix(f.Path, ".json") + ".history.jsonl"
}
