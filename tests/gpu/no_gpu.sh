#!/usr/bin/env bash
# Usage: no_gpu.sh MOEEXEC EXAMPLES_FOLDER
#
# What `moeexec --backend cuda` must do without a GPU: start where there is no CUDA at all, and say what is missing, once, with
# its own exit code, in every command and however many ranks there are. Ends 1 with what was wrong.
set -euo pipefail
moeexec="$1"
plan="$2/tiny-plan.json"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

wrong() {
  echo "$*" >&2
  exit 1
}

# No library of CUDA may be needed to start.
needed="$(readelf -d "$moeexec" | grep NEEDED)" || wrong "readelf says nothing of $moeexec"
! grep -iE 'cuda|cublas|nccl|nvrtc' <<< "$needed" || wrong "the program needs a library of CUDA to start"
env -u LD_LIBRARY_PATH "$moeexec" --version > "$scratch/out" || wrong "it does not start without LD_LIBRARY_PATH"

if nvidia-smi -L > /dev/null 2>&1; then
  echo "there is a GPU here: what is said without one was not looked at"
  exit 0
fi

# expect STATUS TEXT COMMAND...: ends so, and says so in two lines, error and hint.
expect() {
  local wanted="$1" text="$2" status=0
  shift 2
  env -u LD_LIBRARY_PATH "$@" > "$scratch/out" 2> "$scratch/err" || status=$?
  [ "$status" -eq "$wanted" ] && grep -qF -- "$text" "$scratch/err" && [ "$(wc -l < "$scratch/err")" -eq 2 ] ||
    wrong "$*: ended $status, wanted $wanted and '$text'; it said: $(cat "$scratch/err")"
}
expect 6 "moeexec: error: no usable GPU" "$moeexec" run "$plan" --backend cuda
expect 6 "moeexec: error: no usable GPU" "$moeexec" run "$plan" --backend cuda --device-transport nccl
expect 6 "moeexec: error: no usable GPU" "$moeexec" bench --backend cuda -o "$scratch/bench.json"
[ ! -e "$scratch/bench.json" ] || wrong "a file of measurements was begun"
expect 2 "add --backend cuda" "$moeexec" run "$plan" --device 0
