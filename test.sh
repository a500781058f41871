#!/usr/bin/env bash
# Tests this project; exits 1 when a part fails, its name in the last line.
#
#   ./test.sh         everything. It installs what is missing (root on Debian)
#                     and needs Docker and /dev/fuse.
#   ./test.sh quick   formatting, vet, staticcheck and unit tests. It needs Go:
#                     no root, no Docker, no network once the modules are there.
#   ./test.sh kubelet the example's pod under a real kubelet, which takes some
#                     minutes to build once; it needs root and Docker. With
#                     CONTROL_PLANE=1 in a whole cluster of one node, too.
set -euo pipefail
cd "$(dirname "$0")"

mode=${1:-full}
if [ $# -gt 1 ] || [[ "$mode" != @(full|quick|kubelet) ]]; then
	echo "usage: ./test.sh [quick|kubelet]" >&2
	exit 1
fi

# NVML's header marks half of itself as deprecated.
export CGO_CFLAGS="${CGO_CFLAGS:--g -O2} -Wno-deprecated-declarations"
export DEBIAN_FRONTEND=noninteractive

work=$(mktemp -d)
part=start
servers='' # process id of the build in the background

finish() {
	code=$?
	trap - EXIT
	[ -z "$servers" ] || kill -- "-$servers" 2>/dev/null || true
	if [ "$code" != 0 ]; then
		[ ! -s "$work/log" ] || cat "$work/log"
		echo "FAILED: $part"
		code=1
	fi
	rm -rf "$work"
	exit "$code"
}
trap finish EXIT

# quietly PART COMMAND…: prints the part and its seconds; what the command
# prints is shown if it fails.
quietly() {
	part=$1
	shift
	printf '%-13s' "$part"
	local begin=$SECONDS
	"$@" >"$work/log" 2>&1 || { echo; return 1; }
	printf '%5d s\n' $((SECONDS - begin))
}

# loudly is quietly for go test, whose lines are shown as they come.
loudly() {
	part=$1
	shift
	: >"$work/log"
	local begin=$SECONDS
	"$@"
	printf '%-13s%5d s\n' "$part" $((SECONDS - begin))
}

# has_cc: Go finds a C compiler, which the race detector and NVML need.
has_cc() {
	[ "$(go env CGO_ENABLED)" = 1 ]
}

format() {
	local files
	files=$(gofmt -l .)
	[ -z "$files" ] || { echo "gofmt would change:"; echo "$files"; return 1; }
}

# The modules that are vetted; tag root holds the unit tests that need root.
modules=(. e2e examples/kubernetes release)

vet() {
	for module in "${modules[@]}"; do
		go -C "$module" vet -tags root,kubelet ./... || return
	done
	# The static programs, whose files differ from those with cgo.
	CGO_ENABLED=0 go vet ./gpu ./cmd/healthcheck
}

lint() {
	local staticcheck
	staticcheck=$(go -C e2e tool -n staticcheck) || return
	for module in "${modules[@]}"; do
		(cd "$module" && "$staticcheck" -tags root,kubelet -checks all ./...) || return
	done
}

# unit FLAGS…: the tests that need no engine and no server.
unit() {
	go test "$@" ./... && go -C examples/kubernetes test "$@" ./...
}

if [ "$mode" = quick ]; then
	flags=(-race)
	echo "quick: format, vet, staticcheck, unit tests: under 2 minutes on 2 cores once everything has been compiled"
	if ! has_cc; then
		flags=()
		echo "no C compiler: the unit tests run without -race, and those of NVML do not run"
	fi
	quietly format format
	quietly vet vet
	quietly staticcheck lint
	loudly 'unit tests' unit "${flags[@]}"
	exit
fi

# have COMMAND: it is there; Debian keeps PostgreSQL's server off the PATH.
have() {
	command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

# need COMMAND PACKAGE: the command is there, or is installed, or is missed.
missing=()
need() {
	have "$1" && return
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get install -y -q "$2" || { apt-get update -q && apt-get install -y -q "$2"; } || true
	fi
	have "$1" || missing+=("$1 (Debian package $2)")
}

# The kubelet's version, and that of the modules beside it.
kubernetes=v1.37.2

# build_kubernetes COMMAND…: those of k8s.io/kubernetes/cmd.
build_kubernetes() {
	go -C testservers/kubelet build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes" -o "$work/" "${@/#/k8s.io/kubernetes/cmd/}"
}

if [ "$mode" = kubelet ]; then
	run=TestKubelet
	quietly kubelet build_kubernetes kubelet
	if [ -n "${CONTROL_PLANE:-}" ]; then
		run='TestKubelet|TestCluster'
		need etcd etcd-server >/dev/null
		quietly control-plane build_kubernetes kube-apiserver kube-controller-manager kube-scheduler
	fi
	part='test kubelet'
	: >"$work/log"
	cd examples/kubernetes
	KUBELET=$work/kubelet CLUSTER=$work go test -count=1 -timeout 20m -tags kubelet -run "$run" -v .
	exit
fi

cat <<'PLAN'
Everything, with about the seconds that each part takes on 2 cores: compiled before, and on a fresh machine.
  format          1     1   gofmt
  tools           1   150   what the tests need, from Debian's packages
  vet             5   210   go vet, in every module
  staticcheck     5    70   staticcheck -checks all
  cross           1    40   both programs for arm64
  unit tests     95   250   with -race; those that need root too
  test servers    1   420   Weaviate and FerretDB, built in the background from here on
  e2e           650   770   on the Docker engine, with real servers, and the release
PLAN

# What the tests need of other people's programs is kept from run to run.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/healthcheck-testservers"

# guest_kernel unpacks Debian's kernel for virtual machines, which has control
# groups of version 2 alone. To install it would change this machine's boot.
guest_kernel() {
	[ ! -d "$cache/kernel" ] || return 0
	local package
	package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p') &&
		mkdir -p "$cache" "$work/kernel" && chmod 777 "$work/kernel" &&
		(cd "$work/kernel" && apt-get download -q "$package" && dpkg -x ./*.deb tree) &&
		mv "$work/kernel/tree" "$cache/kernel"
}

tools() {
	need gcc gcc # for the race detector and NVML
	need pgrep procps
	need ip iproute2
	need docker docker.io
	need ctr containerd
	need docker-compose docker-compose
	need podman podman
	need promtool prometheus
	need prometheus prometheus
	need chromium chromium
	need systemd-analyze systemd
	need strace strace
	need rpm rpm
	need fish fish
	need zsh zsh
	need man man-db
	need mandoc mandoc
	need col bsdextrautils
	need busybox busybox-static # for an image with a shell
	need mariadbd mariadb-server
	need redis-server redis-server
	need memcached memcached
	need psql postgresql-client
	need postgres postgresql
	need php-fpm8.2 php8.2-fpm
	need nats-server nats-server
	need mosquitto mosquitto
	need rabbitmq-server rabbitmq-server
	need etcd etcd-server
	need qemu-system-x86_64 qemu-system-x86
	guest_kernel || { apt-get update -q && guest_kernel; } || missing+=("Debian's linux-image-cloud-amd64, from apt-get download")
	docker info >/dev/null 2>&1 || missing+=("a running Docker engine that this user may use")
	[ "$(id -u)" = 0 ] && [ -w /dev/fuse ] || missing+=("root and /dev/fuse, for the file system that hangs")
	[ ${#missing[@]} -eq 0 ] || { printf 'missing: %s\n' "${missing[@]}"; return 1; }
}

# build_servers compiles the servers that are not packaged, for their module's
# versions. Vet and build take the same flags: their dependencies are compiled
# once.
build_servers() {
	local stamp
	stamp=$(cat testservers/go.sum testservers/*/*.go | sha256sum)
	[ "$(cat "$cache/stamp" 2>/dev/null)" != "$stamp" ] || return 0
	mkdir -p "$cache" &&
		go -C testservers vet ./... &&
		go -C testservers build -o "$cache/" ./ferretdb github.com/weaviate/weaviate/cmd/weaviate-server &&
		echo "$stamp" >"$cache/stamp"
}

wait_for_servers() {
	local code=0
	wait "$servers" || code=$?
	servers=''
	cat "$work/servers"
	return "$code"
}

cross() {
	CGO_ENABLED=0 GOARCH=arm64 go build -o /dev/null ./cmd/healthcheck &&
		CGO_ENABLED=0 GOARCH=arm64 go build -o /dev/null ./cmd/watchdog
}

quietly format format
quietly tools tools
export CGO_ENABLED=1 # without a C compiler the tests fail
set -m # a process group of its own, to end it as one
nice -n 19 bash -c "set -euo pipefail; $(declare -p cache; declare -f build_servers); build_servers" >"$work/servers" 2>&1 &
servers=$!
set +m
quietly vet vet
quietly staticcheck lint
quietly cross cross
loudly 'unit tests' unit -race -tags root
quietly 'test servers' wait_for_servers
part=e2e
: >"$work/log"
cd e2e
# The containers of these tests wait more than they work.
go test -count=1 -timeout 25m -parallel 5 ./...
