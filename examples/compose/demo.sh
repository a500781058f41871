#!/bin/sh
# Brings the system up, breaks the vector store, and shows the recovery. It
# needs Docker with Compose, and nothing else; --keep leaves the system up.
set -eu
cd "$(dirname "$0")"
compose="docker compose"
$compose version >/dev/null 2>&1 || compose=docker-compose
DOCKER_GID=$(stat -c %g /var/run/docker.sock 2>/dev/null || echo 0)
export DOCKER_GID

say() { printf '\n# %s\n' "$*"; }

# until_true SECONDS WHAT COMMAND…: try the command twice a second.
until_true() {
	left=$(($1 * 2)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		left=$((left - 1))
		if [ "$left" -le 0 ]; then
			echo "error: $what: not in time" >&2
			$compose logs --no-color >&2
			exit 1
		fi
		sleep 0.5
	done
}

container() { $compose ps -q "$1"; }
health() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$(container "$1")")" = "$2" ]; }
logged() { $compose logs --no-color watchdog | grep -q "$1"; }
failing() { ! output=$(probe); }
started() { docker inspect -f '{{.State.StartedAt}}' "$(container "$1")"; }
probe() {
	$compose exec -T pdf-chat-api /healthcheck --vector qdrant=qdrant://qdrant:6333 --vector ollama=ollama://ollama:11434 --optional ollama
}

[ "${1:-}" = --keep ] || trap '$compose down --volumes --timeout 2 >/dev/null 2>&1' EXIT

say "Bring it up: an application, a vector store, a model server, the watchdog."
$compose up -d --build
for service in pdf-chat-api qdrant ollama watchdog; do
	until_true 120 "$service is healthy" health "$service" healthy
done
probe
before=$(started pdf-chat-api)

say "Break the vector store. The application is unhealthy with it:"
$compose kill -s SIGUSR1 qdrant
until_true 60 "the probe fails" failing
echo "$output"
until_true 60 "the application is held" logged 'event=held'

say "What the watchdog did: it restarted the culprit, and not the victim."
until_true 60 "the vector store has recovered" logged 'recovered in'
until_true 60 "the application is healthy" health pdf-chat-api healthy
$compose exec -T watchdog /watchdog history

say "And all is well again:"
probe
[ "$(started pdf-chat-api)" = "$before" ] || { echo "error: the application was restarted" >&2; exit 1; }
echo "The application was never restarted."
