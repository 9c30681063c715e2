#include "models/cost/network_law.hpp"

namespace moesim {

bool network_applies(CollectiveKind kind, const GroupTopology& group) {
  if (kind != CollectiveKind::kAllReduce || group.outermost_tier() < 0) return false;
  const GroupTopology::Split& nodes = innermost_parts(group);
  if (nodes.parts < 2 || nodes.smallest != nodes.largest) return false;
  for (int t = 1; t <= group.outermost_tier(); ++t)
    if (joins_parts(group, t) && !group.view().tier(t).reduces) return false;
  return true;
}

CommCost network_cost(const GroupTopology& group, const LawParameters& parameters, Bytes size) {
  const double local = innermost_parts(group).smallest;
  const int across = group.outermost_tier();
  const LinkParameters& inside_link = parameters.link(group.view().tier(0).link);
  const LinkParameters& across_link = parameters.link(group.view().tier(across).link);
  TierBytes inside{};
  TierBytes outside{};
  inside[0] = 2 * (local - 1) / local * size.value();
  outside[static_cast<std::size_t>(across)] = size.value() / local;
  const PortTimes inside_ports = port_times(group, parameters, inside, TrafficPattern::kRing);
  PortTimes ports = port_times(group, parameters, outside, TrafficPattern::kOneWay);
  const double fixed = parameters.collective.base.value() + 2 * (local - 1) * hop(group, 0, inside_link.ring_step) +
                       2 * hop(group, across, across_link.tree_step) +
                       pipelined_seconds(inside_ports.longest, inside_link.pipeline_step.value());
  // The phases follow one another: the one across pays its own time, those inside stand in `fixed`.
  ports.seconds[0] += inside_ports.seconds[0];
  TierBytes bytes = outside;
  bytes[0] += inside[0];
  return finish(group, parameters, ports, bytes, {.fixed = fixed});
}

}  // namespace moesim
