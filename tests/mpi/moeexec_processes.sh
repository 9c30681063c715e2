#!/usr/bin/env bash
# moeexec with a process for each rank: the same losses as with threads, and every fault ends all ranks in seconds with one
# reason. Usage: moeexec_processes.sh MOEEXEC EXAMPLES
set -euo pipefail
moeexec=$(realpath "$1")
examples=$(realpath "$2")
folder=$(mktemp -d)
launched=""
trap '[ -z "$launched" ] || kill -9 "$launched" 2> /dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
fail() {
  echo "FAILED: $*" >&2
  cat ./*.txt >&2 || true
  exit 1
}
# Four ranks are enough here.
sed "s|examples/|$examples/|; s|\"tp\": 2, \"pp\": 2|\"tp\": 1, \"pp\": 2|; s|, \"esp\": 2||" "$examples/tiny-plan.json" > plan.json
sed 's|"global_batch": 8|"global_batch": 4|' plan.json > other.json
sed 's|"model": "[^"]*"|"model": "zoo:deepseek-v3"|' plan.json > refused.json
sed 's|"model": "[^"]*"|"model": "zoo:mixtral-8x22b"|' plan.json > large.json
# Ends badly and soon (a minute is for machines with other work), with the status $1 and one error that says $2; the rest is the command.
ends_with() {
  local expected=$1 reason=$2 started=$SECONDS status=0
  shift 2
  "$@" > out.txt 2> err.txt || status=$?
  [ $((SECONDS - started)) -lt 60 ] || fail "took $((SECONDS - started)) s: $*"
  [ "$status" -eq "$expected" ] || fail "status $status instead of $expected: $*"
  [ "$(grep -c 'moeexec: error' err.txt)" -eq 1 ] || fail "not one error: $*"
  grep -q "$reason" err.txt || fail "did not say '$reason': $*"
}
run=("$moeexec" run --quiet --steps 3)

"${run[@]}" plan.json --json > threads.json
ends_with 2 'latent attention' "${run[@]}" refused.json
ends_with 2 'by the memory walk' "${run[@]}" large.json
ends_with 1 'No space left' "${run[@]}" plan.json --timeline-out /dev/full
ends_with 2 'learned gates choose for themselves' "${run[@]}" plan.json --trace bundled:byte-moe-8-balanced

# Processes that find together over TCP, without a launcher.
losses() { grep -o '"loss": *[0-9.e+-]*' "$1"; }
"${run[@]}" plan.json --processes 4 --json > forked.json 2> err.txt || fail "four forked processes"
[ "$(losses threads.json | wc -l)" -eq 3 ] || fail "not three losses"
[ "$(losses threads.json)" = "$(losses forked.json)" ] || fail "forked processes have other losses than threads"
grep -q '"rank_kind": *"processes"' forked.json || fail "not told that ranks were processes"
ends_with 2 'for 4 ranks, and 3 processes were started' "${run[@]}" plan.json --processes 3
ends_with 3 'absent.json' "${run[@]}" absent.json --processes 4
ends_with 1 'No space left' "${run[@]}" plan.json --processes 4 --timeline-out /dev/full

# One of them is killed amid its steps: the first says so, alone, and all end.
"$moeexec" run plan.json --processes 4 --steps 1000000 > running.txt 2> killed.txt &
launched=$!
sleep 2
started=$SECONDS
kill -9 "$(pgrep -P $launched | tail -n 1)"
wait $launched && fail "a forked rank was killed, and yet the first ended well"
[ $((SECONDS - started)) -lt 20 ] || fail "the first lived on for $((SECONDS - started)) s"
[ "$(grep -c 'moeexec: error' killed.txt)" -eq 1 ] || fail "not one reason"
grep -q 'the process of rank 3 has died' killed.txt || fail "nobody said why"
# The first is killed: the others go with it.
"$moeexec" run plan.json --processes 4 --steps 1000000 > running.txt 2> killed.txt &
launched=$!
sleep 2
others=$(pgrep -P $launched)
kill -9 $launched
wait $launched && fail "the first was killed, and yet ended well"
launched=""
for ((look = 0; look < 50; look++)); do
  kill -0 $others 2> /dev/null || break
  sleep 0.1
done
! kill -0 $others 2> /dev/null || fail "forked ranks outlive the first"

if ! command -v mpirun > /dev/null; then
  echo "skipped the part with several processes: mpirun is not installed"
  exit 77
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
mpi() { timeout 120 mpirun --oversubscribe --bind-to none --mca pml ob1 --mca btl self,vader "$@"; }
if [[ $(mpi -n 4 "${run[@]}" plan.json 2>&1 || true) == *"built without MPI"* ]]; then
  echo "skipped the part with several processes: this build has no MPI"
  exit 77
fi

mpi -n 4 "${run[@]}" plan.json --json --timeline-out step.json > processes.json 2> err.txt || fail "four processes"
[ "$(losses threads.json)" = "$(losses processes.json)" ] || fail "processes have other losses than threads"
grep -q '"rank_kind": *"processes"' processes.json || fail "not told that ranks were processes"
grep -q '"process_name"' step.json || fail "no timeline"

# Eight ranks over every dimension with ZeRO 3, and BF16 with a capacity.
sed "s|\"precision\"|\"zero_dense\": 3, \"zero_expert\": 2, \"recompute\": \"full\", \"precision\"|; s|examples/|$examples/|" \
  "$examples/tiny-plan.json" > eight.json
sed 's|"precision": "fp32"|"precision": "bf16", "capacity_factor": 1.25|' plan.json > bf16.json
for case in 8:eight 4:bf16; do
  ranks=${case%%:*} name=${case##*:}
  "${run[@]}" "$name.json" --json > "$name-threads.json" || fail "$name with threads"
  mpi -n "$ranks" "${run[@]}" "$name.json" --json > "$name-processes.json" 2> err.txt || fail "$name with processes"
  [ "$(losses "$name-threads.json" | wc -l)" -eq 3 ] || fail "not three losses of $name"
  [ "$(losses "$name-threads.json")" = "$(losses "$name-processes.json")" ] || fail "$name: processes have other losses"
done

ends_with 2 'for 4 ranks, and 3 processes were started' mpi -n 3 "${run[@]}" plan.json
ends_with 3 'absent.json' mpi -n 4 "${run[@]}" absent.json
ends_with 2 'ranks 0 and 2 were given different' mpi -n 2 "${run[@]}" plan.json : -n 2 "${run[@]}" other.json
ends_with 2 'rank 3: .*latent attention' mpi -n 3 "${run[@]}" plan.json : -n 1 "${run[@]}" refused.json
ends_with 2 'no time to spend' mpi -n 2 "$moeexec" bench --budget 5 -o bench.json
ends_with 2 'one was started by a launcher' mpi -n 2 "$moeexec" bench --ranks 2 -o bench.json

# A rank that is killed amid its steps takes all others with it.
mpi -n 4 "$moeexec" run plan.json --steps 1000000 > running.txt 2> killed.txt &
launched=$!
sleep 3
victim=$(pgrep -P "$(pgrep -P $launched)" | tail -n 1)
started=$SECONDS
kill -9 "$victim"
wait $launched && fail "a rank was killed, and yet mpirun ended well"
launched=""
[ $((SECONDS - started)) -lt 60 ] || fail "the others lived on for $((SECONDS - started)) s"
grep -Eq 'signal 9|Killed' killed.txt || fail "nobody said why"
echo "processes train as threads do, and no fault makes them wait"
