#include "sim/placement/token_spread.hpp"

#include <algorithm>
#include <cmath>

namespace moesim {

std::vector<std::int32_t> devices_of_experts(const PlacementDecision& decision) {
  MOESIM_ASSERT(decision.placement.is_permutation());
  std::vector<std::int32_t> devices;
  for (int e = 0; e < decision.placement.experts(); ++e)
    devices.push_back(decision.placement.device_of_slot(decision.placement.slots_of(e).front()));
  for (const std::int32_t shadowed : decision.shadowed) devices[static_cast<std::size_t>(shadowed)] = -1;
  return devices;
}

TokenSpread token_spread(const TokenSet& tokens, const PlacementDecision& decision,
                         std::span<const std::int32_t> node_of_device) {
  const std::vector<std::int32_t> device_of = devices_of_experts(decision);
  TokenSpread spread;
  if (tokens.size() == 0) return spread;
  double squares = 0;
  std::vector<std::int32_t> devices, nodes;
  const auto distinct = [](std::vector<std::int32_t>& list) {
    std::sort(list.begin(), list.end());
    return static_cast<double>(std::unique(list.begin(), list.end()) - list.begin());
  };
  for (std::size_t token = 0; token < tokens.size(); ++token) {
    devices.clear();
    nodes.clear();
    for (const std::int32_t expert : tokens.of(token)) {
      const std::int32_t device = expert < 0 ? -1 : device_of[static_cast<std::size_t>(expert)];
      if (device < 0) continue;
      devices.push_back(device);
      nodes.push_back(node_of_device[static_cast<std::size_t>(device)]);
    }
    spread.devices += distinct(devices);
    const double visited = distinct(nodes);
    spread.nodes += visited;
    squares += visited * visited;
  }
  const auto count = static_cast<double>(tokens.size());
  spread.devices /= count;
  spread.nodes /= count;
  if (tokens.sampled() && count > 1) {
    const double variance = std::max(0.0, (squares - count * spread.nodes * spread.nodes) / (count - 1));
    spread.nodes_error = std::sqrt(variance / count * (1 - count / static_cast<double>(tokens.seen)));
  }
  return spread;
}

}  // namespace moesim
