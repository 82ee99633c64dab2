#!/usr/bin/env bash
# A real actor system's records, through NATS, into a file, and what the tools
# say of it. Called by "make demo"; needs Go and nothing else.
#
#   PAPYRA_DEMO_DATA    where the records go (papyra-data-demo); they stay there
#   PAPYRA_DEMO_ORDERS  how many orders the shop takes (500)
#   PAPYRA_DEMO_LISTEN  the broker's address (127.0.0.1:4222, or another port if
#                       that one is taken)
set -euo pipefail
umask 077
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

data=${PAPYRA_DEMO_DATA:-papyra-data-demo}
orders=${PAPYRA_DEMO_ORDERS:-500}
go=${GO:-go}
store=json:$data/records.ndjson
sink_pid=

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
	bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
else
	bold= dim= plain=
fi

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
fail() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

# show prints a command as one would type it, and runs it. Exit code 2 is an
# answer too: it says that something is damaged.
show() {
	printf '\n%s$ %s%s\n' "$dim" "$*" "$plain"
	local code=0
	"$@" || code=$?
	if ((code != 0)); then
		printf '%s(exit code %d)%s\n' "$dim" "$code" "$plain"
		failed=1
	fi
}
failed=0

# The sink is the only process that outlives its line; end it whatever happens.
cleanup() {
	if [[ -n $sink_pid ]] && kill -0 "$sink_pid" 2>/dev/null; then
		kill -TERM "$sink_pid" 2>/dev/null || true
		wait "$sink_pid" 2>/dev/null || true
	fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

answers() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; }

listen=${PAPYRA_DEMO_LISTEN:-}
if [[ -n $listen ]]; then
	! answers "$listen" || fail "$listen is taken: choose another address with PAPYRA_DEMO_LISTEN"
else
	for port in 4222 14222 24222 34222; do
		if ! answers "127.0.0.1:$port"; then
			listen=127.0.0.1:$port
			break
		fi
	done
	[[ -n $listen ]] || fail "the ports 4222, 14222, 24222 and 34222 are all taken: choose an address with PAPYRA_DEMO_LISTEN"
fi

step "1. Build papyra-sink, papyra-ctl and the shop (bin/)"
"$go" build -o bin/ ./cmd/papyra-sink ./cmd/papyra-ctl
(cd integration/protoactor && "$go" build -o ../../bin/shop ./cmd/shop)

step "2. Start papyra-sink with its own broker on $listen"
since=() # of this run, if there is more
[[ ! -e $data/records.ndjson ]] || since=(--since "$(date -u +%Y-%m-%dT%H:%M:%SZ)")
mkdir -p "$data"
log=$data/sink.log
bin/papyra-sink --listen "$listen" --backend "$store" >>"$log" 2>&1 &
sink_pid=$!
for ((i = 0; ; i++)); do
	kill -0 "$sink_pid" 2>/dev/null || {
		tail -n 20 "$log" >&2
		fail "papyra-sink ended; its log is $log"
	}
	if answers "$listen"; then break; fi
	((i < 100)) || fail "papyra-sink does not answer on $listen after ten seconds; its log is $log"
	sleep 0.1
done
echo "It writes to $data/records.ndjson; its log is $log."

step "3. Run an order shop of protoactor-go actors that crash, restart and lose messages"
echo
bin/shop --server "nats://$listen" --system shop --orders "$orders"

step "4. Stop papyra-sink with SIGTERM"
kill -TERM "$sink_pid"
code=0
wait "$sink_pid" || code=$?
sink_pid=
((code == 0)) || fail "papyra-sink exited with $code; its log is $log"
echo "It exited with 0: nothing that reached it is lost."

step "5. What happened to that system?"
export PAPYRA_BACKEND=$store
printf '\n%s$ export PAPYRA_BACKEND=%s%s\n' "$dim" "$store" "$plain"
show bin/papyra-ctl inspect summary
show bin/papyra-ctl inspect events --type ActorCrashed --limit 6 "${since[@]}"
show bin/papyra-ctl inspect events --actor stock --actor printer "${since[@]}"
show bin/papyra-ctl inspect dead-letters --limit 5 "${since[@]}"
show bin/papyra-ctl inspect audits --limit 3 "${since[@]}"
show bin/papyra-ctl scan

step "Go on exploring; the records stay in $data/"
cat <<END

  export PAPYRA_BACKEND=$store
  bin/papyra-ctl inspect events --type ActorRestarted --reverse --limit 10
  bin/papyra-ctl inspect events --actor payments/till-1
  bin/papyra-ctl inspect dead-letters --type '*main.label'
  bin/papyra-ctl inspect events --limit 1 --output json
  bin/papyra-ctl compact --keep-records 100 --dry-run
  grep -a order-17 $data/records.ndjson

Damage it and see what happens:

  printf 'torn {' >>$data/records.ndjson
  bin/papyra-ctl scan; echo "exit code \$?"
  bin/papyra-ctl recover --mode quarantine --quarantine-dir $data/quarantine
  bin/papyra-ctl scan; echo "exit code \$?"
END
((failed == 0)) || fail "a command above did not end with 0"
