#include "models/cost/ring_law.hpp"

namespace moesim {

CommCost ring_cost(CollectiveKind kind, const GroupTopology& group, const LawParameters& parameters, Bytes size) {
  const auto n = static_cast<double>(group.size());
  const double rounds = kind == CollectiveKind::kAllReduce ? 2 : 1;
  const double passed = kind == CollectiveKind::kBroadcast ? size.value() : rounds * (n - 1) / n * size.value();
  TierBytes bytes{};
  Latency latency{.fixed = parameters.collective.base.value()};
  for (int t = 0; t < group.tiers(); ++t) {
    if (!joins_parts(group, t)) continue;
    const GroupTopology::Split& below = group.joined_below(t);
    const GroupTopology::Split& above = group.joined_below(t + 1);
    const bool outermost = above.parts == 1;
    // At the outermost tier the ring closes, so every part has one hop there; below, all but one of its hops.
    const double inner = 1.0 / below.smallest;
    const double outer = outermost ? 0 : 1.0 / above.smallest;
    bytes[static_cast<std::size_t>(t)] = passed * (inner - outer);
    const double hops = below.parts - (outermost ? 0 : above.parts);
    const LinkParameters& link = parameters.link(group.view().tier(t).link);
    latency.fixed += rounds * hops * (n - 1) / n * hop(group, t, link.ring_step);
    latency.more_when_long += rounds * hops * (n - 1) / n * link.long_step.value();
  }
  const TrafficPattern pattern = kind == CollectiveKind::kBroadcast ? TrafficPattern::kOneWay : TrafficPattern::kRing;
  return finish(group, parameters, port_times(group, parameters, bytes, pattern), bytes, latency);
}

}  // namespace moesim
