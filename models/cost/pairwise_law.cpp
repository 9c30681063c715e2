#include "models/cost/pairwise_law.hpp"

namespace moesim {

double exchange_latency(const GroupTopology& group, const LawParameters& parameters) {
  double latency = parameters.collective.base.value();
  // Peers are served side by side: software steps add up, the flight to the farthest is paid once.
  for (int t = 0; t < group.tiers(); ++t)
    latency += group.peers(t) * parameters.link(group.view().tier(t).link).peer_step.value();
  return latency + group.view().tier(group.outermost_tier()).latency.value();
}

CommCost pairwise_cost(const GroupTopology& group, const LawParameters& parameters, Bytes size) {
  const double per_pair = size.value() / group.size();
  TierBytes bytes{};
  PortTimes ports;
  for (int t = 0; t < group.tiers(); ++t) {
    const auto index = static_cast<std::size_t>(t);
    bytes[index] = per_pair * group.peers(t);
    const double share = parameters.link(group.view().tier(t).link).all_to_all_efficiency;
    ports.seconds[index] = per_pair * group.exchange_seconds_per_byte(t) / share;
    if (ports.seconds[index] > ports.longest) ports.longest = ports.seconds[index], ports.bottleneck = t;
  }
  return finish(group, parameters, ports, bytes, {.fixed = exchange_latency(group, parameters)});
}

CommCost send_recv_cost(const GroupTopology& group, const LawParameters& parameters, Bytes size) {
  const int tier = group.outermost_tier();
  TierBytes bytes{};
  bytes[static_cast<std::size_t>(tier)] = size.value();
  const double fixed =
      parameters.collective.base.value() + hop(group, tier, parameters.link(group.view().tier(tier).link).peer_step);
  return finish(group, parameters, port_times(group, parameters, bytes, TrafficPattern::kMessage), bytes,
                {.fixed = fixed});
}

}  // namespace moesim
