// Two-level collectives over nodes with equally many ranks g of the group each (N nodes): inside the node,
// then between ranks of equal index, so that every NIC carries 1/g.
//
//   all-reduce: reduce-scatter of S inside, all-reduce of S/g across, all-gather of S inside
//   all-gather, reduce-scatter: S/g across, then (before) S inside
//   all-to-all (Tutel's 2DH): every rank exchanges S inside, then S across, with g-1 + N-1 peers instead of
//   n-1
//
// The phases follow one another; bytes per NIC are those of a ring, the latency grows with g + N instead of g
// * N. Example, all-gather over 8 x 8 ranks, 10 us inside per hop and 20 across: 7*20 + 7*10 = 210 us where a
// ring takes 63 hops.
#pragma once

#include "models/cost/collective_terms.hpp"

namespace moesim {

[[nodiscard]] bool hierarchical_applies(CollectiveKind kind, const GroupTopology& group);
[[nodiscard]] CommCost hierarchical_cost(CollectiveKind kind, const GroupTopology& group,
                                         const LawParameters& parameters, Bytes size);

}  // namespace moesim
