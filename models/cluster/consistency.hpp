// What looks wrong, or is worth knowing, about a cluster that compiles. Nothing here stops a run: `moesim cluster show`
// prints the findings.
//
// Example: a NIC of "400GB/s" gives the warning that it looks like 400 Gbit/s written as bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/cluster/cluster_spec.hpp"
#include "models/cluster/cluster_view.hpp"

namespace moesim {

enum class ClusterSeverity : std::uint8_t {
  kNote,     // true of the machine, and easily overlooked
  kWarning,  // probably a mistake in the description
};
[[nodiscard]] const char* severity_name(ClusterSeverity severity);

struct ClusterFinding {
  ClusterSeverity severity = ClusterSeverity::kNote;
  std::string what;
  std::string hint;  // may be empty
};

// In the order devices, nodes, network, ranks; `view` is compile(spec).
[[nodiscard]] std::vector<ClusterFinding> check_consistency(const ClusterSpec& spec, const ClusterView& view);

}  // namespace moesim
