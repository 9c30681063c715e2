// Where a cluster comes from on the command line.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "models/cluster/cluster_spec.hpp"
#include "models/cluster/cluster_view.hpp"

namespace moesim {

// "preset:NAME" or a path to a cluster file (docs/inputs-cluster.md). `nodes` > 0 sets how many nodes it has; 0 keeps
// the file's own number (an error when it has none). Preset names are matched without regard to case.
[[nodiscard]] Result<ClusterSpec> load_cluster(const std::string& source, int nodes);
[[nodiscard]] std::vector<std::string> preset_names();

// Walks the topology graph and compiles the tiers. Errors: everything build_topology() refuses, ranks that cannot reach
// each other, two equally short ways between the same two points, more tiers than cost.hpp's kMaxTiers.
[[nodiscard]] Result<ClusterView> compile(const ClusterSpec& spec);

}  // namespace moesim
