// How many shadowed experts a layer is played with.
#pragma once

#include <vector>

#include "sim/lower/moe_schedule.hpp"

namespace moesim {

// None; where the gate's choice is known and the schedule shadows experts also 1, 2, 3, 4, 6, 8, 12, 16, 24 ... and all of them. In
// between the layer's time need not fall or rise steadily, so all of these are played. Without a trace no expert is hot.
// Example: 16 experts: 0 1 2 3 4 6 8 12 16.
[[nodiscard]] std::vector<int> shadow_counts(const MoeSchedule& schedule, const Plan& plan, const MoeShape& shape,
                                             const RoutedLoads& loads);

}  // namespace moesim
