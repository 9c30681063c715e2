// Token copies of experts that stand in several slots, dealt out over these: as RoutedLoads counts them (by_slot).
#pragma once

#include <cstdint>
#include <vector>

#include "exec/compute/routing_args.hpp"
#include "sim/plan/layer_slots.hpp"

namespace moesim {

// Which rows of a map by expert become those of which slot, and how many each slot has.
struct DealtRows {
  std::vector<RowRun> runs;
  std::vector<std::int32_t> of_slot;
};
// Worked, slots {0 1 3 | 2 3 0} and 5, 1, 2 and 3 copies at turn 0: slots 0 and 5 get 2 and 3 of expert 0, slots 2 and 4 get 1 and 2 of
// expert 3. Rows 0-1 stay, 2-4 go to 8, 5 to 2, 6-7 to 4, 8 to 3 and 9-10 to 6.
[[nodiscard]] DealtRows deal_out(const LayerSlots& slots, const std::vector<std::int32_t>& of_expert, int turn);

}  // namespace moesim
