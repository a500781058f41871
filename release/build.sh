#!/usr/bin/env bash
# Builds a release: both programs for both architectures, what they are made
# of (CycloneDX), packages for Debian and for RPM, checksums, and the image's
# Dockerfile beside them.
#
#   release/build.sh VERSION [DIR]      DIR is dist if not given
#
# The same commit, version and Go give the same bytes, wherever it stands.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: release/build.sh VERSION [DIR]" >&2; exit 1; }
version=$1 out=${2:-dist}
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || { echo "error: $version: want a version such as v1.2.3" >&2; exit 1; }
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.."
[ -z "$(ls -A "$out")" ] || { echo "error: $out is not empty" >&2; exit 1; }

# Nothing of the builder's own settings gets in.
export CGO_ENABLED=0 GOOS=linux GOFLAGS= GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= GODEBUG= SOURCE_DATE_EPOCH=0
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
GOOS='' GOARCH='' go -C release build -trimpath -o "$tools/" github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod ./package

for arch in amd64 arm64; do
	for program in healthcheck watchdog; do
		file="$program-linux-$arch"
		# The version is said by the flag, so that a checkout without its
		# history, as in an image's build, gives the same file.
		GOARCH=$arch go build -trimpath -buildvcs=false -ldflags="-s -w -X main.version=$version" -o "$out/$file" "./cmd/$program"
		"$tools/cyclonedx-gomod" bin -json -std -noserial -notimestamp -version "$version" -output "$out/$file.cdx.json" "$out/$file" 2>"$tools/log" ||
			{ cat "$tools/log" >&2; exit 1; }
	done
done
"$tools/package" "$version" "$out"
# The image of these files: the last stage of ../Dockerfile.
mkdir "$out/state"
{
	echo 'FROM scratch'
	echo 'ARG TARGETARCH'
	sed '1,/^FROM scratch$/d; s/--from=build //; s|/out/healthcheck /out/watchdog /|healthcheck-linux-${TARGETARCH} /healthcheck\nCOPY watchdog-linux-${TARGETARCH} /watchdog|; s|/out/state|state|' Dockerfile
} >"$out/Dockerfile"
cd "$out"
sha256sum -- *-linux-* *.deb *.rpm >SHA256SUMS
