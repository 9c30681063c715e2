// Parm's EP&ESP-AlltoAll around the experts (arXiv 2407.00599), in both of its schedules: a copy for every shard of an expert, one
// all-to-all over all ranks of EP x ESP, the experts, the same way back, and the sum of what the shards made at the source.
#pragma once

#include "sim/lower/moe_layer_builder.hpp"

namespace moesim {

// Rows in the order of experts, and what the experts made of them in the same order.
[[nodiscard]] inline TensorId fused_exchange(MoeLayerBuilder& b, RoutedTokens routed) {
  const ParallelSizes& sizes = b.plan().sizes();
  const bool shards = sizes.esp > 1;
  const GroupKind group = shards ? GroupKind::kEpEsp : GroupKind::kEp;
  const bool moves = shards || sizes.ep > 1;
  if (shards) routed = b.replicate(routed);
  if (moves) routed = b.dispatch(routed, group);
  const bool mixed = moves && b.local_experts() > 1;
  if (mixed) routed = b.sort_by_expert(routed);
  TensorId computed = b.experts(routed);
  if (mixed) computed = b.sort_by_source(computed);
  if (moves) computed = b.combine(computed, group);
  return shards ? b.sum_replicas(computed) : computed;
}

}  // namespace moesim
