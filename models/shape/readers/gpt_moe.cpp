// Plain fields: any transformer whose sizes are known, without a file from a hub (docs/inputs-model.md). This format is
// ours, so an unknown key is an error. Left-out fields take the values of GPT-2: as many key-value heads as heads, two
// FFN matrices with biases, LayerNorm, tied embeddings; one note names those that did.
#include <fmt/format.h>

#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

constexpr std::string_view kKnownKeys[] = {"model_type",
                                           "name",
                                           "layers",
                                           "hidden",
                                           "heads",
                                           "kv_heads",
                                           "head_dim",
                                           "vocab",
                                           "tied_embeddings",
                                           "learned_positions",
                                           "norm",
                                           "norms_per_layer",
                                           "bias",
                                           "qk_norm",
                                           "window",
                                           "q_lora",
                                           "kv_lora",
                                           "qk_nope",
                                           "qk_rope",
                                           "value_head_dim",
                                           "ffn_width",
                                           "ffn_multiple",
                                           "gated",
                                           "experts",
                                           "top_k",
                                           "expert_width",
                                           "shared_width",
                                           "moe_every",
                                           "moe_layers",
                                           "dense_layers_first"};

AttentionShape read_attention(ConfigReader& config, std::int64_t hidden) {
  AttentionShape attention;
  attention.heads = config.size({"heads"}, ShapeLimits::kHeads);
  attention.qkv_bias = attention.out_bias = config.flag_or({"bias"}, true);
  attention.qk_norm = config.flag_or({"qk_norm"}, false);
  attention.window = config.size_or({"window"}, 0, ShapeLimits::kPositions);
  attention.kv_lora = config.size_or({"kv_lora"}, 0, ShapeLimits::kHidden);
  if (attention.kv_lora > 0) {
    attention.kind = AttentionKind::kMla;
    attention.kv_heads = attention.heads;
    attention.q_lora = config.size_or({"q_lora"}, 0, ShapeLimits::kHidden);
    attention.qk_nope = config.size({"qk_nope"}, ShapeLimits::kHeadDim);
    attention.qk_rope = config.size({"qk_rope"}, ShapeLimits::kHeadDim);
    attention.head_dim = attention.qk_nope + attention.qk_rope;
    attention.value_head_dim = config.size({"value_head_dim"}, ShapeLimits::kHeadDim);
    return attention;
  }
  attention.kv_heads = config.has("kv_heads") ? config.size({"kv_heads"}, ShapeLimits::kHeads) : attention.heads;
  if (config.has("head_dim"))
    attention.head_dim = config.size({"head_dim"}, ShapeLimits::kHeadDim);
  else if (config.has("heads") && config.has("hidden"))
    attention.head_dim = derived_head_dim(config, hidden, attention.heads);
  attention.value_head_dim = attention.head_dim;
  return attention;
}

FfnShape read_ffn(ConfigReader& config, std::int64_t hidden) {
  FfnShape ffn;
  ffn.gated = config.flag_or({"gated"}, false);
  ffn.bias = config.flag_or({"bias"}, true);
  if (config.has("ffn_width") && config.has("ffn_multiple"))
    config.problem("ffn_multiple", "stands beside ffn_width", "give one of the two");
  if (config.has("ffn_multiple"))
    ffn.width = hidden * config.size({"ffn_multiple"}, 1000);
  else if (config.has("ffn_width"))
    ffn.width = config.size({"ffn_width"}, ShapeLimits::kWidth);
  else
    config.missing("ffn_width (or ffn_multiple)");
  return ffn;
}

std::optional<MoeShape> read_moe(ConfigReader& config, const FfnShape& ffn) {
  constexpr std::string_view kOnlyMoe[] = {"top_k",     "expert_width", "shared_width",
                                           "moe_every", "moe_layers",   "dense_layers_first"};
  if (!config.has("experts")) {
    for (const std::string_view key : kOnlyMoe)
      if (config.has(key)) config.problem(key, "is given without experts", "give experts and top_k, or neither");
    return std::nullopt;
  }
  MoeShape moe;
  moe.experts = config.size({"experts"}, ShapeLimits::kExperts);
  moe.top_k = config.size({"top_k"}, ShapeLimits::kExperts);
  moe.expert = ffn;
  if (config.has("expert_width")) moe.expert.width = config.size({"expert_width"}, ShapeLimits::kWidth);
  moe.shared = ffn;
  moe.shared.width = config.size_or({"shared_width"}, 0, ShapeLimits::kWidth);
  return moe;
}

