// The words in which a MoE schedule is written: the general operations of ChunkBuilder, bound to one layer.
#pragma once

#include <string_view>

#include "sim/program/chunk_builder.hpp"

namespace moesim {

class MoeLayerBuilder {
 public:
  MoeLayerBuilder(ChunkBuilder& builder, const MoeShape& shape) : b_(builder), shape_(shape) {}

  [[nodiscard]] const MoeShape& shape() const { return shape_; }
  [[nodiscard]] const Plan& plan() const { return b_.plan(); }
  [[nodiscard]] std::int64_t local_experts() const { return shape_.experts / plan().sizes().ep; }

  // Who goes where and with what weight, from the router: [tokens, 2 * top_k].
  TensorId gate(TensorId x);
  RoutedTokens permute(TensorId x, TensorId gate);                // token copies in the order of their experts
  RoutedTokens replicate(const RoutedTokens& x);                  // a copy for each shard of its expert
  RoutedTokens dispatch(const RoutedTokens& x, GroupKind group);  // to the ranks of their experts
  RoutedTokens share(const RoutedTokens& x, GroupKind group);     // all-gather: every shard needs every copy
  RoutedTokens sort_by_expert(const RoutedTokens& x);             // needed when a rank holds several experts
  TensorId experts(const RoutedTokens& x);                        // the local experts' (shard of the) FFN
  TensorId sort_by_source(TensorId x);
  TensorId sum_shards(TensorId x, GroupKind group);  // reduce-scatter of partial results
  TensorId combine(TensorId x, GroupKind group);     // back to the ranks the copies came from
  TensorId sum_replicas(TensorId x);                 // what the shards made of a copy, added up
  TensorId unpermute(TensorId x, TensorId gate);     // sum of each token's copies
  // The shared experts' contribution added to y, or y when the layer has none.
  TensorId add_shared_experts(TensorId y, TensorId x);

 private:
  ChunkBuilder& b_;
  const MoeShape& shape_;
  std::int64_t tokens_ = 0;  // rows of the gate's input
};

}  // namespace moesim
