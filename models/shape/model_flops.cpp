#include "models/shape/model_flops.hpp"

#include <algorithm>

namespace moesim {
namespace {

constexpr double kForwardAndBackward = 3;
constexpr double kMultiplyAdd = 2;

// Forward multiply-adds per token that do not come from weights.
double attention_products(const AttentionShape& a, std::int64_t seq_length) {
  const auto heads = static_cast<double>(a.heads);
  const auto key = static_cast<double>(a.head_dim);
  const auto value = static_cast<double>(a.value_head_dim);
  if (a.kind == AttentionKind::kLinear) return 3 * heads * key * value;
  return heads * (key + value) * average_keys_seen(a, seq_length);
}

}  // namespace

double average_keys_seen(const AttentionShape& attention, std::int64_t seq_length) {
  if (attention.kind == AttentionKind::kLinear) return 0;
  const auto s = static_cast<double>(seq_length);
  if (attention.window == 0 || attention.window >= seq_length) return s / 2;
  const auto window = static_cast<double>(attention.window);
  return attention.chunked ? window / 2 : window - window * window / (2 * s);
}

Flops model_flops_per_token(const ModelShape& shape, std::int64_t seq_length) {
  std::int64_t norms = shape.hidden;
  double products = 0;
  for (int i = 0; i < shape.layer_count(); ++i) {
    const LayerShape& layer = shape.layer(LayerId(i));
    norms += layer.norms * shape.hidden;
    products += attention_products(layer.attention, seq_length);
  }
  const std::int64_t weights = count_parameters(shape).active_no_input_embedding - norms;
  return Flops(kForwardAndBackward * kMultiplyAdd * (static_cast<double>(weights) + products));
}

}  // namespace moesim
