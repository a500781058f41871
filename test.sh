#!/usr/bin/env bash
# Runs every check of this project on a fresh machine: formatting, vet,
# staticcheck, the tests of every module. It installs what they need where it
# may (root on Debian) and says what is missing where it may not.
set -euo pipefail
cd "$(dirname "$0")"
root=$PWD

# have COMMAND: it is there; Debian keeps PostgreSQL's server off the PATH.
have() {
	command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

export DEBIAN_FRONTEND=noninteractive
# need COMMAND PACKAGE: the command is there, or is installed, or is missed.
missing=()
need() {
	have "$1" && return
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get install -y -q "$2" >&2 || { apt-get update -q >&2 && apt-get install -y -q "$2" >&2; }
	fi
	have "$1" || missing+=("$1 (Debian package $2)")
}
need gcc gcc # for the race detector
need pgrep procps
need ip iproute2
need docker docker.io
need ctr containerd
need docker-compose docker-compose
need podman podman
need promtool prometheus
need busybox busybox-static # for an image with a shell
need mariadbd mariadb-server
need redis-server redis-server
need psql postgresql-client
need postgres postgresql
docker info >/dev/null 2>&1 || missing+=("a running Docker engine that this user may use")
[ "$(id -u)" = 0 ] && [ -w /dev/fuse ] || missing+=("root and /dev/fuse, for the file system that hangs")
if [ ${#missing[@]} -gt 0 ]; then
	printf 'error: missing: %s\n' "${missing[@]}" >&2
	exit 1
fi

# NVML's header marks half of itself as deprecated.
export CGO_CFLAGS="${CGO_CFLAGS:--g -O2} -Wno-deprecated-declarations"

unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "error: gofmt would change: $unformatted" >&2; exit 1; }
go -C e2e build -o "$root/.staticcheck" honnef.co/go/tools/cmd/staticcheck
trap 'rm -f "$root/.staticcheck"' EXIT
for module in . e2e examples/kubernetes; do
	(cd "$module" && go vet ./... && "$root/.staticcheck" -checks all ./...)
done

# Servers that are not packaged are built once, for their module's versions.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/healthcheck-testservers"
stamp="$(cat testservers/go.sum testservers/*/*.go | sha256sum)"
if [ "$(cat "$cache/stamp" 2>/dev/null)" != "$stamp" ]; then
	mkdir -p "$cache"
	(cd testservers && go vet ./... && go build -trimpath -o "$cache/" ./ferretdb github.com/weaviate/weaviate/cmd/weaviate-server)
	echo "$stamp" >"$cache/stamp"
fi

CGO_ENABLED=0 go vet ./gpu ./cmd/healthcheck
# The other architecture is built, not run.
CGO_ENABLED=0 GOARCH=arm64 go build -o /dev/null ./cmd/healthcheck
CGO_ENABLED=0 GOARCH=arm64 go build -o /dev/null ./cmd/watchdog

go test -race ./...
(cd examples/kubernetes && go test -race ./...)
cd e2e
# The containers of these tests wait more than they work.
go test -count=1 -timeout 14m -parallel 8 ./...
