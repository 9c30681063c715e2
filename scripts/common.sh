# shellcheck shell=bash
# Sourced by the scripts beside it; nothing to run here. It goes to the top of the checkout, whatever the caller's folder.
set -euo pipefail
script="$(realpath "$0")"
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  echo "scripts/${script##*/}: $*" >&2
  exit 1
}

# The comment at the head of a script, below its first line, is its help.
show_help() {
  awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$script"
}

# Where ccache is installed it makes building the same files again cheap. CMake reads these when it first configures. A clean
# machine that runs this once (CI=true) has nothing to find in it and would only pay for the filling.
use_ccache() {
  command -v ccache > /dev/null || return 0
  [ "${CI-}" != true ] || [ -d "${CCACHE_DIR-$HOME/.cache/ccache}" ] || return 0
  export CMAKE_CXX_COMPILER_LAUNCHER="${CMAKE_CXX_COMPILER_LAUNCHER-ccache}"
  export CMAKE_C_COMPILER_LAUNCHER="${CMAKE_C_COMPILER_LAUNCHER-ccache}"
  export CMAKE_CUDA_COMPILER_LAUNCHER="${CMAKE_CUDA_COMPILER_LAUNCHER-ccache}"
}

# logged TITLE LOG COMMAND...: runs the command with all output in LOG and says how long it took. A terminal sees meanwhile
# how far it is, from Ninja's "[3/120]". On failure: the errors, or the end of the log, and where the log is.
logged() {
  local title="$1" log="$2" status=0
  shift 2
  mkdir -p "$(dirname "$log")"
  local started=$SECONDS
  if [ -t 1 ]; then
    NINJA_STATUS='[%f/%t] ' "$@" < /dev/null 2>&1 | tee "$log" |
      while IFS= read -r line; do
        if [[ $line =~ ^\[([0-9]+/[0-9]+)\] ]]; then printf '\r%s ... %s ' "$title" "${BASH_REMATCH[1]}"; fi
      done || status=$?
    printf '\r\033[K'
  else
    "$@" < /dev/null > "$log" 2>&1 || status=$?
  fi
  if [ "$status" -ne 0 ]; then
    echo "$title: failed after $((SECONDS - started)) s" >&2
    # A compiler's errors stand above the noise of the other jobs that were still running.
    if ! grep -E -m 20 -A 6 '(^|: )(fatal )?error: |^CMake Error' "$log" >&2; then tail -n 40 "$log" >&2; fi
    echo "scripts/${script##*/}: the whole log is $PWD/$log" >&2
    return "$status"
  fi
  echo "$title: $((SECONDS - started)) s"
}
