#include "models/cost/tree_law.hpp"

#include <bit>

namespace moesim {
namespace {

int log2_ceil(int value) { return value <= 1 ? 0 : std::bit_width(static_cast<unsigned>(value - 1)); }

double node_traffic(int nodes) { return nodes == 2 ? 1.0 : nodes == 3 ? 1.5 : 2.0; }

}  // namespace

bool tree_applies(CollectiveKind kind, const GroupTopology& group) {
  return (kind == CollectiveKind::kAllReduce || kind == CollectiveKind::kBroadcast) && group.tiers() > 0 &&
         innermost_parts(group).parts > 1;
}

CommCost tree_cost(CollectiveKind kind, const GroupTopology& group, const LawParameters& parameters, Bytes size) {
  const double directions = kind == CollectiveKind::kAllReduce ? 2 : 1;  // up and down, or down only
  TierBytes bytes{};
  Latency latency{.fixed = parameters.collective.base.value()};
  for (int t = 0; t < group.tiers(); ++t) {
    if (!joins_parts(group, t)) continue;
    const GroupTopology::Split& below = group.joined_below(t);
    const GroupTopology::Split& above = group.joined_below(t + 1);
    const LinkParameters& link = parameters.link(group.view().tier(t).link);
    double hops = 0;
    if (t == 0) {
      bytes[0] = directions * size.value() * (above.largest - 1) / above.largest;
      hops = directions * (above.largest - 1);
    } else {
      const double share = directions == 2 ? node_traffic(below.parts) : 1;
      bytes[static_cast<std::size_t>(t)] = share * size.value() / below.smallest;
      hops = directions * (log2_ceil(below.parts) - log2_ceil(above.parts));
    }
    latency.fixed += hops * hop(group, t, link.tree_step);
    latency.more_when_long += hops * link.long_step.value();
  }
  const TrafficPattern pattern = kind == CollectiveKind::kBroadcast ? TrafficPattern::kOneWay : TrafficPattern::kTree;
  return finish(group, parameters, port_times(group, parameters, bytes, pattern), bytes, latency);
}

}  // namespace moesim
