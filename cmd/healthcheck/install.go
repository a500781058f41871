package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const installHelp = `Usage: healthcheck install FILE

Copies this program to FILE, for an init container that brings it to a volume:
an image FROM scratch has no cp.
`

// runInstall is "healthcheck install FILE".
func runInstall(args []string, stdout, stderr io.Writer) int {
	const hint = "healthcheck install /probe/healthcheck"
	switch {
	case len(args) == 1 && (args[0] == "--help" || args[0] == "-h"):
		io.WriteString(stdout, installHelp)
		return 0
	case len(args) != 1 || strings.HasPrefix(args[0], "-"):
		return fail(stderr, usagef(hint, "install wants the file to write"))
	}
	if err := install(args[0]); err != nil {
		return fail(stderr, usagef(hint, "install: %s", err))
	}
	return 0
}

// install copies the running program to path, whole or not at all: a probe may
// run from there already.
func install(path string) error {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return fmt.Errorf("%s is a directory", path)
	}
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.CreateTemp(filepath.Dir(path), ".healthcheck-*")
	if err != nil {
		return err
	}
	defer os.Remove(to.Name()) // renamed by then, unless something failed
	_, err = io.Copy(to, from)
	if err == nil {
		err = to.Chmod(0o755)
	}
	if cerr := to.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(to.Name(), path)
	}
	return err
}
