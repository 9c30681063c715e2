// Parameter counts from shapes. Matrices and vectors are summed apart, because published totals name the matrices (and
// the norms of width `hidden`) while a checkpoint stores the vectors too.
#include "models/shape/model_shape.hpp"

namespace moesim {
namespace {

struct Part {
  std::int64_t matrices = 0;
  std::int64_t vectors = 0;
  [[nodiscard]] std::int64_t all() const { return matrices + vectors; }
};

Part grouped_attention(std::int64_t hidden, const AttentionShape& a) {
  const std::int64_t queries = a.heads * a.head_dim * (a.output_gate ? 2 : 1);
  const std::int64_t keys_values = a.kv_heads * (a.head_dim + a.value_head_dim);
  Part part;
  part.matrices = hidden * (queries + keys_values) + a.heads * a.value_head_dim * hidden;
  if (a.qkv_bias) part.vectors += queries + keys_values;
  if (a.qk_norm) part.vectors += a.qk_norm_wide ? (a.heads + a.kv_heads) * a.head_dim : 2 * a.head_dim;
  return part;
}

// DeepSeek-V2 report, section 2.1: queries and keys/values pass through latents of width q_lora and kv_lora, each with
// its norm; the rotary key is shared by all heads.
Part mla_attention(std::int64_t hidden, const AttentionShape& a) {
  const std::int64_t queries = a.heads * a.head_dim;
  Part part;
  part.matrices = a.q_lora > 0 ? hidden * a.q_lora + a.q_lora * queries : hidden * queries;
  part.matrices += hidden * (a.kv_lora + a.qk_rope);
  part.matrices += a.kv_lora * a.heads * (a.qk_nope + a.value_head_dim);
  part.matrices += a.heads * a.value_head_dim * hidden;
  part.vectors = a.q_lora + a.kv_lora;
  if (a.qkv_bias) part.vectors += a.q_lora + a.kv_lora + a.qk_rope;
  return part;
}

// Gated delta net. With gate_rank 0: q, k, v, output gate, and per value head one decay and one step size. With a rank
// (Kimi delta attention): decay per key channel and output gate come through a bottleneck of that rank.
Part linear_attention(std::int64_t hidden, const AttentionShape& a) {
  const std::int64_t keys = a.kv_heads * a.head_dim;
  const std::int64_t values = a.heads * a.value_head_dim;
  const std::int64_t decays = a.gate_rank > 0 ? a.heads * a.head_dim : a.heads;
  Part part;
  part.matrices = hidden * (2 * keys + values) + values * hidden + hidden * a.heads;
  part.matrices +=
      a.gate_rank > 0 ? 2 * hidden * a.gate_rank + a.gate_rank * (decays + values) : hidden * (decays + values);
  part.vectors = (2 * keys + values) * a.conv_kernel + a.heads + decays + a.value_head_dim;
  return part;
}

Part attention_part(std::int64_t hidden, const AttentionShape& a) {
  Part part;
  switch (a.kind) {
    case AttentionKind::kGrouped: part = grouped_attention(hidden, a); break;
    case AttentionKind::kMla: part = mla_attention(hidden, a); break;
    case AttentionKind::kLinear: part = linear_attention(hidden, a); break;
  }
  if (a.out_bias) part.vectors += hidden;
  if (a.sinks) part.vectors += a.heads;
  return part;
}

Part ffn_part(std::int64_t hidden, const FfnShape& ffn) {
  const std::int64_t inputs = ffn.gated ? 2 : 1;
  Part part;
  part.matrices = (inputs + 1) * hidden * ffn.width;
  if (ffn.bias && ffn.width > 0) part.vectors = inputs * ffn.width + hidden;
  return part;
}

Part router_part(std::int64_t hidden, const MoeShape& moe) {
  return {hidden * moe.experts, (moe.router_bias ? moe.experts : 0) + (moe.score_correction_bias ? moe.experts : 0)};
}

Part shared_part(std::int64_t hidden, const MoeShape& moe) {
  Part part = ffn_part(hidden, moe.shared);
  if (moe.shared_gate) part.vectors += hidden;
  return part;
}

struct KindCount {
  std::int64_t total = 0;
  std::int64_t active = 0;
  std::int64_t vectors = 0;
};

KindCount count_kind(const ModelShape& shape, const LayerShape& layer) {
  const std::int64_t hidden = shape.hidden;
  const Part attention = attention_part(hidden, layer.attention);
  const std::int64_t norms = layer.norms * hidden;
  KindCount count{attention.matrices + norms, attention.matrices + norms,
                  attention.vectors + (shape.norm_bias ? norms : 0)};
  const auto add = [&count](const Part& part, std::int64_t copies, std::int64_t used) {
    count.total += part.matrices * copies;
    count.active += part.matrices * used;
    count.vectors += part.vectors * copies;
  };
  if (layer.dense) add(ffn_part(hidden, *layer.dense), 1, 1);
  if (layer.moe) {
    add(router_part(hidden, *layer.moe), 1, 1);
    add(shared_part(hidden, *layer.moe), 1, 1);
    add(ffn_part(hidden, layer.moe->expert), layer.moe->experts, layer.moe->top_k);
  }
  return count;
}

}  // namespace

ParameterCounts count_parameters(const ModelShape& shape) {
  std::vector<KindCount> kinds;
  for (const LayerShape& kind : shape.kinds) kinds.push_back(count_kind(shape, kind));
  const std::int64_t table = shape.vocab * shape.hidden;
  const std::int64_t positions = shape.learned_positions * shape.hidden;
  const std::int64_t trunk = table + shape.hidden;  // the output head and the final norm
  ParameterCounts counts{trunk, trunk, trunk, 0};
  for (const std::int32_t index : shape.layers) {
    const KindCount& kind = kinds[static_cast<std::size_t>(index)];
    counts.total += kind.total;
    counts.active_no_input_embedding += kind.active;
    counts.vectors += kind.vectors;
  }
  // A tied table is stored once and is used as the head in any case.
  const std::int64_t input = positions + (shape.tied_embeddings ? 0 : table);
  counts.total += input;
  counts.active = counts.active_no_input_embedding + input;
  if (shape.norm_bias) counts.vectors += shape.hidden;
  if (shape.lm_head_bias) counts.vectors += shape.vocab;
  return counts;
}

LayerParameters count_layer(const ModelShape& shape, LayerId id) {
  const LayerShape& layer = shape.layer(id);
  LayerParameters count;
  count.attention = attention_part(shape.hidden, layer.attention).all();
  count.norms = layer.norms * shape.hidden * (shape.norm_bias ? 2 : 1);
  if (layer.dense) count.dense_ffn = ffn_part(shape.hidden, *layer.dense).all();
  if (layer.moe) {
    count.router = router_part(shape.hidden, *layer.moe).all();
    count.one_expert = ffn_part(shape.hidden, layer.moe->expert).all();
    count.shared = shared_part(shape.hidden, *layer.moe).all();
  }
  return count;
}

}  // namespace moesim
