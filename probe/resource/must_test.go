package resource

import (
	"encoding/json"
	"testing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// loadState and saveState are the halves of a Sampler's work on its file.
func loadState(dir, name string) (state, error) {
	text, err := readState(dir, name)
	if err != nil {
		return state{}, err
	}
	return parseState(text)
}

func saveState(dir, name string, s state) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeState(dir, name, text)
}
