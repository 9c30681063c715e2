#include "sim/lower/moe_layer_builder.hpp"

#include "sim/lower/ffn.hpp"

namespace moesim {

TensorId MoeLayerBuilder::gate(TensorId x) {
  tokens_ = b_.tensor(x).rows.count;
  const TensorId logits = b_.linear("gate.router", x,
                                    {.in = b_.model().hidden,
                                     .out = shape_.experts,
                                     .bias = shape_.router_bias,
                                     .high_precision = true,
                                     .on_tp = OnTp::kSame});
  TensorId correction;
  if (shape_.score_correction_bias) correction = b_.parameter("gate.correction_bias", shape_.experts, OnTp::kSame);
  return b_.top_k("gate.top_k", logits, shape_.top_k, correction);
}

RoutedTokens MoeLayerBuilder::permute(TensorId x, TensorId gate) {
  return b_.permute("moe.permute", x, gate, shape_.top_k);
}

RoutedTokens MoeLayerBuilder::replicate(const RoutedTokens& x) { return b_.replicate("moe.replicate", x); }

RoutedTokens MoeLayerBuilder::dispatch(const RoutedTokens& x, GroupKind group) {
  return b_.dispatch("moe.dispatch", x, group);
}

RoutedTokens MoeLayerBuilder::share(const RoutedTokens& x, GroupKind group) {
  return b_.all_gather("moe.share", x, group, Stream::kEsp);
}

RoutedTokens MoeLayerBuilder::sort_by_expert(const RoutedTokens& x) { return b_.sort_by_expert("moe.sort", x); }

TensorId MoeLayerBuilder::experts(const RoutedTokens& x) {
  const std::int64_t width = shape_.expert.width / plan().sizes().esp;
  const LinearShape up{.in = b_.model().hidden,
                       .out = shape_.expert.gated ? 2 * width : width,
                       .groups = local_experts(),
                       .replicas = GroupKind::kEdp,
                       .bias = shape_.expert.bias};
  const LinearShape down{.in = width,
                         .out = b_.model().hidden,
                         .groups = local_experts(),
                         .replicas = GroupKind::kEdp,
                         .bias = shape_.expert.bias,
                         .bias_on_every_shard = true};
  const TensorId raised = b_.linear("experts.up", x.tokens, up);
  const TensorId activated = b_.weighted_activation("experts.activation", {raised, x.weights}, shape_.expert.gated);
  return b_.linear("experts.down", activated, down);
}

TensorId MoeLayerBuilder::sort_by_source(TensorId x) { return b_.sort_by_source("moe.sort_back", x); }

TensorId MoeLayerBuilder::sum_shards(TensorId x, GroupKind group) {
  return b_.reduce_scatter("moe.sum_shards", x, group, Stream::kEsp);
}

TensorId MoeLayerBuilder::combine(TensorId x, GroupKind group) { return b_.combine("moe.combine", x, group); }

TensorId MoeLayerBuilder::sum_replicas(TensorId x) { return b_.sum_replicas("moe.sum_replicas", x); }

TensorId MoeLayerBuilder::unpermute(TensorId x, TensorId gate) {
  return b_.unpermute("moe.unpermute", x, gate, tokens_);
}

TensorId MoeLayerBuilder::add_shared_experts(TensorId y, TensorId x) {
  if (shape_.shared.width == 0) return y;
  const TensorId shared = lower_ffn(b_, x, shape_.shared, FfnPlace::kShared);
  if (shape_.shared_gate) b_.parameter("shared.gate", b_.model().hidden, OnTp::kSame);
  return b_.add("shared.add", y, shared);
}

}  // namespace moesim
