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
    attention.head_dim = known_heads && config.has("hidden_size") ? derived_head_dim(config, hidden, attention.heads) : 1;
  }
  attention.value_head_dim = attention.head_dim;
  attention.qkv_bias = config.flag_or({"attention_bias"}, false);
  attention.out_bias = attention.qkv_bias;
  return attention;
}

std::int64_t read_experts(ConfigReader& config) {
  return config.size({"n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts"}, ShapeLimits::kExperts);
}

std::int64_t read_top_k(ConfigReader& config) {
  return config.size({"num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_top_k"},
                     ShapeLimits::kExperts);
}

std::vector<std::string> read_layer_types(ConfigReader& config, std::int64_t layers,
                                          std::initializer_list<std::string_view> known) {
  std::vector<std::string> types = config.texts("layer_types");
  if (types.empty()) return types;
  if (static_cast<std::int64_t>(types.size()) != layers) {
    config.problem("layer_types", fmt::format("lists {} layers of {}", types.size(), layers));
    return {};
  }
  for (const std::string& type : types) {
    if (std::find(known.begin(), known.end(), type) != known.end()) continue;
    config.problem("layer_types", fmt::format("unknown layer type '{}'", type),
                   fmt::format("one of {}", fmt::join(known, ", ")));
    return {};
  }
  return types;
}

void read_groups(ConfigReader& config, MoeShape& moe) {
  moe.groups = config.size_or({"n_group", "num_expert_group"}, 0, ShapeLimits::kExperts);
  moe.top_groups = config.size_or({"topk_group"}, 0, ShapeLimits::kExperts);
  if (moe.groups > 1 && moe.top_groups == 0) config.missing("topk_group");
  if (moe.groups <= 1) moe.groups = moe.top_groups = 0;
}

}  // namespace moesim
