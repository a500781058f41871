package main

import (
	"slices"
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	environ := []string{"PORT=8081", "EMPTY=", "PW=a/b@c:d %", "HOST_2=db"}
	for arg, want := range map[string]string{
		"http://localhost:{PORT}/x":               "http://localhost:8081/x",
		"http://localhost:{PORT:-1}":              "http://localhost:8081",
		"http://localhost:{NONE:-8080}/":          "http://localhost:8080/",
		"http://localhost:{EMPTY:-8080}/":         "http://localhost:8080/",
		"--api=http://{HOST_2}:{PORT}/{NONE:-}":   "--api=http://db:8081/",
		"postgres://app:{PW}@{HOST_2}/app":        "postgres://app:a%2Fb@c:d%20%25@db/app",
		"postgres://app@db/app?password={PORT}@x": "postgres://app@db/app?password=8081@x",
		"{{PORT}}":              "{{PORT}}",
		"{{ .PORT }}":           "{{ .PORT }}",
		"{port}":                "{port}",
		"{1}":                   "{1}",
		"a{2,3}":                "a{2,3}",
		`\x{FF}\p{L}\{PORT}`:    `\x{FF}\p{L}\{PORT}`,
		`{"A":1}`:               `{"A":1}`,
		"{PORT":                 "{PORT",
		"${PORT}":               "${PORT}", // which is refused as a target
		"http://x#body=^{PORT}": "http://x#body=^8081",
	} {
		if got, err := fillOne(arg, environ); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", arg, got, err, want)
		}
	}
	given := []string{"--api", "/x", "--", "{PORT}"}
	if got, err := fill(given, environ); err != nil || !slices.Equal(got, given) {
		t.Errorf("behind --: %q, %v", got, err)
	}
	for _, args := range [][]string{{"--api", "http://x:{EMPTY}"}, {"--api=http://x:{NONE}"}} {
		if _, err := fill(args, environ); err == nil || !strings.HasPrefix(err.Error(), "--api: {") {
			t.Errorf("%q: %v", args, err)
		}
	}
	// The arguments of others are not written to.
	args := []string{"--api", "http://x:{PORT}"}
	if got, err := fill(args, environ); err != nil || got[1] != "http://x:8081" || args[1] != "http://x:{PORT}" {
		t.Errorf("%q from %q, %v", got, args, err)
	}
}
