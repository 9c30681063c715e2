#!/usr/bin/env bash
# The collectives between processes: right results, and every kind of fault ends all ranks in seconds with a reason.
# Usage: comm_processes.sh COMM_RANKS
set -euo pipefail
ranks=$(realpath "$1")
folder=$(mktemp -d)
launched=""
trap '[ -z "$launched" ] || kill -9 "$launched" 2> /dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
fail() {
  echo "FAILED: $*" >&2
  cat ./*.txt >&2 || true
  exit 1
}

if ! command -v mpirun > /dev/null; then
  echo "skipped: mpirun is not installed"
  exit 77
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
mpi() { timeout 120 mpirun --oversubscribe --bind-to none --mca pml ob1 --mca btl self,vader "$@"; }

if [[ $(mpi -n 1 "$ranks" matrix 2>&1 || true) == *"built without MPI"* ]]; then
  echo "skipped: this build has no MPI"
  exit 77
fi
for n in 2 3 4; do mpi -n $n "$ranks" matrix linear 2> matrix.txt || fail "the matrix on $n ranks"; done
for algorithm in pairwise 1dh 2dh pipe; do
  mpi -n 4 "$ranks" matrix "$algorithm" 2> matrix.txt || fail "the matrix on 4 ranks, $algorithm"
done

# Ends badly, within 20 s though everyone else would wait for a minute, and says $2.
ends_with() {
  local mode=$1 reason=$2 started=$SECONDS
  mpi -n 4 "$ranks" "$mode" > /dev/null 2> "$mode.txt" && fail "$mode ended well"
  [ $((SECONDS - started)) -lt 20 ] || fail "$mode took $((SECONDS - started)) s"
  grep -q "$reason" "$mode.txt" || fail "$mode did not say '$reason'"
}
ends_with absent 'nothing came from ranks \[1\]'
ends_with mismatch 'expected was'
ends_with dropped .  # which of the launcher's lines comes through is a matter of luck

mpi -n 4 "$ranks" endless > running.txt 2> killed.txt &
launched=$!
for _ in $(seq 200); do
  grep -q running running.txt && break
  sleep 0.05
done
grep -q running running.txt || fail "the ranks did not start"
# timeout's child is mpirun, whose children are the ranks.
victim=$(pgrep -P "$(pgrep -P $launched)" | tail -n 1)
started=$SECONDS
kill -9 "$victim"
wait $launched && fail "a rank was killed, and yet mpirun ended well"
launched=""
[ $((SECONDS - started)) -lt 20 ] || fail "the others lived on for $((SECONDS - started)) s"
grep -Eq 'signal 9|Killed' killed.txt || fail "nobody said why"
echo "all ranks agree, and no fault makes them wait"
