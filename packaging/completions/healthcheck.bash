# bash completion for healthcheck. Made from the program's flags; a test compares them.

_healthcheck() {
	local words= command=${COMP_WORDS[1]-}
	COMPREPLY=()
	[ "$COMP_CWORD" -gt 1 ] || command=
	case $command in
	gpu) words='--all --context --help --output --reserve --split --timeout --watch fit' ;;
	wait) words='--interval --timeout --check-timeout --layers --optional --fail-fast --base-url --api --db --vector --proxy --header --method --expect-status --body --body-file --http-version --expect-header --expect-body --not-body --expect-json --ca-cert --client-cert --client-key --server-name --min-cert-days --connect-to --insecure --max-redirects --cpu-max --mem-max --mem-min-free --disk-max --disk-min-free --host --inode-max --pids-max --net-errors-max --warn-cpu-max --warn-mem-max --warn-disk-max --warn-inode-max --warn-pids-max --warn-net-errors-max --warn-mem-min-free --warn-disk-min-free --disk-path --cpu-window --state-dir --gpu --gpu-count --gpu-min-free --gpu-max-mem --gpu-max-util --gpu-max-temp --gpu-max-ecc --gpu-optional --output --quiet --version --help --wait-timeout' ;;
	install) words='' ;;
	*) words='--interval --timeout --check-timeout --layers --optional --fail-fast --base-url --api --db --vector --proxy --header --method --expect-status --body --body-file --http-version --expect-header --expect-body --not-body --expect-json --ca-cert --client-cert --client-key --server-name --min-cert-days --connect-to --insecure --max-redirects --cpu-max --mem-max --mem-min-free --disk-max --disk-min-free --host --inode-max --pids-max --net-errors-max --warn-cpu-max --warn-mem-max --warn-disk-max --warn-inode-max --warn-pids-max --warn-net-errors-max --warn-mem-min-free --warn-disk-min-free --disk-path --cpu-window --state-dir --gpu --gpu-count --gpu-min-free --gpu-max-mem --gpu-max-util --gpu-max-temp --gpu-max-ecc --gpu-optional --output --quiet --version --help gpu wait install' ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _healthcheck healthcheck
