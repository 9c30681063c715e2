// All-to-all with its own number of bytes per pair: what a Mixture-of-Experts dispatch is.
//
//   Every rank's bytes are summed by the tier at which it meets the receiver, then over the ranks that share
//   a port, out and in apart; the busiest port of all decides (FasterMoE, PPoPP'22, section 4.1: the maximum
//   over links, not the mean), plus the uniform exchange's latency. On a mesh the busiest pair counts as
//   well. The diagonal is free.
//
// One pass over the matrix, O(n^2); scratch space is kept per thread. Example, 2 ranks, 0 -> 1: 3 GB, 1 -> 0:
// 1 GB at 300 GB/s effective: 10 ms.
#pragma once

#include "models/cost/collective_terms.hpp"
#include "models/cost/cost_model.hpp"

namespace moesim {

[[nodiscard]] ExchangeLoad exchange_load(const GroupTopology& group, const ByteMatrix& units);
[[nodiscard]] CommCost all_to_all_v_cost(const GroupTopology& group, const LawParameters& parameters,
                                         const ExchangeLoad& load, Bytes unit);

// The buffer of an even all-to-all whose busiest port is busy for as long as that of the matrix.
// Example, 2 ranks, 0 -> 1: 3 GB, 1 -> 0: 1 GB: an even exchange of 3 GB each way, that is of buffers of 6 GB.
[[nodiscard]] Bytes even_exchange_as_long(const GroupTopology& group, const LawParameters& parameters,
                                          const ExchangeLoad& load, Bytes unit);

}  // namespace moesim
