// Homes and guests of one MoE layer.
//
// An expert may stand on several devices of an EP group, each of which computes a share of its token copies. One of its slots is its
// *home*: there stand the master weights and the optimizer's state, there gradients are summed. The others are *guests*: they get
// the home's weights at the beginning of a step and hand their gradients back at its end. Home is the slot nearest to the front
// of its device, of several the one on the first device; so whoever writes a plan chooses it by the order in which a device lists
// its experts. What a device keeps state for are its places up to the last home that any device has, so that all ranks of a stage
// hold tensors of one shape: with a permutation in front and guests behind, exactly experts / devices of them.
//
// Worked, 4 experts on 2 devices of 3 slots, {0 1 3 | 2 3 0}: homes are slot 0 (place 0) of expert 0, slot 1 of 1, slot 3 of 2 and slot 4
// (place 1, slot 2 is in place 2) of 3; slots 2 and 5 are guests; 2 places with state. {0 1 2 | 3 0 -}: homes are 0, 1, 2 and 3
// and the places with state 3, of which device 1 uses one.
//
// Token copies that one source has for an expert are dealt out evenly over its slots (dealt_rows), so that whoever knows the
// source's counts knows the shares.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/plan/expert_slots.hpp"

namespace moesim {

class LayerSlots {
 public:
  // Of slots that have passed check_plan().
  LayerSlots(const ExpertSlots& slots, int moe_layer, std::int64_t experts, int devices);

  [[nodiscard]] std::int64_t slots() const { return static_cast<std::int64_t>(expert_of_slot_.size()); }
  [[nodiscard]] std::int64_t per_device() const { return per_device_; }
  [[nodiscard]] int device_of(std::int64_t slot) const { return static_cast<int>(slot / per_device_); }
  [[nodiscard]] std::int64_t place_of(std::int64_t slot) const { return slot % per_device_; }
  [[nodiscard]] std::int32_t expert(std::int64_t slot) const { return expert_of_slot_[static_cast<std::size_t>(slot)]; }
  [[nodiscard]] std::int64_t experts() const { return static_cast<std::int64_t>(home_.size()); }
  // Ascending; never empty.
  [[nodiscard]] std::span<const std::int32_t> slots_of(std::int32_t expert) const {
    const auto e = static_cast<std::size_t>(expert);
    return std::span(slots_of_).subspan(first_[e], first_[e + 1] - first_[e]);
  }
  [[nodiscard]] std::int32_t home(std::int32_t expert) const { return home_[static_cast<std::size_t>(expert)]; }
  [[nodiscard]] bool is_guest(std::int64_t slot) const {
    return expert(slot) != kNoExpert && home(expert(slot)) != slot;
  }
  // Places of a device that have master weights and optimizer's state.
  [[nodiscard]] std::int64_t places_with_state() const { return places_with_state_; }

 private:
  std::vector<std::int32_t> expert_of_slot_;
  std::int64_t per_device_;
  std::vector<std::size_t> first_;  // [expert] and the end, into slots_of_
  std::vector<std::int32_t> slots_of_;
  std::vector<std::int32_t> home_;  // [expert]
  std::int64_t places_with_state_ = 0;
};

// The slots of one device as a plan lists them, homes first, so that the device with most homes has as few as the copies allow;
// `expert_of_slot` may have experts in any order, kNoExpert, and experts twice on one device: of those the second stays out and
// leaves its slot empty. Worked, 4 experts on 2 devices of 3 slots, {1 0 2 | 0 1 3}: expert 2 can be at home on device 0 only, 3 on
// device 1; of 0 and 1 each device takes one: {1 2 0 | 0 3 1}.
[[nodiscard]] std::vector<std::int32_t> homes_first(std::span<const std::int32_t> expert_of_slot, std::int64_t experts,
                                                    int devices);

}  // namespace moesim
