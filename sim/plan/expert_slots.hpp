// Where the experts of a MoE layer stand. EP member i has the slots [i * S / EP, (i + 1) * S / EP) of a layer's S; which expert stands
// in a slot is data of the plan. What moves and computes copies knows slots only, what the gate chooses and a model's file knows
// experts; the two meet in the routing map (exec/run), in the loads (RoutedLoads) and in which matrix a rank holds (weight_shards).
// Example, 4 experts over EP 2 as {3, 0, 1, 2}: member 0 has experts 3 and 0; a copy for expert 1 goes to slot 2, on member 1.
//
// With more slots than experts an expert may stand on several devices, as EPLB, FlexMoE and Lazarus place hot ones, and a slot may
// stay empty. One of its slots is then its home, the others are guests (layer_slots.hpp).
#pragma once

#include <cstdint>
#include <vector>

namespace moesim {

inline constexpr std::int32_t kNoExpert = -1;  // of an empty slot

struct ExpertSlots {
  std::vector<std::vector<std::int32_t>> expert_at;  // [moe layer][slot]; empty: expert e in slot e, in every layer
  bool operator==(const ExpertSlots&) const = default;

  [[nodiscard]] bool in_order() const { return expert_at.empty(); }
  // Of a layer; the same in all.
  [[nodiscard]] std::int64_t slots(std::int64_t experts) const {
    return in_order() ? experts : static_cast<std::int64_t>(expert_at.front().size());
  }
  [[nodiscard]] bool has_spare(std::int64_t experts) const { return slots(experts) > experts; }
  [[nodiscard]] std::int32_t expert(int moe_layer, std::int64_t slot) const {
    if (in_order()) return static_cast<std::int32_t>(slot);
    return expert_at[static_cast<std::size_t>(moe_layer)][static_cast<std::size_t>(slot)];
  }
  // [expert], of a layer that is not in order and has no spare slots.
  [[nodiscard]] std::vector<std::int32_t> slots_of(int moe_layer) const {
    const std::vector<std::int32_t>& experts = expert_at[static_cast<std::size_t>(moe_layer)];
    std::vector<std::int32_t> slots(experts.size());
    for (std::size_t slot = 0; slot < experts.size(); ++slot)
      slots[static_cast<std::size_t>(experts[slot])] = static_cast<std::int32_t>(slot);
    return slots;
  }
};

}  // namespace moesim
