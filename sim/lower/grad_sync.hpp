// Gradient reduction and parameter gathering of one chunk: buckets, and where they go.
//   ZeRO 0    all-reduce of each bucket in the last backward pass
//   ZeRO 1    reduce-scatter there; the updated parameters are gathered in the next first forward pass
//   ZeRO 2    reduce-scatter in every backward pass (only the shard of the gradients is kept)
//   ZeRO 3    as 2, and each layer's parameters are gathered before use in every pass
// Dense parameters are shared by the DP x CP group, expert parameters by EDP; both have a ZeRO stage of their own.
//
// With ZeRO 2 and 3 a whole gradient is there from the operation that first adds to it until its bucket has been reduced. What
// computes must not run ahead of the reductions, or the memory that ZeRO saves is used up by gradients that wait: the first
// operation of a bucket waits until all reductions issued before it have ended but the last kBucketsBehind, and that of a
// pass until all of the passes before it have. FSDP2 does the same by waiting for the reduce-scatter before the last.
// Example, buckets A, B, C of one pass: B fills while A is reduced; C begins when A has been.
#pragma once

#include <vector>

#include "sim/program/program.hpp"

namespace moesim {

// Reductions of a pass that may still run when the next bucket begins to fill.
constexpr std::size_t kBucketsBehind = 1;

enum class WhichPass { kEvery, kFirstForward, kLastBackward };

// Adds kReduceGrads operations to a backward pass, each after the weight gradient that completes its bucket; only those
// that belong into this pass (kLastBackward also holds those of every pass). What is in each goes to `lists`.
void add_grad_reductions(std::vector<Op>& ops, const Chunk& chunk, const Plan& plan, const Layout& layout,
                         WhichPass pass, std::vector<WeightBucket>& lists);

// Adds kGatherParams to a forward or backward pass where ZeRO needs them.
void add_param_gathers(std::vector<Op>& ops, const Chunk& chunk, const Plan& plan, const Layout& layout, WhichPass pass,
                       std::vector<WeightBucket>& lists);

// One operation for the whole chunk instead: when reductions or gathers are not to be overlapped.
[[nodiscard]] std::vector<Op> whole_chunk_reductions(const Chunk& chunk, const Plan& plan, const Layout& layout,
                                                     std::vector<WeightBucket>& lists);
[[nodiscard]] std::vector<Op> whole_chunk_gathers(const Chunk& chunk, const Plan& plan, const Layout& layout,
                                                  std::vector<WeightBucket>& lists);

// Parameters of this rank's shard of the chunk, by the group that replicates them.
struct LocalParameters {
  std::int64_t dense = 0;
  std::int64_t expert = 0;
};
[[nodiscard]] LocalParameters local_parameters(const Chunk& chunk);

// Elements of the message in which a TP group of this size sums the gradients that its ranks have parts of: a weight that
// TP cuts, but into fewer parts than ranks, has a place for each part. 2 heads on 4 ranks: twice what a rank holds.
[[nodiscard]] std::int64_t elements_summed_over_tp(const Chunk& chunk, int tp);

}  // namespace moesim
