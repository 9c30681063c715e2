#include "sim/placement/greedy_placement.hpp"

#include <algorithm>
#include <numeric>

namespace moesim {
namespace {

// Devices by expert -> slots: those that stay keep theirs, newcomers fill what is free in ascending order.
std::vector<std::int32_t> stable_slots(const std::vector<std::int32_t>& device_of, const ExpertPlacement& current) {
  std::vector<std::int32_t> slots(static_cast<std::size_t>(current.sizes().slots()), kEmptySlot);
  std::vector<std::int32_t> newcomers;
  for (int e = 0; e < current.experts(); ++e) {
    const std::int32_t old = current.slots_of(e).front();
    if (current.device_of_slot(old) == device_of[static_cast<std::size_t>(e)])
      slots[static_cast<std::size_t>(old)] = e;
    else
      newcomers.push_back(e);
  }
  for (const std::int32_t e : newcomers) {
    auto slot = static_cast<std::size_t>(device_of[static_cast<std::size_t>(e)]) *
                static_cast<std::size_t>(current.sizes().slots_per_device);
    while (slots[slot] != kEmptySlot) ++slot;
    slots[slot] = e;
  }
  return slots;
}

}  // namespace

std::vector<std::int32_t> by_falling_load(std::span<const double> loads) {
  std::vector<std::int32_t> order(loads.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return loads[static_cast<std::size_t>(a)] > loads[static_cast<std::size_t>(b)];
  });
  return order;
}

std::vector<double> device_loads(std::span<const double> loads, const ExpertPlacement& placement) {
  std::vector<double> result(static_cast<std::size_t>(placement.devices()), 0.0);
  for (int e = 0; e < placement.experts(); ++e)
    for (const std::int32_t slot : placement.slots_of(e))
      result[static_cast<std::size_t>(placement.device_of_slot(slot))] +=
          loads[static_cast<std::size_t>(e)] / placement.copies(e);
  return result;
}

double busiest_device_load(std::span<const double> loads, const ExpertPlacement& placement) {
  const std::vector<double> by_device = device_loads(loads, placement);
  return *std::max_element(by_device.begin(), by_device.end());
}

ExpertPlacement greedy_placement(std::span<const double> loads, const ExpertPlacement& current,
                                 const GreedyOptions& options) {
  MOESIM_ASSERT(current.is_permutation());
  const PlacementSizes& sizes = current.sizes();
  const int places = sizes.least_slots_per_device();
  const std::vector<std::int32_t> own_order =
      options.order.empty() ? by_falling_load(loads) : std::vector<std::int32_t>{};
  const std::span<const std::int32_t> order = options.order.empty() ? own_order : options.order;
  MOESIM_ASSERT(order.size() == loads.size());

  const auto devices = static_cast<std::size_t>(sizes.devices);
  std::vector<double> load(devices, 0.0);
  std::vector<int> used(devices, 0);
  std::vector<std::int32_t> device_of(loads.size(), 0);
  std::vector<std::int32_t> slots(static_cast<std::size_t>(sizes.slots()), kEmptySlot);
  for (const std::int32_t expert : order) {
    std::size_t chosen = devices;
    for (std::size_t d = 0; d < devices; ++d)
      if (used[d] < places && (chosen == devices || load[d] < load[chosen])) chosen = d;
    const auto old = static_cast<std::size_t>(current.device_of_slot(current.slots_of(expert).front()));
    if (used[old] < places && load[old] == load[chosen]) chosen = old;
    device_of[static_cast<std::size_t>(expert)] = static_cast<std::int32_t>(chosen);
    slots[chosen * static_cast<std::size_t>(sizes.slots_per_device) + static_cast<std::size_t>(used[chosen]++)] =
        expert;
    load[chosen] += loads[static_cast<std::size_t>(expert)];
  }
  if (options.slots == GreedySlots::kStable) slots = stable_slots(device_of, current);
  Result<ExpertPlacement> placement = ExpertPlacement::make(sizes, std::move(slots));
  MOESIM_ASSERT(placement.has_value());
  return std::move(*placement);
}

}  // namespace moesim
