// How many experts of a layer may be shadowed: what layers and plans are tried with.
#pragma once

#include <span>
#include <vector>

#include "sim/lower/moe_schedule.hpp"

namespace moesim {

// For one layer: none; where the gate's choice is known and the schedule shadows experts also 1, 2, 3, 4, 6, 8, 12, 16, 24 ... and all
// of them. In between the layer's time need not fall or rise steadily, so all of these are played. Without a trace no expert is hot.
// Example: 16 experts: 0 1 2 3 4 6 8 12 16.
[[nodiscard]] std::vector<int> shadow_counts(const MoeSchedule& schedule, const Plan& plan, const MoeShape& shape,
                                             const RoutedLoads& loads);

// For whole plans, where each number prices the exchanges of every layer anew: none, 1, 2 and 4, as long as that is at most an eighth of
// the experts. A few hot ones are what shadowing is for. Example: 16 experts: 0 1 2.
[[nodiscard]] std::vector<int> few_shadows(const MoeShape& shape);
// Those of `wanted` that the schedule can shadow under this plan, in that order; {0} where it can none of them.
[[nodiscard]] std::vector<int> possible_shadows(const MoeSchedule& schedule, const Plan& plan, const MoeShape& shape,
                                                std::span<const int> wanted);

}  // namespace moesim
