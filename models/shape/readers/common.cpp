#include "models/shape/readers/common.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace moesim {

ModelShape read_trunk(ConfigReader& config) {
  ModelShape shape;
  shape.hidden = config.size({"hidden_size"}, ShapeLimits::kHidden);
  shape.vocab = config.size({"vocab_size"}, ShapeLimits::kVocab);
  shape.tied_embeddings = config.flag_or({"tie_word_embeddings"}, false);
  if (!config.has("tie_word_embeddings"))
    config.note("tie_word_embeddings is not given: input and output embeddings are counted apart");
  shape.max_positions = config.size_or({"max_position_embeddings"}, 0, ShapeLimits::kPositions);
  return shape;
}

std::int64_t read_layer_count(ConfigReader& config) { return config.size({"num_hidden_layers"}, ShapeLimits::kLayers); }

std::int64_t derived_head_dim(ConfigReader& config, std::int64_t hidden, std::int64_t heads) {
  if (hidden % heads != 0)
    config.problem("head_dim", fmt::format("is missing, and hidden {} does not divide among {} heads", hidden, heads),
                   "give head_dim");
  return std::max<std::int64_t>(1, hidden / heads);
}

AttentionShape read_grouped_attention(ConfigReader& config, std::int64_t hidden, KvHeads kv_heads, HeadDim head_dim) {
  AttentionShape attention;
  attention.heads = config.size({"num_attention_heads"}, ShapeLimits::kHeads);
  const bool known_heads = config.has("num_attention_heads");
  if (kv_heads == KvHeads::kRequired || config.has("num_key_value_heads")) {
    attention.kv_heads = config.size({"num_key_value_heads"}, ShapeLimits::kHeads);
  } else {
    attention.kv_heads = attention.heads;
    config.note("num_key_value_heads is not given: as many as attention heads");
  }
  if (head_dim == HeadDim::kRequired || config.has("head_dim")) {
    attention.head_dim = config.size({"head_dim"}, ShapeLimits::kHeadDim);
  } else {
    attention.head_dim =
        known_heads && config.has("hidden_size") ? derived_head_dim(config, hidden, attention.heads) : 1;
  }
  attention.value_head_dim = attention.head_dim;
  attention.qkv_bias = config.flag_or({"attention_bias"}, false);
  attention.out_bias = attention.qkv_bias;
  return attention;
}

MoeShape read_routed_experts(ConfigReader& config, std::string_view width_key) {
  MoeShape moe;
  moe.experts =
      config.size({"n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts"}, ShapeLimits::kExperts);
  moe.top_k = config.size({"num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_top_k"},
                          ShapeLimits::kExperts);
  moe.expert.width = config.size({width_key}, ShapeLimits::kWidth);
  return moe;
}

std::vector<std::string> read_layer_names(ConfigReader& config, std::string_view key, std::int64_t layers,
                                          std::initializer_list<std::string_view> known) {
  std::vector<std::string> names = config.texts(key);
  if (!config.has(key)) return {};
  if (static_cast<std::int64_t>(names.size()) != layers) {
    config.problem(key, fmt::format("lists {} layers of {}", names.size(), layers));
    return {};
  }
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    config.problem(key, fmt::format("unknown layer type '{}'", name), fmt::format("one of {}", fmt::join(known, ", ")));
    return {};
  }
  return names;
}

std::vector<bool> read_sparse_layers(ConfigReader& config, std::int64_t layers, std::int64_t first,
                                     std::int64_t every) {
  std::vector<bool> sparse;
  if (config.has("mlp_layer_types")) {
    for (const std::string& name : read_layer_names(config, "mlp_layer_types", layers, {"dense", "sparse"}))
      sparse.push_back(name == "sparse");
    return sparse;
  }
  for (std::int64_t i = 0; i < layers; ++i) sparse.push_back(i >= first && i % every == 0);
  return sparse;
}

std::int64_t read_first_sparse_layer(ConfigReader& config) {
  if (config.has("mlp_layer_types")) return 0;
  return config.size_or_null({"first_k_dense_replace"}, ShapeLimits::kLayers);
}

std::vector<bool> read_sparse_steps(ConfigReader& config, std::int64_t layers) {
  const std::int64_t step = config.size({"decoder_sparse_step"}, ShapeLimits::kLayers);
  const std::vector<std::int64_t> dense = config.sizes("mlp_only_layers", ShapeLimits::kLayers);
  std::vector<bool> sparse;
  for (std::int64_t i = 0; i < layers; ++i) sparse.push_back((i + 1) % step == 0);
  for (const std::int64_t i : dense)
    if (i < layers) sparse[static_cast<std::size_t>(i)] = false;
  return sparse;
}

bool any_dense(const std::vector<bool>& sparse) {
  return std::find(sparse.begin(), sparse.end(), false) != sparse.end();
}

void append_alike(ModelShape& shape, const LayerShape& layer, std::int64_t layers) {
  for (std::int64_t i = 0; i < layers; ++i) append_layer(shape, layer);
}

void append_layers(ModelShape& shape, LayerShape layer, const std::vector<bool>& sparse, const FfnShape& dense,
                   const MoeShape& moe) {
  for (const bool is_sparse : sparse) {
    layer.moe = is_sparse ? std::optional(moe) : std::nullopt;
    layer.dense = is_sparse ? std::nullopt : std::optional(dense);
    append_layer(shape, layer);
  }
}

void read_groups(ConfigReader& config, MoeShape& moe) {
  moe.groups = config.size_or({"n_group", "num_expert_group"}, 0, ShapeLimits::kExperts);
  moe.top_groups = config.size_or({"topk_group"}, 0, ShapeLimits::kExperts);
  if (moe.groups > 1 && moe.top_groups == 0) config.missing("topk_group");
  if (moe.groups <= 1) moe.groups = moe.top_groups = 0;
}

}  // namespace moesim
