package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEvidence(t *testing.T) {
	f := File{Path: filepath.Join(t.TempDir(), "state.json")}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	id := EvidenceID(at)
	if _, err := f.LoadEvidence(id); !errors.Is(err, ErrNoEvidence) {
		t.Errorf("before anything is kept: %v", err)
	}
	if err := f.WriteEvidence(Evidence{ID: id, Time: at, Service: "app", Logs: "one\ntwo\n"}); err != nil {
		t.Fatal(err)
	}
	e, err := f.LoadEvidence(id)
	if err != nil || e.Service != "app" || e.Logs != "one\ntwo\n" || !e.Time.Equal(at) {
		t.Errorf("%+v, %v", e, err)
	}
	st, err := os.Stat(filepath.Join(f.evidenceDir(), id+".json"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	for _, bad := range []string{"", "../state", "20260102T030405.000000006Z/../x", "20260102T030405.000000007Z", strings.Repeat("1", 300)} {
		if _, err := f.LoadEvidence(bad); !errors.Is(err, ErrNoEvidence) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := (File{}).WriteEvidence(Evidence{ID: id}); err != nil {
		t.Error(err)
	}
}

// One file has a bound, whatever a container has written, and keeps the end of
// its log.
func TestEvidenceIsBounded(t *testing.T) {
	e := Evidence{ID: EvidenceID(time.Now()), Logs: strings.Repeat("\x01 a line of the log\n", 1<<16) + "the last\n",
		Inspection: []byte(`"` + strings.Repeat("x", 200<<10) + `"`), Top: [][]string{{strings.Repeat("y", 100<<10)}}}
	data, err := encodeEvidence(e)
	if err != nil || len(data) > mostEvidence || !strings.Contains(string(data), `the last\n`) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	e.Service = strings.Repeat("z", mostEvidence)
	if _, err := encodeEvidence(e); err == nil {
		t.Error("taken")
	}
}

// The oldest goes first; what is not evidence stays.
func TestEvidencePrune(t *testing.T) {
	dir := t.TempDir()
	var ids []string
	for i := range 5 {
		id := EvidenceID(time.Unix(int64(i), 0))
		ids = append(ids, id)
		if err := os.WriteFile(filepath.Join(dir, id+".json"), make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "README"), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pruneEvidence(dir, 250); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 3 || !strings.HasSuffix(left[0], ids[3]+".json") || !strings.HasSuffix(left[1], ids[4]+".json") {
		t.Errorf("%v, %v", left, err)
	}
}

// What others could have put there is not followed and not read.
func TestEvidenceDirOfOthers(t *testing.T) {
	f := File{Path: filepath.Join(t.TempDir(), "state.json")}
	e := Evidence{ID: EvidenceID(time.Now())}
	elsewhere := t.TempDir()
	if err := os.Symlink(elsewhere, f.evidenceDir()); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteEvidence(e); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("%v", err)
	}
	if err := os.Remove(f.evidenceDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.evidenceDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(f.evidenceDir(), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteEvidence(e); err == nil || !strings.Contains(err.Error(), "lets others write") {
		t.Errorf("%v", err)
	}
	if _, err := f.LoadEvidence(e.ID); err == nil || errors.Is(err, ErrNoEvidence) {
		t.Errorf("%v", err)
	}
}
