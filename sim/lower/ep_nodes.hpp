// How many members of an EP group stand on one node, for schedules that send a token once to each (MoeSchedule::visits).
#pragma once

#include "models/cluster/cluster_view.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {

// The largest n that divides ep such that every run of n consecutive members of every EP group stands on one node, or in one domain
// of NVLink or xGMI where that is larger (a rack of NVL72). EP 16 on nodes of 8: 8; EP 16 over every second rank: 4; 1 where
// neighbours stand apart.
[[nodiscard]] int ep_members_on_node(const Layout& layout, const ClusterView& view);

// The plan with ep_on_node as its MoE schedule asks for: these members, or 1. A schedule that there is not leaves it as it is.
[[nodiscard]] Result<Plan> with_ep_nodes(Plan plan, const ClusterView& view);

}  // namespace moesim
