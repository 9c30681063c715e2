#include "sim/lower/attention.hpp"

#include <algorithm>

#include "sim/lower/tp_region.hpp"

namespace moesim {
namespace {

// Sizes of one TP rank's share.
struct LocalHeads {
  std::int64_t heads;
  std::int64_t kv_heads;  // replicated when there are fewer than TP ranks
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
  const std::int64_t norm_columns = shape.qk_norm ? 2 * shape.head_dim : 0;
  const TensorId gathered = enter_tp(b, "attention.enter", x);
  const std::int64_t out = local.heads * shape.value_head_dim;
  const AttentionWork work = core_work(b, shape, local);
  if (b.plan().sizes().cp == 1) {
    const TensorId qkv = b.linear("attention.qkv", gathered,
                                  {.in = b.model().hidden, .out = q_columns + kv_columns, .bias = shape.qkv_bias});
    return b.attention("attention.core", b.rotary("attention.rotary", qkv, norm_columns), TensorId(), out, work);
  }
  const TensorId q = b.linear("attention.q", gathered, {.in = b.model().hidden, .out = q_columns, .bias = shape.qkv_bias});
  const TensorId kv = b.linear("attention.kv", gathered, {.in = b.model().hidden, .out = kv_columns, .bias = shape.qkv_bias});
  const TensorId q_rotated = b.rotary("attention.rotary_q", q, norm_columns / 2);
  const TensorId kv_rotated = b.rotary("attention.rotary_kv", kv, norm_columns / 2);
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
    const TensorId down =
        b.linear("attention.q_down", x, {.in = hidden, .out = shape.q_lora, .bias = shape.qkv_bias, .same_on_tp = tp > 1});
    const TensorId latent = enter_tp(b, "attention.q_enter", b.norm("attention.q_norm", down));
    q = b.linear("attention.q_up", latent, {.in = shape.q_lora, .out = local.heads * shape.head_dim});
  } else {
    q = b.linear("attention.q", enter_tp(b, "attention.q_enter", x), {.in = hidden, .out = local.heads * shape.head_dim});
  }
  const TensorId kv_down = b.linear("attention.kv_down", x,
                                    {.in = hidden, .out = shape.kv_lora + shape.qk_rope, .bias = shape.qkv_bias,
                                     .same_on_tp = tp > 1});
  const TensorId kv_latent = enter_tp(b, "attention.kv_enter", b.norm("attention.kv_norm", kv_down, shape.kv_lora));
  const TensorId kv = b.linear("attention.kv_up", kv_latent,
                               {.in = shape.kv_lora, .out = local.heads * (shape.qk_nope + shape.value_head_dim)});
  const TensorId q_rotated = b.rotary("attention.rotary_q", q, 0);
  const TensorId kv_rotated = b.rotary("attention.rotary_kv", kv, 0);
  return b.attention("attention.core", q_rotated, gather_over_cp(b, kv_rotated),
                     local.heads * shape.value_head_dim, core_work(b, shape, local));
}

}  // namespace

TensorId lower_attention(ChunkBuilder& b, TensorId x, const AttentionShape& shape) {
  const TensorId normed = b.norm("attention.norm", x);
  const TensorId core =
      shape.kind == AttentionKind::kMla ? latent_attention(b, normed, shape) : grouped_attention(b, normed, shape);
  if (shape.sinks) b.parameter("attention.sinks", shape.heads / b.plan().sizes().tp);
  const TensorId projected = b.linear("attention.out", core,
                                      {.in = b.tensor(core).columns, .out = b.model().hidden, .bias = shape.out_bias});
  return b.add("attention.residual", x, exit_tp(b, "attention.exit", projected));
}

}  // namespace moesim
