// All-reduce in the switches of the network (SHARP; Graham et al., COMHPC 2016): within a node the buffer is reduced to one piece per
// rank, each piece goes up a tree of switches once and its sum comes down once, and the node gathers the pieces.
//
//   T = base + [reduce-scatter and all-gather inside: 2 (g-1)/g S, 2 (g-1) steps] + S/g across and 2 hops of the outermost tier
//
// S is the buffer, g the ranks of a node in the group, which is the same for all nodes; the rate across is that of a one-way transfer,
// both directions being used at once. A ring sends 2 (N-1)/N S/g over a NIC, so that for many nodes this halves what leaves it.
// Only where the cluster's network says `reduces` at every tier that the group crosses outside its nodes.
//
// Example, 1 GB over 4 nodes of 2, 100 GB/s inside, NICs of 10 GB/s, 1 us and 10 us: 1 GB inside in 10 ms, 2 steps; 0.5 GB across in
// 50 ms, 2 hops of 10 us.
#pragma once

#include "models/cost/collective_terms.hpp"

namespace moesim {

[[nodiscard]] bool network_applies(CollectiveKind kind, const GroupTopology& group);
[[nodiscard]] CommCost network_cost(const GroupTopology& group, const LawParameters& parameters, Bytes size);

}  // namespace moesim
