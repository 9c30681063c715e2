// Which expert stands in which slot of which device: the placement of one MoE layer over the devices of an EP group.
//
// Slot s belongs to device s / slots_per_device and holds one expert or nothing. An expert may stand in several slots: copies of
// its weights (what EPLB calls physical experts; expert_of_slot() is its phy2log). Invariant, checked by make(): every expert
// stands somewhere, so none is ever lost.
// Worked: 4 experts on 2 devices of 3 slots, contiguous: slots {0 1 - | 2 3 -}; with expert 0 copied to device 1: {0 1 - | 2 3 0}.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "sim/plan/expert_slots.hpp"

namespace moesim {

inline constexpr std::int32_t kEmptySlot = kNoExpert;

struct PlacementSizes {
  int devices = 0;
  int experts = 0;
  int slots_per_device = 0;
  [[nodiscard]] int slots() const { return devices * slots_per_device; }
  // Slots that a device needs for experts without copies: experts / devices, rounded up.
  [[nodiscard]] int least_slots_per_device() const { return (experts + devices - 1) / devices; }
  bool operator==(const PlacementSizes&) const = default;
};
// Positive, and room for every expert.
[[nodiscard]] Status check(const PlacementSizes& sizes);

class ExpertPlacement {
 public:
  // Expert e on device floor(e * devices / experts), experts of a device in ascending order in its first slots. `sizes` must be
  // right (check()).
  [[nodiscard]] static ExpertPlacement contiguous(const PlacementSizes& sizes);
  // An error names a slot with an unknown expert, a wrong number of slots, or an expert that stands nowhere.
  [[nodiscard]] static Result<ExpertPlacement> make(const PlacementSizes& sizes,
                                                    std::vector<std::int32_t> expert_of_slot);

  [[nodiscard]] const PlacementSizes& sizes() const { return sizes_; }
  [[nodiscard]] int devices() const { return sizes_.devices; }
  [[nodiscard]] int experts() const { return sizes_.experts; }
  [[nodiscard]] int device_of_slot(int slot) const { return slot / sizes_.slots_per_device; }

  [[nodiscard]] std::span<const std::int32_t> expert_of_slot() const { return expert_of_slot_; }
  // The slots of one device.
  [[nodiscard]] std::span<const std::int32_t> on(int device) const {
    return expert_of_slot().subspan(
        static_cast<std::size_t>(device) * static_cast<std::size_t>(sizes_.slots_per_device),
        static_cast<std::size_t>(sizes_.slots_per_device));
  }
  // Slots that hold the expert, ascending; never empty. Two of them may be on one device.
  [[nodiscard]] std::span<const std::int32_t> slots_of(int expert) const {
    const auto e = static_cast<std::size_t>(expert);
    return std::span<const std::int32_t>(slots_).subspan(static_cast<std::size_t>(first_slot_[e]),
                                                         static_cast<std::size_t>(first_slot_[e + 1] - first_slot_[e]));
  }
  [[nodiscard]] int copies(int expert) const { return static_cast<int>(slots_of(expert).size()); }
  [[nodiscard]] bool holds(int device, int expert) const;
  // No expert stands in more than one slot.
  [[nodiscard]] bool is_permutation() const { return static_cast<int>(slots_.size()) == sizes_.experts; }
  bool operator==(const ExpertPlacement& other) const {
    return sizes_ == other.sizes_ && expert_of_slot_ == other.expert_of_slot_;
  }

 private:
  ExpertPlacement(const PlacementSizes& sizes, std::vector<std::int32_t> expert_of_slot);

  PlacementSizes sizes_;
  std::vector<std::int32_t> expert_of_slot_;
  std::vector<std::int32_t> first_slot_;  // [expert], into slots_; one more at the end
  std::vector<std::int32_t> slots_;
};

}  // namespace moesim
