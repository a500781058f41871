#!/bin/sh
# Behind the installation or upgrade of the package. Nothing is started: which
# containers are watched is for a person to decide first.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	systemctl try-restart healthcheck-watchdog.service || true # after an upgrade
fi
if [ -z "${2:-}" ] && [ "${1:-}" != 2 ]; then # Debian names the version before, RPM counts to 2
	echo 'healthcheck-watchdog: systemctl enable --now healthcheck-watchdog starts it'
fi
