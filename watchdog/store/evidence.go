package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// Evidence is what was known of a container just before its restart. Text of
// the container is printable, and secrets of known shapes are left out.
type Evidence struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"`
	Service   string    `json:"service"`
	Container string    `json:"container"`
	// ContainerID is the engine's.
	ContainerID string `json:"container_id"`
	Cause       string `json:"cause,omitempty"`
	// Probes are the engine's last probe results, the oldest first.
	Probes []ProbeResult `json:"probes,omitempty"`
	Logs   string        `json:"logs,omitempty"`
	// Top is the table of processes, its titles first.
	Top        [][]string      `json:"top,omitempty"`
	Stats      json.RawMessage `json:"stats,omitempty"`
	Inspection json.RawMessage `json:"inspection,omitempty"`
}

// ProbeResult is one run of a container's healthcheck.
type ProbeResult struct {
	Start, End time.Time
	ExitCode   int
	Output     string
}

const (
	// mostEvidence bounds one file, in bytes, and mostEvidences all of them.
	mostEvidence  = 256 << 10
	mostEvidences = 64 << 20
)

// ErrNoEvidence is an id under which nothing is kept.
var ErrNoEvidence = errors.New("there is no evidence of this id: it was not taken in time, or the oldest has gone")

// evidenceID is what EvidenceID makes.
var evidenceID = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{9}Z$`).MatchString

// EvidenceID names the evidence of a restart. Later ones sort behind it.
func EvidenceID(at time.Time) string { return at.UTC().Format("20060102T150405.000000000Z") }

// evidenceDir is beside the state file.
func (f File) evidenceDir() string { return strings.TrimSuffix(f.Path, ".json") + ".evidence" }

// WriteEvidence keeps evidence; the oldest goes where there is too much.
func (f File) WriteEvidence(e Evidence) error {
	if f.Path == "" {
		return nil
	}
	f.wait()
	dir := f.evidenceDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%s: %w", dir, reason(err))
	}
	if err := checkOwnDir(dir); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	data, err := encodeEvidence(e)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, e.ID+".json"), data, 0o600); err != nil {
		return fmt.Errorf("%s: %w", dir, reason(err))
	}
	return pruneEvidence(dir, mostEvidences)
}

// encodeEvidence is a file's content, of mostEvidence bytes at most: the log
// loses its beginning, then whole parts are left out.
func encodeEvidence(e Evidence) ([]byte, error) {
	for {
		data, err := json.Marshal(e)
		switch {
		case err != nil || len(data) <= mostEvidence:
			return data, err
		case len(e.Logs) > 1<<10:
			_, e.Logs, _ = strings.Cut(e.Logs[len(e.Logs)/2:], "\n")
		case e.Inspection != nil:
			e.Inspection = nil
		case e.Top != nil:
			e.Top = nil
		case e.Stats != nil:
			e.Stats = nil
		case e.Probes != nil:
			e.Probes = nil
		default:
			return nil, errors.New("the evidence is too large")
		}
	}
}

// pruneEvidence removes the oldest files until the others have most bytes.
func pruneEvidence(dir string, most int64) error {
	all, err := os.ReadDir(dir) // by name, which is by time
	if err != nil {
		return fmt.Errorf("%s: %w", dir, reason(err))
	}
	total := int64(0)
	for _, entry := range slices.Backward(all) {
		id, ok := strings.CutSuffix(entry.Name(), ".json")
		info, err := entry.Info()
		if !ok || !evidenceID(id) || err != nil {
			continue
		}
		if total += info.Size(); total > most {
			if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s: %w", dir, reason(err))
			}
		}
	}
	return nil
}

// LoadEvidence returns what is kept under an id, or ErrNoEvidence.
func (f File) LoadEvidence(id string) (e Evidence, err error) {
	if f.Path == "" || !evidenceID(id) {
		return e, ErrNoEvidence
	}
	dir := f.evidenceDir()
	if err := checkOwnDir(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return e, ErrNoEvidence
		}
		return e, fmt.Errorf("%s: %w", dir, err)
	}
	data, err := readOwn(filepath.Join(dir, id+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return e, ErrNoEvidence
	}
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	return e, err
}

// checkOwnDir refuses a directory into which others could have put something.
func checkOwnDir(dir string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return reason(err)
	}
	if !st.IsDir() {
		return errors.New("is not a directory")
	}
	return checkOwner(st)
}
