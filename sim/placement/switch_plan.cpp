#include "sim/placement/switch_plan.hpp"

#include <algorithm>

namespace moesim {
namespace {

// The holder to copy from: same node first, then the lowest number.
std::int32_t nearest_holder(const LayerTimeModel& model, const ExpertPlacement& placement, int expert, int device) {
  const auto node = [&](std::int32_t d) { return model.node_of_device[static_cast<std::size_t>(d)]; };
  std::int32_t nearest = -1;
  for (const std::int32_t slot : placement.slots_of(expert)) {
    const auto holder = static_cast<std::int32_t>(placement.device_of_slot(slot));
    if (nearest < 0 || (node(holder) == node(device) && node(nearest) != node(device))) nearest = holder;
  }
  return nearest;
}

double transfer_seconds(PortLoads& ports, std::span<const ExpertTransfer> transfers) {
  ports.clear();
  for (const ExpertTransfer& transfer : transfers) ports.add(transfer.from, transfer.to, transfer.size.value());
  return ports.seconds();
}

}  // namespace

Bytes SwitchPlan::bytes() const {
  Bytes sum;
  for (const ExpertTransfer& transfer : transfers) sum += transfer.size;
  return sum;
}

std::vector<std::int32_t> first_homes(const ExpertPlacement& placement) {
  std::vector<std::int32_t> homes;
  for (int e = 0; e < placement.experts(); ++e)
    homes.push_back(static_cast<std::int32_t>(placement.device_of_slot(placement.slots_of(e).front())));
  return homes;
}

SwitchPlan plan_switch(const LayerTimeModel& model, const ExpertPlacement& before, std::span<const std::int32_t> homes,
                       const ExpertPlacement& after, OptimizerState optimizer) {
  SwitchPlan plan;
  plan.homes.assign(homes.begin(), homes.end());
  for (std::int32_t e = 0; e < after.experts(); ++e) {
    std::int32_t last = -1;
    for (const std::int32_t slot : after.slots_of(e)) {
      const auto device = static_cast<std::int32_t>(after.device_of_slot(slot));
      if (device == last || before.holds(device, e)) continue;
      last = device;
      plan.transfers.push_back({e, nearest_holder(model, before, e, device), device, model.expert.weights});
      ++plan.moves;
    }
    std::int32_t& home = plan.homes[static_cast<std::size_t>(e)];
    if (after.holds(home, e)) continue;
    const auto next = static_cast<std::int32_t>(after.device_of_slot(after.slots_of(e).front()));
    if (optimizer == OptimizerState::kMoves) plan.transfers.push_back({e, home, next, model.expert.optimizer});
    home = next;
  }
  return plan;
}

Seconds switch_seconds(const LayerTimeModel& model, const SwitchPlan& plan, SwitchOrder order) {
  PortLoads ports(model);
  if (order == SwitchOrder::kBatched) return Seconds(transfer_seconds(ports, plan.transfers));
  double seconds = 0;
  for (const ExpertTransfer& transfer : plan.transfers) seconds += transfer_seconds(ports, {&transfer, 1});
  return Seconds(seconds);
}

Seconds copies_seconds(const LayerTimeModel& model, const ExpertPlacement& placement,
                       std::span<const std::int32_t> homes) {
  if (placement.is_permutation()) return Seconds(0);
  std::vector<ExpertTransfer> gradients;
  std::vector<ExpertTransfer> weights;
  for (std::int32_t e = 0; e < placement.experts(); ++e) {
    const std::int32_t home = homes[static_cast<std::size_t>(e)];
    std::int32_t last = -1;
    for (const std::int32_t slot : placement.slots_of(e)) {
      const auto device = static_cast<std::int32_t>(placement.device_of_slot(slot));
      if (device == last || device == home) continue;
      last = device;
      gradients.push_back({e, device, home, model.expert.gradients});
      weights.push_back({e, home, device, model.expert.weights});
    }
  }
  PortLoads ports(model);
  return Seconds(transfer_seconds(ports, gradients) + transfer_seconds(ports, weights));
}

}  // namespace moesim
