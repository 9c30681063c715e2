// Double binary trees between nodes with a chain inside each (NCCL's tree; Sanders, Speck, Traeff 2009).
//
//   A node is an inner node of one tree and a leaf of the other, and each tree carries half of the buffer:
//   per direction a node passes S with 2 nodes (one edge), 1.5 S with 3, 2 S with more; inside, the chain
//   passes S up and S down. latency: 2 * (ranks_per_node - 1) hops inside and 2 * ceil(log2(nodes)) across; a
//   broadcast pays each once.
//
// Example, 32 nodes of 1 rank, 10 us per hop: 2 * 5 * 10 = 100 us, where a ring takes 62 hops.
#pragma once

#include "models/cost/collective_terms.hpp"

namespace moesim {

// All-reduce and broadcast over more than one node.
[[nodiscard]] bool tree_applies(CollectiveKind kind, const GroupTopology& group);
[[nodiscard]] CommCost tree_cost(CollectiveKind kind, const GroupTopology& group, const LawParameters& parameters,
                                 Bytes size);

}  // namespace moesim
