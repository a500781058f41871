package main

import (
	"io"
	"slices"
	"strings"
)

// jsonErrors is standard error of a run that writes JSON: what is said about
// bad input goes where the report would have gone, in the report's form.
type jsonErrors struct {
	io.Writer
	stdout io.Writer
}

// wantsJSON says whether --output json was given, by looks: what is wrong with
// the arguments may be that they cannot be parsed.
func wantsJSON(args, environ []string) bool {
	output, given := "", false
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if value, ok := strings.CutPrefix(arg, "--output="); ok {
			output, given = value, true
		} else if arg == "--output" && i+1 < len(args) {
			output, given = args[i+1], true
		}
	}
	// These commands read no variables.
	if !given && (len(args) == 0 || args[0] != "gpu" && args[0] != "install") {
		return slices.Contains(environ, "HEALTHCHECK_OUTPUT=json")
	}
	return output == "json"
}
