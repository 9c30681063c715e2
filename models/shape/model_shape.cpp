#include "models/shape/model_shape.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace moesim {
namespace {

Status in_range(std::string_view field, std::int64_t value, std::int64_t smallest, std::int64_t largest) {
  if (value >= smallest && value <= largest) return {};
  return invalid_input(fmt::format("{} is {}, outside {} to {}", field, value, smallest, largest));
}

Status check_grouped(const AttentionShape& a) {
  if (a.heads % a.kv_heads != 0)
    return invalid_input(fmt::format("{} attention heads do not divide among {} key-value heads", a.heads, a.kv_heads));
  return {};
}

Status check_mla(const AttentionShape& a) {
  MOESIM_TRY(in_range("q_lora", a.q_lora, 0, ShapeLimits::kHidden));
  MOESIM_TRY(in_range("kv_lora", a.kv_lora, 1, ShapeLimits::kHidden));
  MOESIM_TRY(in_range("qk_nope", a.qk_nope, 0, ShapeLimits::kHeadDim));
  MOESIM_TRY(in_range("qk_rope", a.qk_rope, 0, ShapeLimits::kHeadDim));
  if (a.qk_nope + a.qk_rope != a.head_dim)
    return invalid_input(fmt::format("head_dim {} is not qk_nope {} + qk_rope {}", a.head_dim, a.qk_nope, a.qk_rope));
  return {};
}

Status check_linear(const AttentionShape& a) {
  MOESIM_TRY(in_range("convolution kernel", a.conv_kernel, 0, 1024));
  MOESIM_TRY(in_range("gate rank", a.gate_rank, 0, ShapeLimits::kHidden));
  return check_grouped(a);
}

Status check_attention(const AttentionShape& a) {
  MOESIM_TRY(in_range("attention heads", a.heads, 1, ShapeLimits::kHeads));
  MOESIM_TRY(in_range("key-value heads", a.kv_heads, 1, ShapeLimits::kHeads));
  MOESIM_TRY(in_range("head_dim", a.head_dim, 1, ShapeLimits::kHeadDim));
  MOESIM_TRY(in_range("value_head_dim", a.value_head_dim, 1, ShapeLimits::kHeadDim));
  MOESIM_TRY(in_range("attention window", a.window, 0, ShapeLimits::kPositions));
  switch (a.kind) {
    case AttentionKind::kGrouped: return check_grouped(a);
    case AttentionKind::kMla: return check_mla(a);
    case AttentionKind::kLinear: return check_linear(a);
  }
  return invalid_input("attention is of no known kind");
}

Status check_moe(const MoeShape& moe) {
  MOESIM_TRY(in_range("experts", moe.experts, 1, ShapeLimits::kExperts));
  MOESIM_TRY(in_range("expert width", moe.expert.width, 1, ShapeLimits::kWidth));
  MOESIM_TRY(in_range("shared expert width", moe.shared.width, 0, ShapeLimits::kWidth));
  if (moe.top_k < 1 || moe.top_k > moe.experts)
    return invalid_input(fmt::format("top_k is {}, outside 1 to the {} experts", moe.top_k, moe.experts));
  if (moe.shared_gate && moe.shared.width == 0) return invalid_input("a shared gate without a shared expert");
  if (moe.groups == 0 && moe.top_groups == 0) return {};
  MOESIM_TRY(in_range("expert groups", moe.groups, 1, moe.experts));
  MOESIM_TRY(in_range("expert groups per token", moe.top_groups, 1, moe.groups));
  if (moe.experts % moe.groups != 0)
    return invalid_input(fmt::format("{} experts do not divide into {} groups", moe.experts, moe.groups));
  const std::int64_t reachable = moe.experts / moe.groups * moe.top_groups;
  if (moe.top_k > reachable)
    return invalid_input(
        fmt::format("top_k {} is more than the {} experts of {} groups", moe.top_k, reachable, moe.top_groups));
  return {};
}

Status check_layer(const LayerShape& layer) {
  MOESIM_TRY(check_attention(layer.attention));
  MOESIM_TRY(in_range("norms", layer.norms, 0, ShapeLimits::kNorms));
  if (layer.dense.has_value() == layer.moe.has_value())
    return invalid_input("a layer needs either a dense FFN or a MoE block");
  if (layer.dense) return in_range("FFN width", layer.dense->width, 1, ShapeLimits::kWidth);
  return check_moe(*layer.moe);
}

Status check_layers(const ModelShape& shape) {
  const std::int64_t layers = static_cast<std::int64_t>(shape.layers.size());
  MOESIM_TRY(in_range("number of layers", layers, 1, ShapeLimits::kLayers));
  for (const std::int32_t kind : shape.layers)
    MOESIM_TRY(in_range("layer kind", kind, 0, static_cast<std::int64_t>(shape.kinds.size()) - 1));
  for (std::size_t kind = 0; kind < shape.kinds.size(); ++kind) {
    const auto first = std::find(shape.layers.begin(), shape.layers.end(), static_cast<std::int32_t>(kind));
    if (first == shape.layers.end()) return invalid_input(fmt::format("layer kind {} is used by no layer", kind));
    if (Status status = check_layer(shape.kinds[kind]); !status)
      return invalid_input(fmt::format("layer {}: {}", first - shape.layers.begin(), status.error().what));
  }
  return {};
}

// One layer of legal sizes stays below 4e18 numbers, so that this sum cannot overflow before it stops.
Status check_parameters(const ModelShape& shape) {
  std::int64_t sum = 2 * shape.vocab * shape.hidden;
  for (int i = 0; i < shape.layer_count() && sum <= ShapeLimits::kParameters; ++i) {
    const LayerParameters layer = count_layer(shape, LayerId(i));
    const LayerShape& kind = shape.layer(LayerId(i));
    sum += layer.attention + layer.norms + layer.dense_ffn + layer.router + layer.shared;
    if (kind.moe) sum += layer.one_expert * kind.moe->experts;
  }
  if (sum <= ShapeLimits::kParameters) return {};
  return invalid_input(
      fmt::format("the sizes add up to more than {:.0e} parameters", static_cast<double>(ShapeLimits::kParameters)));
}

}  // namespace

