#include "models/cost/switch_law.hpp"

namespace moesim {

bool switch_applies(CollectiveKind kind, const GroupTopology& group) {
  if (kind != CollectiveKind::kAllReduce || group.size() < 3 || group.tiers() == 0) return false;
  if (innermost_parts(group).parts > 1) return false;
  const Tier& tier = group.view().tier(0);
  const DeviceArch arch = group.view().device(group.ranks().front()).arch;
  return tier.link == LinkClass::kNvlink && !tier.mesh &&
         (arch == DeviceArch::kHopper || arch == DeviceArch::kBlackwell);
}

CommCost switch_cost(const GroupTopology& group, const LawParameters& parameters, Bytes size) {
  const LinkParameters& link = parameters.link(group.view().tier(0).link);
  TierBytes bytes{};
  bytes[0] = size.value();
  PortTimes ports;
  ports.longest = size.value() / (group.rank_rate(0).value() * link.switch_efficiency);
  ports.seconds[0] = ports.longest;
  return finish(group, parameters, ports, bytes,
                {.fixed = parameters.collective.switch_base.value() + 2 * group.view().tier(0).latency.value()});
}

}  // namespace moesim
