// Entry and exit of a tensor-parallel region (Megatron's f and g operators).
//   with sequence parallelism     all-gather in, reduce-scatter out; rows outside are tokens / TP
//   without                       identity in (all-reduce of the gradient), all-reduce out
#pragma once

#include "sim/program/chunk_builder.hpp"

namespace moesim {

[[nodiscard]] inline TensorId enter_tp(ChunkBuilder& b, std::string_view name, TensorId x) {
  if (b.plan().sizes().tp == 1) return x;
  if (b.plan().sequence_parallel) return b.all_gather(name, x, GroupKind::kTp, Stream::kTp);
  return b.enter_replicated(name, x, GroupKind::kTp, Stream::kTp);
}

[[nodiscard]] inline TensorId exit_tp(ChunkBuilder& b, std::string_view name, TensorId y) {
  if (b.plan().sizes().tp == 1) return y;
  if (b.plan().sequence_parallel) return b.reduce_scatter(name, y, GroupKind::kTp, Stream::kTp);
  return b.all_reduce(name, y, GroupKind::kTp, Stream::kTp);
}

// Rows of an activation outside tensor-parallel regions.
[[nodiscard]] inline std::int64_t rows_outside_tp(const Plan& plan) {
  const std::int64_t tokens = plan.tokens_per_micro_batch();
  return plan.sequence_parallel ? tokens / plan.sizes().tp : tokens;
}

}  // namespace moesim
