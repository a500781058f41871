#!/bin/sh
# Before the package is removed; an upgrade goes on with what runs.
set -e
case "${1:-}" in
remove | 0) [ ! -d /run/systemd/system ] || systemctl disable --now healthcheck-watchdog.service || true ;;
esac