int ModelShape::moe_layer_count() const { return moe_layers_before(LayerId(layer_count())); }

int ModelShape::moe_layers_before(LayerId id) const {
  int count = 0;
  for (int before = 0; before < id.value(); ++before) count += layer(LayerId(before)).moe ? 1 : 0;
  return count;
}

std::vector<int> ModelShape::moe_layer_numbers() const {
  std::vector<int> numbers;
  int next = 0;
  for (int i = 0; i < layer_count(); ++i) numbers.push_back(layer(LayerId(i)).moe ? next++ : -1);
  return numbers;
}

const MoeShape* ModelShape::first_moe() const {
  for (const std::int32_t kind : layers)
    if (const auto& moe = kinds[static_cast<std::size_t>(kind)].moe) return &*moe;
  return nullptr;
}

void append_layer(ModelShape& shape, const LayerShape& layer) {
  const auto found = std::find(shape.kinds.begin(), shape.kinds.end(), layer);
  shape.layers.push_back(static_cast<std::int32_t>(found - shape.kinds.begin()));
  if (found == shape.kinds.end()) shape.kinds.push_back(layer);
}

Status check(const ModelShape& shape) {
  MOESIM_TRY(in_range("hidden size", shape.hidden, 1, ShapeLimits::kHidden));
  MOESIM_TRY(in_range("vocabulary", shape.vocab, 1, ShapeLimits::kVocab));
  MOESIM_TRY(in_range("learned positions", shape.learned_positions, 0, ShapeLimits::kPositions));
  MOESIM_TRY(in_range("max positions", shape.max_positions, 0, ShapeLimits::kPositions));
  MOESIM_TRY(in_range("MTP layers", shape.mtp_layers, 0, ShapeLimits::kLayers));
  MOESIM_TRY(check_layers(shape));
  return check_parameters(shape);
}

}  // namespace moesim
