#!/bin/sh
# Behind the removal: dpkg --purge takes what the watchdog remembers, too.
set -e
[ "${1:-}" != purge ] || rm -rf /var/lib/watchdog /var/lib/private/watchdog
[ ! -d /run/systemd/system ] || systemctl daemon-reload || true
