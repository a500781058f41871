# What a poller in a shell does, as docker-autoheal does it: ask the engine for
# the unhealthy containers that carry a label, and walk over the answer.
#   sh poll.sh SOCKET ROUNDS
socket=$1 rounds=$2
filters='%7B%22health%22%3A%5B%22unhealthy%22%5D%2C%22label%22%3A%5B%22autoheal%3Dtrue%22%5D%7D'
while [ "$rounds" -gt 0 ]; do
	list=$(curl --fail --silent --max-time 30 --unix-socket "$socket" "http://localhost/containers/json?filters=$filters") || exit 1
	echo "$list" | jq --raw-output '.[] | "\(.Id) \(.Names[0]) \(.State)"' | while read -r id name state; do
		echo "$id $name $state"
	done
	rounds=$((rounds - 1))
done
