# shellcheck shell=bash
# Sourced by the scripts beside it.
set -euo pipefail
tool=${0##*/}
here=$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cluster/cluster.conf
source "$here/cluster.conf"

die() {
  echo "$tool: $*" >&2
  exit 1
}
# 77 tells test runners that the machine lacks something.
cannot() {
  echo "$tool: cannot run here: $*" >&2
  exit 77
}

[[ $CLUSTER_PREFIX =~ ^[a-z][a-z0-9]*$ ]] || die "CLUSTER_PREFIX '$CLUSTER_PREFIX' must be lower-case letters and digits"
state=/tmp/moesim-cluster-$CLUSTER_PREFIX   # hostfile, and settings of the cluster that is up
switch=$CLUSTER_PREFIX-switch
host_name() { echo "$CLUSTER_PREFIX-host$1"; }
host_address() { echo "$CLUSTER_SUBNET.$(($1 + 1))"; }

# The namespaces of this prefix that exist, one per line.
namespaces() { ip netns list 2> /dev/null | awk '{print $1}' | grep -E "^$CLUSTER_PREFIX-(switch|host[0-9]+)$" || true; }

# exec_in_host NUMBER COMMAND...: becomes the command, in that host and under its name. Open MPI tells hosts apart by their names,
# and names its files in shared memory and in /tmp after them.
exec_in_host() {
  local name
  name=$(host_name "$1")
  shift
  # shellcheck disable=SC2016 # expanded by the inner shell
  exec ip netns exec "$name" unshare --uts bash -c 'hostname "$0"; exec "$@"' "$name" "$@"
}
