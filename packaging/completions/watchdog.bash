# bash completion for watchdog. Made from the program's flags; a test compares them.

_watchdog() {
	local words= command=${COMP_WORDS[1]-}
	COMPREPLY=()
	[ "$COMP_CWORD" -gt 1 ] || command=
	case $command in
	run) words='--config --services --all --max-attempts --backoff-base --backoff-multiplier --backoff-max --backoff-jitter --stable-for --verify-timeout --unhealthy-for --restart-exited --max-concurrent --max-restarts --by-cause --hold-max --cascade --quiet-hours --action --on-give-up --stop-timeout --dry-run --reconcile --state-file --notify --escalate-after --notify-title --notify-text --host-name --notify-every --evidence --evidence-lines --notify-start --heartbeat --listen --probe-figures --control --host --log-format --help' ;;
	status) words='--control --output --help' ;;
	history) words='--control --output --show --help' ;;
	reset) words='--control --output --help' ;;
	snooze) words='--control --output --all --reason --help' ;;
	resume) words='--control --output --all --help' ;;
	notify) words='--config --notify --escalate-after --notify-title --notify-text --host-name --help' ;;
	config) words='--config --services --all --max-attempts --backoff-base --backoff-multiplier --backoff-max --backoff-jitter --stable-for --verify-timeout --unhealthy-for --restart-exited --max-concurrent --max-restarts --by-cause --hold-max --cascade --quiet-hours --action --on-give-up --stop-timeout --dry-run --reconcile --state-file --notify --escalate-after --notify-title --notify-text --host-name --notify-every --evidence --evidence-lines --notify-start --heartbeat --listen --probe-figures --control --host --log-format --help' ;;
	lint) words='--compose --kubernetes --env-file --host --output --ignore --services --all --help' ;;
	version) words='' ;;
	help) words='' ;;
	*) words='run status history reset snooze resume notify config lint version help' ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _watchdog watchdog
