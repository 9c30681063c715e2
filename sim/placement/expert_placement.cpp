#include "sim/placement/expert_placement.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace moesim {

Status check(const PlacementSizes& sizes) {
  constexpr const char* kWhere = "expert placement";
  if (sizes.devices < 1 || sizes.experts < 1 || sizes.slots_per_device < 1)
    return invalid_input("devices, experts and slots must be positive", kWhere);
  if (sizes.slots_per_device < sizes.least_slots_per_device())
    return invalid_input(fmt::format("{} devices of {} slots have no room for {} experts", sizes.devices,
                                     sizes.slots_per_device, sizes.experts),
                         kWhere, fmt::format("at least {} slots are needed", sizes.least_slots_per_device()));
  return {};
}

ExpertPlacement::ExpertPlacement(const PlacementSizes& sizes, std::vector<std::int32_t> expert_of_slot)
    : sizes_(sizes), expert_of_slot_(std::move(expert_of_slot)) {
  first_slot_.assign(static_cast<std::size_t>(sizes_.experts) + 1, 0);
  for (const std::int32_t expert : expert_of_slot_)
    if (expert != kEmptySlot) ++first_slot_[static_cast<std::size_t>(expert) + 1];
  for (std::size_t e = 1; e < first_slot_.size(); ++e) first_slot_[e] += first_slot_[e - 1];
  slots_.resize(static_cast<std::size_t>(first_slot_.back()));
  std::vector<std::int32_t> next(first_slot_.begin(), first_slot_.end() - 1);
  for (std::size_t slot = 0; slot < expert_of_slot_.size(); ++slot) {
    const std::int32_t expert = expert_of_slot_[slot];
    if (expert == kEmptySlot) continue;
    slots_[static_cast<std::size_t>(next[static_cast<std::size_t>(expert)]++)] = static_cast<std::int32_t>(slot);
  }
}

ExpertPlacement ExpertPlacement::contiguous(const PlacementSizes& sizes) {
  MOESIM_ASSERT(check(sizes).has_value());
  std::vector<std::int32_t> slots(static_cast<std::size_t>(sizes.slots()), kEmptySlot);
  std::vector<int> used(static_cast<std::size_t>(sizes.devices), 0);
  for (int e = 0; e < sizes.experts; ++e) {
    const auto device = static_cast<int>(std::int64_t{e} * sizes.devices / sizes.experts);
    slots[static_cast<std::size_t>(device * sizes.slots_per_device + used[static_cast<std::size_t>(device)]++)] = e;
  }
  return {sizes, std::move(slots)};
}

Result<ExpertPlacement> ExpertPlacement::make(const PlacementSizes& sizes, std::vector<std::int32_t> expert_of_slot) {
  MOESIM_TRY(check(sizes));
  constexpr const char* kWhere = "expert placement";
  if (static_cast<int>(expert_of_slot.size()) != sizes.slots())
    return invalid_input(fmt::format("{} slots are given, there are {}", expert_of_slot.size(), sizes.slots()), kWhere);
  std::vector<bool> placed(static_cast<std::size_t>(sizes.experts), false);
  for (std::size_t slot = 0; slot < expert_of_slot.size(); ++slot) {
    const std::int32_t expert = expert_of_slot[slot];
    if (expert == kEmptySlot) continue;
    if (expert < 0 || expert >= sizes.experts)
      return invalid_input(fmt::format("slot {} holds expert {} of {}", slot, expert, sizes.experts), kWhere);
    placed[static_cast<std::size_t>(expert)] = true;
  }
  const auto lost = std::find(placed.begin(), placed.end(), false);
  if (lost != placed.end())
    return invalid_input(fmt::format("expert {} stands in no slot", lost - placed.begin()), kWhere);
  return ExpertPlacement(sizes, std::move(expert_of_slot));
}

bool ExpertPlacement::holds(int device, int expert) const {
  const auto here = on(device);
  return std::find(here.begin(), here.end(), expert) != here.end();
}

}  // namespace moesim
