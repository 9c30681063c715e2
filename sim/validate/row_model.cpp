#include "sim/validate/row_model.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace moesim {
namespace {

SkipReason set_head_dims(const TrainingRow& row, AttentionShape& attention) {
  const auto qk = number_after(row.head_dim, "qk");
  const auto v = number_after(row.head_dim, "/v");
  const auto plain = number_after(row.head_dim, "");
  if (!(qk && v) && !plain) return "head dimension not published";
  attention.head_dim = static_cast<std::int64_t>(qk && v ? *qk : *plain);
  attention.value_head_dim = static_cast<std::int64_t>(qk && v ? *v : *plain);
  return {};
}

// The sizes of DeepSeek-V2-Lite and its kin, which project queries directly, where only "MLA" is said.
void set_latents(const TrainingRow& row, AttentionShape& attention, RowNotes& notes) {
  attention.kind = AttentionKind::kMla;
  attention.q_lora = static_cast<std::int64_t>(number_after(row.attention, "q_lora").value_or(0));
  attention.kv_lora = static_cast<std::int64_t>(number_after(row.attention, "kv_lora").value_or(512));
  attention.qk_rope = static_cast<std::int64_t>(number_after(row.attention, "rope").value_or(64));
  attention.qk_nope = attention.head_dim - attention.qk_rope;
  if (!mentions(row.attention, "kv_lora"))
    notes.emplace_back("latent sizes not published: kv_lora 512, rope 64 and no q_lora, as in DeepSeek-V2-Lite");
}

OrSkipped<AttentionShape> attention_of(const TrainingRow& row, RowNotes& notes) {
  AttentionShape attention;
  if (!row.heads || !row.kv_heads) return skipped("number of heads not published");
  attention.heads = *row.heads;
  attention.kv_heads = *row.kv_heads;
  if (SkipReason why = set_head_dims(row, attention); !why.empty()) return skipped(std::move(why));
  if (mentions(row.attention, "MLA")) set_latents(row, attention, notes);
  return attention;
}

// Width of one routed expert. FastMoE's default keeps the FLOPs of a dense FFN: 4 hidden / top_k.
RowNumber expert_width(const TrainingRow& row) {
  if (row.expert_width_text.starts_with("4h/topk")) return 4 * *row.hidden / *row.top_k;
  return row.ffn_moe;
}

OrSkipped<MoeShape> moe_of(const TrainingRow& row, bool gated) {
  if (!row.top_k || *row.top_k == 0) return skipped("experts per token not published");
  const RowNumber width = expert_width(row);
  if (!width) return skipped("expert width not published");
  MoeShape moe;
  moe.experts = *row.experts;
  moe.top_k = *row.top_k;
  moe.expert = {.width = *width, .gated = gated};
  moe.shared = {.width = row.shared_experts.value_or(0) * *width, .gated = gated};
  return moe;
}

// Multi-token prediction is one more layer whose output goes through the shared head again.
bool trains_mtp(const TrainingRow& row) {
  return mentions(row.caveats, "MTP included") && !mentions(row.caveats, "variant: w/o MTP");
}

}  // namespace

OrSkipped<ModelShape> model_of(const TrainingRow& row, RowNotes& notes) {
  if (!row.layers || !row.hidden || !row.vocab || *row.hidden == 0)
    return skipped("layers, width or vocabulary not published");
  const std::int64_t dense_layers = row.is_moe() ? row.dense_layers.value_or(0) : *row.layers;
  if (dense_layers > *row.layers || *row.layers > ShapeLimits::kLayers)
    return skipped("number of layers makes no sense");
  const OrSkipped<AttentionShape> attention = attention_of(row, notes);
  if (!attention) return skipped(attention.error());
  const bool gated = !mentions(row.attention, "GELU") && !mentions(row.framework, "FastMoE");
  ModelShape shape;
  shape.name = row.model;
  shape.model_type = "published";
  shape.hidden = *row.hidden;
  shape.vocab = *row.vocab;
  shape.norm_bias = !gated;  // the GPT family
  const auto window = static_cast<std::int64_t>(number_after(row.attention, "sliding window").value_or(0));
  const bool alternating = mentions(row.attention, "alternating");
  for (std::int64_t i = 0; i < *row.layers; ++i) {
    LayerShape layer;
    layer.attention = *attention;
    layer.attention.window = alternating && i % 2 == 1 ? 0 : window;
    if (i < dense_layers) {
      if (!row.ffn_dense) return skipped("FFN width not published");
      layer.dense = FfnShape{.width = *row.ffn_dense, .gated = gated};
    } else {
      const OrSkipped<MoeShape> moe = moe_of(row, gated);
      if (!moe) return skipped(moe.error());
      layer.moe = *moe;
    }
    append_layer(shape, layer);
  }
  if (trains_mtp(row)) {
    append_layer(shape, LayerShape(shape.layer(LayerId(shape.layer_count() - 1))));
    notes.emplace_back("the multi-token-prediction module counts as one more layer, without its pass through the head");
  }
  if (const Status status = check(shape); !status) return skipped("model refused: " + status.error().what);
  return shape;
}

}  // namespace moesim
