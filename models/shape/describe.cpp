#include "models/shape/describe.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "models/precision.hpp"
#include "models/shape/model_flops.hpp"

namespace moesim {
namespace {

std::string grouped_text(const AttentionShape& a) {
  const std::string_view kind = a.kv_heads == a.heads ? "multi-head"
                                : a.kv_heads == 1     ? "multi-query"
                                                      : "grouped-query";
  return fmt::format("{}, {} heads, {} key-value heads, head dim {}", kind, a.heads, a.kv_heads, a.head_dim);
}

std::string attention_text(const AttentionShape& a) {
  std::string text;
  switch (a.kind) {
    case AttentionKind::kGrouped: text = grouped_text(a); break;
    case AttentionKind::kMla:
      text = fmt::format("latent (MLA), {} heads, latents q {} kv {}, head dims {}+{} and {}", a.heads,
                         a.q_lora > 0 ? std::to_string(a.q_lora) : "none", a.kv_lora, a.qk_nope, a.qk_rope,
                         a.value_head_dim);
      break;
    case AttentionKind::kLinear:
      text = fmt::format("linear (gated delta net), {} value heads of {}, {} key heads of {}", a.heads,
                         a.value_head_dim, a.kv_heads, a.head_dim);
      break;
  }
  if (a.window > 0) text += fmt::format(", {} {} tokens", a.chunked ? "chunks of" : "window of", a.window);
  return text;
}

std::string ffn_text(const FfnShape& ffn) {
  return fmt::format("width {}, {} matrices{}", ffn.width, ffn.gated ? 3 : 2, ffn.bias ? ", biases" : "");
}

std::string moe_text(const MoeShape& moe) {
  std::string text = fmt::format("{} experts, {} per token, {}", moe.experts, moe.top_k, ffn_text(moe.expert));
  if (moe.shared.width > 0) text += fmt::format("; shared width {}", moe.shared.width);
  if (moe.groups > 0) text += fmt::format("; {} of {} groups per token", moe.top_groups, moe.groups);
  return text;
}

// "0-2" or "3, 5, 7, ...": which layers are of one kind.
std::string layer_list(const ModelShape& shape, std::int32_t kind) {
  std::vector<std::string> runs;
  for (std::size_t i = 0; i < shape.layers.size();) {
    std::size_t end = i;
    while (end < shape.layers.size() && shape.layers[end] == shape.layers[i]) ++end;
    if (shape.layers[i] == kind) runs.push_back(end - i == 1 ? std::to_string(i) : fmt::format("{}-{}", i, end - 1));
    i = end;
  }
  constexpr std::size_t kShown = 4;
  if (runs.size() <= kShown) return fmt::format("{}", fmt::join(runs, ", "));
  return fmt::format("{}, ... {}", fmt::join(runs.begin(), runs.begin() + kShown - 1, ", "), runs.back());
}

std::string billions(std::int64_t count) {
  return fmt::format("{} ({:.2f} B)", count, static_cast<double>(count) * 1e-9);
}

void add_kinds(std::vector<DescriptionRow>& rows, const ModelShape& shape) {
  for (std::size_t i = 0; i < shape.kinds.size(); ++i) {
    const LayerShape& kind = shape.kinds[i];
    const std::string layers = layer_list(shape, static_cast<std::int32_t>(i));
    rows.push_back({fmt::format("layers {}", layers), attention_text(kind.attention)});
    rows.push_back({kind.moe ? "  MoE" : "  dense FFN", kind.moe ? moe_text(*kind.moe) : ffn_text(*kind.dense)});
  }
}

}  // namespace

std::vector<DescriptionRow> describe(const LoadedModel& model) {
  const ModelShape& shape = model.shape;
  const ParameterCounts counts = count_parameters(shape);
  std::vector<DescriptionRow> rows;
  rows.push_back({"model", shape.name});
  rows.push_back({"model type", shape.model_type});
  rows.push_back({"layers", std::to_string(shape.layer_count())});
  rows.push_back({"MoE layers", std::to_string(shape.moe_layer_count())});
  rows.push_back({"hidden", std::to_string(shape.hidden)});
  rows.push_back({"vocabulary", fmt::format("{}{}", shape.vocab, shape.tied_embeddings ? ", tied embeddings" : "")});
  if (shape.max_positions > 0) rows.push_back({"longest sequence", std::to_string(shape.max_positions)});
  add_kinds(rows, shape);
  if (shape.mtp_layers > 0) rows.push_back({"MTP modules", fmt::format("{}, not counted below", shape.mtp_layers)});
  rows.push_back({"parameters", billions(counts.total)});
  rows.push_back({"active per token", billions(counts.active)});
  rows.push_back({"active without input embedding", billions(counts.active_no_input_embedding)});
  rows.push_back({"biases and small norms", std::to_string(counts.vectors)});
  rows.push_back({"weights in bf16", humanize(storage(counts.stored(), DType::kBf16))});
  rows.push_back({"training FLOPs per token at 4096",
                  fmt::format("{:.4g} GFLOP", model_flops_per_token(shape, 4096).value() * 1e-9)});
  for (const std::string& note : model.notes) rows.push_back({"note", note});
  return rows;
}

}  // namespace moesim
