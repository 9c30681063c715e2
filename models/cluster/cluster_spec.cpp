#include "models/cluster/cluster_spec.hpp"

namespace moesim {

const char* switch_kind_name(SwitchKind kind) {
  switch (kind) {
    case SwitchKind::kScaleUp: return "scale_up";
    case SwitchKind::kMesh: return "mesh";
    case SwitchKind::kPcie: return "pcie";
    case SwitchKind::kHost: return "host";
    case SwitchKind::kSystem: return "system";
    case SwitchKind::kNic: return "nic";
    case SwitchKind::kNetwork: return "network";
  }
  return "?";
}

std::int64_t ClusterSpec::nodes() const {
  if (topology) {
    std::int64_t count = 0;
    for (const ExplicitDevice& rank : topology->ranks) count = rank.node + 1 > count ? rank.node + 1 : count;
    return count;
  }
  std::int64_t count = 0;
  for (const NodeGroup& group : groups) count += group.nodes;
  return count;
}

std::int64_t ClusterSpec::ranks() const {
  if (topology) return static_cast<std::int64_t>(topology->ranks.size());
  std::int64_t count = 0;
  for (const NodeGroup& group : groups) count += static_cast<std::int64_t>(group.nodes) * group.node.devices;
  return count;
}

}  // namespace moesim
