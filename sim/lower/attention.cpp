#include "sim/lower/attention.hpp"

#include <algorithm>

#include "sim/lower/tp_region.hpp"

namespace moesim {
namespace {

// Sizes of one TP rank's share.
struct LocalHeads {
  std::int64_t heads;
  std::int64_t kv_heads;  // where there are fewer than TP ranks, several ranks hold the same one
};

LocalHeads local_heads(const AttentionShape& shape, int tp) {
  return {shape.heads / tp, std::max<std::int64_t>(1, shape.kv_heads / tp)};
}

AttentionWork core_work(const ChunkBuilder& b, const AttentionShape& shape, const LocalHeads& local) {
  const Plan& plan = b.plan();
  AttentionWork work;
  work.sequences = plan.micro_batch;
  work.query_length = plan.seq_length / plan.sizes().cp;
  work.key_length = plan.seq_length;
  work.heads = local.heads;
  work.kv_heads = shape.kind == AttentionKind::kMla ? local.heads : local.kv_heads;
  work.qk_dim = shape.head_dim;
  work.v_dim = shape.value_head_dim;
  work.window = shape.window;
  work.linear = shape.kind == AttentionKind::kLinear;
  work.type = b.recipe().activation;
  return work;
}

TensorId gather_over_cp(ChunkBuilder& b, TensorId kv) {
  return b.plan().sizes().cp == 1 ? kv : b.all_gather("attention.kv_gather", kv, GroupKind::kCp, Stream::kCp);
}

TensorId grouped_attention(ChunkBuilder& b, TensorId x, const AttentionShape& shape) {
  const int tp = b.plan().sizes().tp;
  const LocalHeads local = local_heads(shape, tp);
  const std::int64_t q_columns = local.heads * shape.head_dim * (shape.output_gate ? 2 : 1);
  const std::int64_t kv_columns = local.kv_heads * (shape.head_dim + shape.value_head_dim);
  // A norm over all heads together is cut with them; one that every head shares is on every rank.
  const auto head_norms = [&](std::int64_t heads, int copies) -> HeadNorms {
    if (!shape.qk_norm) return {};
    return shape.qk_norm_wide ? HeadNorms{heads * shape.head_dim, OnTp::kCut, copies}
                              : HeadNorms{shape.head_dim, OnTp::kSameInside};
  };
  const TensorId gathered = enter_tp(b, "attention.enter", x);
  const std::int64_t out = local.heads * shape.value_head_dim;
  const AttentionWork work = core_work(b, shape, local);
  const int kv_copies = static_cast<int>(std::max<std::int64_t>(1, tp / shape.kv_heads));
  if (b.plan().sizes().cp == 1 && kv_copies == 1) {
    const TensorId qkv = b.linear("attention.qkv", gathered,
                                  {.in = b.model().hidden, .out = q_columns + kv_columns, .bias = shape.qkv_bias});
    HeadNorms norms = head_norms(local.heads, 1);
    norms.columns += head_norms(local.kv_heads, 1).columns;
    return b.attention("attention.core", b.rotary("attention.rotary", qkv, norms), TensorId(), out, work);
  }
  // Keys and values go their own way where CP gathers them, or where TP ranks share their weights but not those of queries.
  const TensorId q =
      b.linear("attention.q", gathered, {.in = b.model().hidden, .out = q_columns, .bias = shape.qkv_bias});
  const TensorId kv =
      b.linear("attention.kv", gathered,
               {.in = b.model().hidden, .out = kv_columns, .bias = shape.qkv_bias, .tp_copies = kv_copies});
  const TensorId q_rotated = b.rotary("attention.rotary_q", q, head_norms(local.heads, 1));
  const TensorId kv_rotated = b.rotary("attention.rotary_kv", kv, head_norms(local.kv_heads, kv_copies));
  return b.attention("attention.core", q_rotated, gather_over_cp(b, kv_rotated), out, work);
}

// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1). The down-projections work on the rank's own
// rows; only the narrow latents are gathered over TP.
TensorId latent_attention(ChunkBuilder& b, TensorId x, const AttentionShape& shape) {
  const int tp = b.plan().sizes().tp;
  const LocalHeads local = local_heads(shape, tp);
  const std::int64_t hidden = b.model().hidden;
  TensorId q;
  if (shape.q_lora > 0) {
    const TensorId down = b.linear("attention.q_down", x,
                                   {.in = hidden, .out = shape.q_lora, .bias = shape.qkv_bias, .on_tp = OnTp::kSame});
    const TensorId latent = enter_tp(b, "attention.q_enter", b.norm("attention.q_norm", down));
    q = b.linear("attention.q_up", latent, {.in = shape.q_lora, .out = local.heads * shape.head_dim});
  } else {
    q = b.linear("attention.q", enter_tp(b, "attention.q_enter", x),
                 {.in = hidden, .out = local.heads * shape.head_dim});
  }
  const TensorId kv_down =
      b.linear("attention.kv_down", x,
               {.in = hidden, .out = shape.kv_lora + shape.qk_rope, .bias = shape.qkv_bias, .on_tp = OnTp::kSame});
  const TensorId kv_latent = enter_tp(b, "attention.kv_enter", b.norm("attention.kv_norm", kv_down, shape.kv_lora));
  const TensorId kv = b.linear("attention.kv_up", kv_latent,
                               {.in = shape.kv_lora, .out = local.heads * (shape.qk_nope + shape.value_head_dim)});
  const TensorId q_rotated = b.rotary("attention.rotary_q", q, {});
  const TensorId kv_rotated = b.rotary("attention.rotary_kv", kv, {});
  return b.attention("attention.core", q_rotated, gather_over_cp(b, kv_rotated), local.heads * shape.value_head_dim,
                     core_work(b, shape, local));
}

// Gated delta net: no score matrix, a short convolution in place of positions. The projections of the output gate, the
// decay and the step size stand with those of q, k and v, or behind a bottleneck of `gate_rank` (Kimi delta attention).
TensorId linear_attention(ChunkBuilder& b, TensorId x, const AttentionShape& shape) {
  const LocalHeads local = local_heads(shape, b.plan().sizes().tp);
  const std::int64_t hidden = b.model().hidden;
  const std::int64_t values = local.heads * shape.value_head_dim;
  const std::int64_t qkv_columns = 2 * local.kv_heads * shape.head_dim + values;
  const bool bottleneck = shape.gate_rank > 0;
  const std::int64_t decays = bottleneck ? local.heads * shape.head_dim : local.heads;
  const std::int64_t step_sizes = local.heads;
  const TensorId gathered = enter_tp(b, "attention.enter", x);
  const TensorId projected = b.linear(
      "attention.qkv", gathered, {.in = hidden, .out = qkv_columns + step_sizes + (bottleneck ? 0 : decays + values)});
  TensorId gates;
  if (bottleneck) {
    const TensorId down = b.linear("attention.gate_down", gathered,
                                   {.in = hidden, .out = 2 * shape.gate_rank, .on_tp = OnTp::kSameInside});
    gates = b.linear("attention.gate_up", down, {.in = shape.gate_rank, .out = decays + values});
  }
  b.parameter("attention.decay", local.heads + decays, OnTp::kCut);
  b.parameter("attention.value_norm", shape.value_head_dim, OnTp::kSameInside);
  const TensorId convolved =
      b.rotary("attention.convolution", projected, {qkv_columns * shape.conv_kernel, OnTp::kCut});
  return b.attention("attention.core", convolved, gates, values, core_work(b, shape, local));
}

TensorId lower_core(ChunkBuilder& b, TensorId normed, const AttentionShape& shape) {
  switch (shape.kind) {
    case AttentionKind::kGrouped: return grouped_attention(b, normed, shape);
    case AttentionKind::kMla: return latent_attention(b, normed, shape);
    case AttentionKind::kLinear: return linear_attention(b, normed, shape);
  }
  return {};
}

}  // namespace

TensorId lower_attention(ChunkBuilder& b, TensorId x, const LayerShape& layer) {
  const AttentionShape& shape = layer.attention;
  const TensorId normed = layer.norms >= 1 ? b.norm("attention.norm", x) : x;
  const TensorId core = lower_core(b, normed, shape);
  if (shape.sinks) b.parameter("attention.sinks", shape.heads / b.plan().sizes().tp, OnTp::kCut);
  const TensorId projected = b.linear(
      "attention.out", core,
      {.in = b.tensor(core).columns, .out = b.model().hidden, .bias = shape.out_bias, .bias_on_every_shard = true});
  const TensorId whole = exit_tp(b, "attention.exit", projected);
  return b.add("attention.residual", x, layer.norms >= 3 ? b.norm("attention.out_norm", whole) : whole);
}

}  // namespace moesim
