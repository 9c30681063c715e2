#include "models/cost/collective_terms.hpp"

#include <algorithm>
#include <cmath>

namespace moesim {

double efficiency(const LinkParameters& link, TrafficPattern pattern) {
  switch (pattern) {
    case TrafficPattern::kRing: return link.ring_efficiency;
    case TrafficPattern::kTree: return link.tree_efficiency;
    case TrafficPattern::kAllToAll: return link.all_to_all_efficiency;
    case TrafficPattern::kOneWay:
    case TrafficPattern::kMessage: return link.one_way_efficiency;
  }
  return 1;
}

double pipelined_seconds(double port_seconds, double step_seconds) {
  return port_seconds + 2 * std::sqrt(step_seconds * port_seconds);
}

PortTimes port_times(const GroupTopology& group, const LawParameters& parameters, const TierBytes& bytes,
                     TrafficPattern pattern) {
  PortTimes times;
  for (int p = 0; p < group.tiers(); ++p) {
    double through = 0;
    for (int t = p; t < group.tiers(); ++t)
      if (group.view().tier(t).first_port_tier <= p) through += bytes[static_cast<std::size_t>(t)];
    if (through <= 0) continue;
    const Tier& tier = group.view().tier(p);
    const bool rings = pattern != TrafficPattern::kAllToAll && pattern != TrafficPattern::kMessage;
    double rate = rings ? group.ring_rate(p).value() : group.rank_rate(p).value();
    // A single message uses a single link of a mesh.
    if (pattern == TrafficPattern::kMessage && tier.mesh) rate = std::min(rate, tier.pair_limit.value());
    const double seconds = through / (rate * efficiency(parameters.link(tier.link), pattern));
    times.seconds[static_cast<std::size_t>(p)] = seconds;
    if (seconds > times.longest) times.longest = seconds, times.bottleneck = p;
  }
  return times;
}

CommCost finish(const GroupTopology& group, const LawParameters& parameters, const PortTimes& ports,
                const TierBytes& bytes, Latency latency) {
  CommCost cost;
  cost.busiest_rank_bytes = bytes;
  if (ports.longest <= 0) {
    cost.time = Seconds(latency.fixed);
    cost.bound = Bound::kLatency;
    return cost;
  }
  const LinkParameters& link = parameters.link(group.view().tier(ports.bottleneck).link);
  const double long_body = latency.more_when_long + pipelined_seconds(ports.longest, link.pipeline_step.value());
  const double quick_body = ports.longest / link.quick_share;
  const bool quick = quick_body < long_body;
  const double total = latency.fixed + std::min(quick_body, long_body);
  const double pressure = quick ? 1 / link.quick_share : 1;  // flags travel with the data
  cost.time = Seconds(total);
  cost.bound = 2 * ports.longest >= total ? Bound::kNetwork : Bound::kLatency;
  for (int p = 0; p < group.tiers(); ++p) {
    const auto index = static_cast<std::size_t>(p);
    cost.port_share[index] = static_cast<float>(pressure * ports.seconds[index] / (total * group.port_sharers(p)));
  }
  return cost;
}

}  // namespace moesim
