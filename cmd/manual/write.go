package manual

import (
	"fmt"
	"os"
	"path/filepath"
)

// Update writes the program's files into a directory where update is set, and
// else compares them with those there. Its error names the first that is not
// current.
func (p Program) Update(dir string, update bool) error {
	for name, text := range map[string]string{
		"completions/" + p.Name + ".bash": p.Bash(), "completions/_" + p.Name: p.Zsh(), "completions/" + p.Name + ".fish": p.Fish(), "man/" + p.Name + ".1": p.Man(),
	} {
		path := filepath.Join(dir, name)
		old, err := os.ReadFile(path)
		switch {
		case err == nil && string(old) == text:
		case update:
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is not what the flags say; UPDATE_DOCS=1 go test ./cmd/%s -run TestManual writes it anew", path, p.Name)
		}
	}
	return nil
}
