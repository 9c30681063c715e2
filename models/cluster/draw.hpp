// The tiers of a cluster as text, outermost first, for `moesim cluster show`:
//
//   DGX H100, rail-optimised NDR: 2 nodes, 16 ranks
//
//   spine   1 group of 16 ranks                                      2.15 us
//     |     8 ports of 1.60 TB/s, 2 ranks on each
//   nic     8 groups of 2 ranks                                      1.85 us
//     ...
// UTF-8, deterministic, at most 100 columns apart from long names.
#pragma once

#include <string>
#include <vector>

#include "models/cluster/cluster_spec.hpp"
#include "models/cluster/cluster_view.hpp"

namespace moesim {

[[nodiscard]] std::vector<std::string> draw(const ClusterSpec& spec, const ClusterView& view);

}  // namespace moesim
