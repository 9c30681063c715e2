#include "exec/run/dealt_rows.hpp"

#include <numeric>
#include <span>

#include "sim/program/row_piece.hpp"

namespace moesim {

DealtRows deal_out(const LayerSlots& slots, const std::vector<std::int32_t>& of_expert, int turn) {
  DealtRows dealt;
  dealt.of_slot.assign(static_cast<std::size_t>(slots.slots()), 0);
  const auto count = [&](std::int32_t slot) -> std::int32_t& { return dealt.of_slot[static_cast<std::size_t>(slot)]; };
  const auto experts = static_cast<std::int32_t>(of_expert.size());
  for (std::int32_t expert = 0; expert < experts; ++expert) {
    const std::span<const std::int32_t> standing = slots.slots_of(expert);
    const auto holders = static_cast<int>(standing.size());
    for (int number = 0; number < holders; ++number)
      count(standing[static_cast<std::size_t>(number)]) =
          static_cast<std::int32_t>(dealt_rows(of_expert[static_cast<std::size_t>(expert)], number, holders, turn));
  }
  std::vector<std::int64_t> first(dealt.of_slot.size(), 0);
  std::exclusive_scan(dealt.of_slot.begin(), dealt.of_slot.end(), first.begin(), std::int64_t{0});
  std::int64_t row = 0;
  for (std::int32_t expert = 0; expert < experts; ++expert)
    for (const std::int32_t slot : slots.slots_of(expert)) {
      if (count(slot) == 0) continue;
      dealt.runs.push_back({row, first[static_cast<std::size_t>(slot)], count(slot)});
      row += count(slot);
    }
  return dealt;
}

}  // namespace moesim
