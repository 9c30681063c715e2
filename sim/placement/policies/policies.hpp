// The policies, each in a file of this folder that says what it does.
#pragma once

#include "sim/placement/policy.hpp"

namespace moesim {

[[nodiscard]] const PlacementPolicy& contiguous_policy();
[[nodiscard]] const PlacementPolicy& greedy_policy();
[[nodiscard]] const PlacementPolicy& local_search_policy();
[[nodiscard]] const PlacementPolicy& co_activation_policy();
[[nodiscard]] const PlacementPolicy& shadow_policy();
[[nodiscard]] const PlacementPolicy& eplb_global_policy();
[[nodiscard]] const PlacementPolicy& eplb_hierarchical_policy();
[[nodiscard]] const PlacementPolicy& flex_policy();
[[nodiscard]] const PlacementPolicy& laer_policy();
[[nodiscard]] const PlacementPolicy& lp_split_policy();

}  // namespace moesim
