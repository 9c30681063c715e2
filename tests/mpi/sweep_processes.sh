#!/usr/bin/env bash
# A sweep's result has the same bytes whether it runs at once, in threads, killed and resumed, or under mpirun.
# Usage: sweep_processes.sh MOESIM SPEC
set -euo pipefail
moesim=$1
spec=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# 4 times the points of the example, so that there is something to interrupt.
sweep=("$moesim" sweep "$spec" --gbs 64:256:+64 --quiet)
fail() { echo "FAILED: $*" >&2; exit 1; }
same() { cmp "$1" "$2" || fail "$1 and $2 differ"; }
rows() { { wc -l < "$1.journal.jsonl"; } 2> /dev/null || echo 0; }

# Waits until the journal of $1 has rows, while process $2 lives.
wait_for_rows() {
  while [ "$(rows "$1")" -lt 4 ]; do
    kill -0 "$2" 2> /dev/null || fail "$1 ended before it could be interrupted"
    sleep 0.01
  done
}

"${sweep[@]}" -o whole.csv > /dev/null
"${sweep[@]}" -o whole.db > /dev/null
[ ! -e whole.csv.journal.jsonl ] || fail "the journal is still there"
"${sweep[@]}" -o threads.csv --jobs 3 > /dev/null
same whole.csv threads.csv

"${sweep[@]}" -o killed.csv > /dev/null &
wait_for_rows killed.csv $!
kill -9 $!
wait $! && fail "killed, and yet it ended well"
[ ! -e killed.csv ] || fail "a killed sweep wrote a result"
kept=$(rows killed.csv)
"${sweep[@]}" -o killed.csv --json > summary.json
same whole.csv killed.csv
grep -Eq '"resumed": *0\b' summary.json && fail "none of $kept lines was resumed"

"${sweep[@]}" -o interrupted.csv > /dev/null 2> interrupted.txt &
wait_for_rows interrupted.csv $!
kill -TERM $!
status=0
wait $! || status=$?
[ $status -eq 130 ] || fail "interrupted, status $status instead of 130: $(cat interrupted.txt)"
grep -q 'the same command goes on' interrupted.txt || fail "no hint: $(cat interrupted.txt)"
"${sweep[@]}" -o interrupted.csv > /dev/null
same whole.csv interrupted.csv

if ! command -v mpirun > /dev/null; then
  echo "skipped the part with several processes: mpirun is not installed"
  exit 77
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
mpi=(mpirun -n 3 --oversubscribe --bind-to none --mca pml ob1 --mca btl self,vader)

if [[ $("${mpi[@]}" "${sweep[@]}" -o probe.csv 2>&1 || true) == *'built without MPI'* ]]; then
  echo "skipped the part with several processes: this build has no MPI"
  exit 77
fi
same whole.csv probe.csv
"${mpi[@]}" "${sweep[@]}" -o together.db > /dev/null
same whole.db together.db

# The death of one process ends all of them, and what they had finished counts.
"${mpi[@]}" "${sweep[@]}" -o torn.csv > /dev/null 2>&1 &
wait_for_rows torn.csv $!
kill -9 "$(pgrep -P $! | tail -n 1)"
wait $! && fail "a process was killed, and yet mpirun ended well"
[ ! -e torn.csv ] || fail "a torn sweep wrote a result"
"${sweep[@]}" -o torn.csv > /dev/null
same whole.csv torn.csv

# And the other way round: begun alone, finished together.
"${sweep[@]}" -o begun.csv > /dev/null &
wait_for_rows begun.csv $!
kill -9 $!
wait $! || true
"${mpi[@]}" "${sweep[@]}" -o begun.csv > /dev/null
same whole.csv begun.csv

# An error is told once, by the process that leads.
"${mpi[@]}" "$moesim" sweep "$spec" --tp 1:2 -o wrong.csv 2> wrong.txt && fail "a wrong axis was accepted"
[ "$(grep -c 'moesim: error' wrong.txt)" -eq 1 ] || fail "not one error: $(cat wrong.txt)"
echo "all results have the same bytes"
