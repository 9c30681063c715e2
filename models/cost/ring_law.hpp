// Ring collectives: every rank passes pieces of 1/n to its neighbour.
//
//   bytes that each rank passes on: all-reduce 2(n-1)/n * S, all-gather and reduce-scatter (n-1)/n * S,
//   broadcast S (Patarasuk & Yuan, JPDC 2009; nccl-tests' busbw factors). NCCL runs one ring per NIC, so what
//   leaves a node is spread over the NICs of the group's ranks there: W/ranks_per_node per rank and
//   direction, the rest inside. latency: one hop per step, n-1 steps (2(n-1) for all-reduce); of n hops round
//   the ring one per node crosses.
//
// Example, all-reduce of 1 GB over 8 ranks at 450 GB/s and 0.8: 1.75 GB / 360 GB/s = 4.86 ms.
#pragma once

#include "models/cost/collective_terms.hpp"

namespace moesim {

[[nodiscard]] CommCost ring_cost(CollectiveKind kind, const GroupTopology& group, const LawParameters& parameters,
                                 Bytes size);

}  // namespace moesim
