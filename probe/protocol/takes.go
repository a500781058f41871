package protocol

import (
	"strings"

	"healthcheck/probe/target"
)

// Takes says whether the check of a target knows what a flag of HTTPOptions
// asks for.
func Takes(t target.Target, flag string) bool {
	switch t.URL.Scheme {
	case "http", "https":
		return true
	case "unix":
		return strings.Contains(t.URL.EscapedPath(), ":") // else it only connects
	case "fastcgi":
		return flag != "max-redirects"
	case "grpc", "grpcs":
		return flag == "header"
	}
	return false
}
