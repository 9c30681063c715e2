#include "models/cost/hierarchical_law.hpp"

namespace moesim {
namespace {

// The tier that joins the nodes: bytes across are charged where the whole group becomes one.
int joining_tier(const GroupTopology& group) {
  for (int t = group.tiers() - 1; t > 0; --t)
    if (joins_parts(group, t)) return t;
  return 0;
}

}  // namespace

bool hierarchical_applies(CollectiveKind kind, const GroupTopology& group) {
  if (kind == CollectiveKind::kBroadcast || kind == CollectiveKind::kSendRecv || group.tiers() < 2) return false;
  const GroupTopology::Split& nodes = innermost_parts(group);
  return nodes.parts > 1 && nodes.smallest > 1 && nodes.smallest == nodes.largest;
}

CommCost hierarchical_cost(CollectiveKind kind, const GroupTopology& group, const LawParameters& parameters,
                           Bytes size) {
  const GroupTopology::Split& split = innermost_parts(group);
  const double local = split.smallest;
  const double nodes = split.parts;
  const int across = joining_tier(group);
  const LinkParameters& inside_link = parameters.link(group.view().tier(0).link);
  const LinkParameters& across_link = parameters.link(group.view().tier(across).link);
  const bool exchange = kind == CollectiveKind::kAllToAll;
  const double rounds = kind == CollectiveKind::kAllReduce ? 2 : 1;

  TierBytes inside{};
  TierBytes outside{};
  inside[0] = rounds * (local - 1) / local * size.value();
  outside[static_cast<std::size_t>(across)] = rounds * (nodes - 1) / nodes * size.value() / (exchange ? 1 : local);

  const TrafficPattern pattern = exchange ? TrafficPattern::kAllToAll : TrafficPattern::kRing;
  const PortTimes inside_ports = port_times(group, parameters, inside, pattern);
  const PortTimes outside_ports = port_times(group, parameters, outside, pattern);
  const double inside_hop = hop(group, 0, exchange ? inside_link.peer_step : inside_link.ring_step);
  const double across_hop = hop(group, across, exchange ? across_link.peer_step : across_link.ring_step);
  const double fixed = parameters.collective.base.value() +
                       rounds * ((local - 1) * inside_hop + (nodes - 1) * across_hop) +
                       pipelined_seconds(inside_ports.longest, inside_link.pipeline_step.value());

  // The phases follow one another: the phase across pays its own time, the one inside stands in `fixed`.
  PortTimes ports = outside_ports;
  ports.seconds[0] += inside_ports.seconds[0];
  TierBytes bytes = outside;
  bytes[0] += inside[0];
  return finish(group, parameters, ports, bytes, {.fixed = fixed});
}

}  // namespace moesim
