package main

import (
	"path/filepath"
	"testing"
)

// Each fault can still be planted: what it changes is in its file, once.
func TestMutantsFit(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		if _, err := m.plant(root, t.TempDir()); err != nil {
			t.Errorf("%s: %v", m.what, err)
		}
	}
	if len(mutants) < 20 {
		t.Errorf("%d faults, want 20", len(mutants))
	}
}
