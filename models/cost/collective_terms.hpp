// What the collective laws share: bytes by tier -> time of the busiest port -> time of the operation.
//
//   T_port = max over tiers p of (bytes that cross p's ports) / (rank_rate(p) * efficiency(p))
//   T = base + latency + min(T_port / quick_share, long_latency + T_port + 2 * sqrt(pipeline_step * T_port))
//
// Short messages go by a protocol that needs no hand-shake but sends flags with the data (NCCL's LL and
// LL128), long ones pay `long_step` more per hop. The last term is the classical price of a pipelined
// transfer cut into the best number of chunks c: c chunks and one more to fill the pipe take (c + 1) * (a +
// T_port/c), least at c = sqrt(T_port/a), which leaves a + T_port + 2*sqrt(a*T_port). Example, 1.61 GB at 366
// GB/s with a = 0.7 us: 4400 us + 2*sqrt(0.7*4400) = 4511 us.
#pragma once

#include <array>

#include "models/cost/collective.hpp"
#include "models/cost/cost.hpp"
#include "models/cost/law_parameters.hpp"

namespace moesim {

// Bytes that the busiest rank sends to ranks it meets at each tier.
using TierBytes = std::array<double, kMaxTiers>;

// kOneWay: rings that fill one direction only (broadcast); kMessage: one message between two ranks.
enum class TrafficPattern : std::uint8_t { kRing, kTree, kAllToAll, kOneWay, kMessage };

struct PortTimes {
  std::array<double, kMaxTiers> seconds{};  // busy time of the busiest port of each tier
  double longest = 0;
  int bottleneck = 0;  // its tier
};

[[nodiscard]] double efficiency(const LinkParameters& link, TrafficPattern pattern);
[[nodiscard]] double pipelined_seconds(double port_seconds, double step_seconds);

[[nodiscard]] PortTimes port_times(const GroupTopology& group, const LawParameters& parameters, const TierBytes& bytes,
                                   TrafficPattern pattern);
struct Latency {
  double fixed = 0;           // base and hops
  double more_when_long = 0;  // hops of the long-message protocol
};
// Fills time, bound, port shares and bytes.
[[nodiscard]] CommCost finish(const GroupTopology& group, const LawParameters& parameters, const PortTimes& ports,
                              const TierBytes& bytes, Latency latency);
// One hop at `tier`: the law's software step and the hardware's latency.
[[nodiscard]] inline double hop(const GroupTopology& group, int tier, Seconds step) {
  return step.value() + group.view().tier(tier).latency.value();
}
// Does `tier` join parts that the tiers below leave apart?
[[nodiscard]] inline bool joins_parts(const GroupTopology& group, int tier) {
  return group.joined_below(tier + 1).parts < group.joined_below(tier).parts;
}
// The parts of the group that its innermost joining tier makes: ranks of one node, as a rule.
[[nodiscard]] inline const GroupTopology::Split& innermost_parts(const GroupTopology& group) {
  return group.joined_below(1);
}

}  // namespace moesim
