package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// helpText is made from the flags themselves, so that it cannot be wrong. It
// fits 80 columns and what Docker keeps of a probe's output.
func helpText() string {
	fs, _ := newFlags()
	var b strings.Builder
	b.WriteString(`Usage: healthcheck [flags]
       healthcheck gpu [fit MODEL=SIZE …]   see healthcheck gpu --help
       healthcheck wait [-- COMMAND …]      see healthcheck wait --help
       healthcheck install FILE             copy this program there

Checks resources, API, database and vector store, and exits 0 (healthy or
degraded) or 1. With no flag: CPU 90, memory 90, disk 95, then /health,
/db/health and /vector/health on http://localhost:5000.

A TARGET is a path or a URL:
`)
	line := " "
	for _, n := range schemeNames() {
		if len(line)+len(n)+1 > 78 {
			b.WriteString(line + "\n")
			line = " "
		}
		line += " " + n
	}
	b.WriteString(line + "\n\nFlags:\n")
	fs.VisitAll(func(f *pflag.Flag) {
		if !strings.HasPrefix(f.Name, warnPrefix) {
			b.WriteString(flagLine(f) + "\n")
		} else if f.Name == warnPrefix+"cpu-max" { // there is no room for a line of each
			b.WriteString("  --warn-cpu-max …         each limit above has one: degraded beyond\n")
		}
	})
	b.WriteString(`
Every flag but --version and --help has a variable (HEALTHCHECK_CPU_MAX for
--cpu-max), and HEALTHCHECK_CPU_MAX_FILE names a file with the value.
Passwords belong there: the engine records a probe's arguments.
`)
	return b.String()
}

func flagLine(f *pflag.Flag) string {
	left := "  --" + f.Name
	if f.Value.Type() != "bool" {
		left += " " + strings.ToUpper(f.Value.Type())
	}
	right := f.Usage
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "off" && f.Value.Type() != "bool" {
		right += " (" + strings.TrimPrefix(f.DefValue, "http://") + ")"
	}
	return fmt.Sprintf("%-26s %s", left, right)
}
