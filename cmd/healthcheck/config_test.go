package main

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A run that declares the flags that it names alone is the run that declares
// all.
func TestNamedFlagsAreEnough(t *testing.T) {
	read := func(path string, _ time.Duration) (string, error) {
		if path == "/secret" {
			return "redis://:hunter2@cache", nil
		}
		return "", errors.New("no such file")
	}
	for _, c := range []struct{ args, environ string }{
		{"", ""},
		{"--version", ""},
		{"-h", ""},
		{"--layers api --api http://127.0.0.1/health", ""},
		{"--layers=api --api=/x --header=A:b --expect-json a=b --max-redirects=3 --proxy --insecure=false", ""},
		{"--cpu-max off --warn-disk-max 80 --disk-path / --disk-path /tmp --pids-max 50 --host", ""},
		{"--gpu-count 2 --gpu-min-free 1GiB --gpu-optional", "HEALTHCHECK_GPU_MAX_TEMP=80"},
		{"--timeout 3s", "HEALTHCHECK_CHECK_TIMEOUT=2s HEALTHCHECK_DB_FILE=/secret HEALTHCHECK_OPTIONAL=db"},
		{"--api --version", ""},
		{"", "HEALTHCHECK_BODY_FILE=/none HEALTHCHECK_VECTOR=/v OTHER=1"},
		{"", "HEALTHCHECK_URL=http://x HEALTHCHECK_QUIET=true"},
		{"--output json --quiet", "HEALTHCHECK_API_HEADER=x"},
		{"--expect-status 2xx", "HEALTHCHECK_STATE_DIR=none HEALTHCHECK_INTERVAL=10s HEALTHCHECK_TIMEOUT=9s"},
	} {
		args, environ := strings.Fields(c.args), strings.Fields(c.environ)
		got, err := parseConfig(args, environ, read)
		fs, r := newFlags()
		want, wantErr := r.parse(fs, args, environ, read)
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Errorf("%q, %q: %v, want %v", c.args, c.environ, err, wantErr)
			continue
		}
		if err != nil {
			continue
		}
		got.source, want.source = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q, %q:\n%+v\nwant\n%+v", c.args, c.environ, got, want)
		}
		names := namedFlags(args, environ)
		if len(names) > 2*(len(args)+len(environ)) {
			t.Errorf("%q, %q name %q", c.args, c.environ, names)
		}
	}
}