// MoE are the listed layers, or the last of every moe_every after the first dense ones.
std::vector<bool> read_moe_layers(ConfigReader& config, std::int64_t layers, bool moe) {
  std::vector<bool> sparse(static_cast<std::size_t>(layers), false);
  const std::int64_t every = config.has("moe_every") ? config.size({"moe_every"}, ShapeLimits::kLayers) : 1;
  const std::int64_t first = config.size_or({"dense_layers_first"}, 0, ShapeLimits::kLayers);
  const std::vector<std::int64_t> listed = config.sizes("moe_layers", ShapeLimits::kLayers);
  if (!moe) return sparse;
  if (!listed.empty() && (config.has("moe_every") || config.has("dense_layers_first")))
    config.problem("moe_layers", "stands beside a rule for the same thing",
                   "give moe_layers, or moe_every and dense_layers_first");
  for (const std::int64_t i : listed) {
    if (i < layers)
      sparse[static_cast<std::size_t>(i)] = true;
    else
      config.problem("moe_layers", fmt::format("names layer {} of 0 to {}", i, layers - 1));
  }
  if (listed.empty())
    for (std::int64_t i = first; i < layers; ++i) sparse[static_cast<std::size_t>(i)] = (i - first + 1) % every == 0;
  return sparse;
}

bool read_layer_norm(ConfigReader& config) {
  const std::string norm = config.text_or("norm", "layernorm");
  if (norm != "layernorm" && norm != "rmsnorm")
    config.problem("norm", fmt::format("unknown norm '{}'", norm), "one of layernorm, rmsnorm");
  return norm == "layernorm";
}

void note_defaults(ConfigReader& config) {
  std::vector<std::string_view> left;
  for (const std::string_view key : {"kv_heads", "gated", "bias", "norm", "tied_embeddings", "learned_positions"})
    if (!config.has(key)) left.push_back(key);
  if (config.has("kv_lora")) std::erase(left, "kv_heads");
  if (!left.empty()) config.note(fmt::format("left at the plain format's own values: {}", fmt::join(left, ", ")));
}

Result<ModelShape> read(ConfigReader& config) {
  MOESIM_TRY(config.reject_unknown_keys(kKnownKeys));
  ModelShape shape;
  shape.hidden = config.size({"hidden"}, ShapeLimits::kHidden);
  shape.vocab = config.size({"vocab"}, ShapeLimits::kVocab);
  shape.tied_embeddings = config.flag_or({"tied_embeddings"}, true);
  shape.norm_bias = read_layer_norm(config);
  shape.learned_positions = config.size_or({"learned_positions"}, 0, ShapeLimits::kPositions);
  shape.max_positions = shape.learned_positions;
  const std::int64_t layers = config.size({"layers"}, ShapeLimits::kLayers);
  LayerShape layer;
  layer.norms = static_cast<int>(config.size_or({"norms_per_layer"}, layer.norms, ShapeLimits::kNorms));
  layer.attention = read_attention(config, shape.hidden);
  const FfnShape ffn = read_ffn(config, shape.hidden);
  const std::optional<MoeShape> moe = read_moe(config, ffn);
  const std::vector<bool> sparse = read_moe_layers(config, layers, moe.has_value());
  MOESIM_TRY(config.finish());
  note_defaults(config);
  append_layers(shape, layer, sparse, ffn, moe.value_or(MoeShape{}));
  return shape;
}

constexpr std::string_view kTypes[] = {"gpt_moe"};

}  // namespace

const ModelReader kGptMoeReader = {kTypes, read};

}  // namespace moesim
