// A model type that no reader knows: each slot of a shape takes the first spelling present, and a note says which.
// Refused where keys speak of layers that this shape cannot hold (state-space or linear attention, encoders).
#include <fmt/format.h>

#include <algorithm>

#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

void refuse_foreign_layers(ConfigReader& config) {
  for (const std::string& key : config.object().keys()) {
    const bool foreign = key.starts_with("mamba_") || key.starts_with("ssm_") || key.starts_with("linear_num_") ||
                         key == "linear_attn_config" || key == "hybrid_override_pattern" ||
                         key == "layers_block_type" || key == "attn_type_list";
    if (foreign && config.has(key))
      config.problem(key, "speaks of state-space or linear attention layers, which only known model types may have",
                     "describe the model by plain fields (model_type gpt_moe) with the attention that comes closest");
  }
  if (config.flag_or({"is_encoder_decoder"}, false))
    config.problem("is_encoder_decoder", "encoder-decoder models are not covered");
}

AttentionShape read_attention(ConfigReader& config, std::int64_t hidden) {
  AttentionShape a;
  a.heads = config.size({"num_attention_heads", "n_heads", "n_head", "num_heads"}, ShapeLimits::kHeads);
  a.qkv_bias = a.out_bias = config.flag_or({"attention_bias"}, false);
  if (config.has("kv_lora_rank")) {
    a.kind = AttentionKind::kMla;
    a.kv_heads = a.heads;
    a.q_lora = config.size_or_null({"q_lora_rank"}, ShapeLimits::kHidden);
    a.kv_lora = config.size({"kv_lora_rank"}, ShapeLimits::kHidden);
    a.qk_nope = config.size({"qk_nope_head_dim"}, ShapeLimits::kHeadDim);
    a.qk_rope = config.size({"qk_rope_head_dim"}, ShapeLimits::kHeadDim);
    a.head_dim = a.qk_nope + a.qk_rope;
    a.value_head_dim = config.size({"v_head_dim"}, ShapeLimits::kHeadDim);
    return a;
  }
  a.kv_heads = config.size_or({"num_key_value_heads", "attn_config.kv_n_heads", "num_kv_heads", "n_kv_heads"}, 0,
                              ShapeLimits::kHeads);
  if (a.kv_heads == 0) {
    a.kv_heads = a.heads;
    config.note("no key for key-value heads: as many as attention heads");
  }
  a.head_dim = config.size_or({"head_dim"}, 0, ShapeLimits::kHeadDim);
  if (a.head_dim == 0 && config.finish()) {
    a.head_dim = derived_head_dim(config, hidden, a.heads);
    config.note(fmt::format("no head_dim: hidden / heads = {}", a.head_dim));
  }
  a.value_head_dim = a.head_dim;
  return a;
}

std::optional<MoeShape> read_moe(ConfigReader& config) {
  constexpr std::string_view kExperts[] = {"n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts",
                                           "ffn_config.moe_num_experts"};
  if (std::none_of(std::begin(kExperts), std::end(kExperts), [&](std::string_view key) { return config.has(key); })) {
    config.note("no key for experts: read as a dense model");
    return std::nullopt;
  }
  MoeShape moe;
  moe.experts = config.size(
      {"n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts", "ffn_config.moe_num_experts"},
      ShapeLimits::kExperts);
  moe.top_k = config.size({"num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_top_k",
                           "ffn_config.moe_top_k", "n_activated_experts", "moe_topk", "moe_k"},
                          ShapeLimits::kExperts);
  // Order matters: intermediate_size is an expert's width only where nothing more precise stands.
  if (config.has("moe_intermediate_size"))
    moe.expert.width = config.size({"moe_intermediate_size"}, ShapeLimits::kWidth);
  else if (config.has("moe_inter_dim"))
    moe.expert.width = config.size({"moe_inter_dim"}, ShapeLimits::kWidth);
  else if (config.has("ffn_config.ffn_hidden_size"))
    moe.expert.width = config.size({"ffn_config.ffn_hidden_size"}, ShapeLimits::kWidth);
  else if (config.has("intermediate_size"))
    moe.expert.width = config.size({"intermediate_size"}, ShapeLimits::kWidth);
  else
    config.missing("moe_intermediate_size (or moe_inter_dim, ffn_config.ffn_hidden_size, intermediate_size)");
  const std::int64_t shared =
      config.size_or({"n_shared_experts", "num_shared_experts", "moe_num_shared_experts"}, 0, 1000);
  moe.shared.width = shared > 0 ? shared * moe.expert.width
                                : config.size_or({"shared_expert_intermediate_size", "shared_intermediate_size"}, 0,
                                                 ShapeLimits::kWidth);
  moe.score = config.text_or("scoring_func", "softmax") == "sigmoid" ? RouterScore::kSigmoid : RouterScore::kSoftmax;
  read_groups(config, moe);
  return moe;
}

// moe_layer_freq counts from layer 0, or is a list with 1 for each MoE layer; the other keys mark the last layer of each
// group.
std::vector<bool> read_pattern(ConfigReader& config, std::int64_t layers) {
  const std::int64_t first =
      config.size_or({"first_k_dense_replace", "n_dense_layers", "moe_layer_start_index"}, 0, ShapeLimits::kLayers);
  if (config.has("mlp_layer_types")) return read_sparse_layers(config, layers, 0, 1);
  if (config.is_list("moe_layer_freq")) {
    const std::vector<std::int64_t> marks = config.sizes("moe_layer_freq", 1);
    if (static_cast<std::int64_t>(marks.size()) != layers)
      config.problem("moe_layer_freq", fmt::format("lists {} layers of {}", marks.size(), layers));
    return {marks.begin(), marks.end()};
  }
  if (config.has("moe_layer_freq"))
    return read_sparse_layers(config, layers, first, config.size({"moe_layer_freq"}, ShapeLimits::kLayers));
  const std::int64_t step = std::max<std::int64_t>(
      1, config.size_or({"decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval"}, 1,
                        ShapeLimits::kLayers));
  std::vector<bool> sparse;
  for (std::int64_t i = 0; i < layers; ++i) sparse.push_back(i >= first && (i + 1) % step == 0);
  for (const std::int64_t i : config.sizes("mlp_only_layers", ShapeLimits::kLayers))
    if (i < layers) sparse[static_cast<std::size_t>(i)] = false;
  return sparse;
}

}  // namespace

Result<ModelShape> read_by_aliases(ConfigReader& config) {
  refuse_foreign_layers(config);
  ModelShape shape;
  shape.hidden = config.size({"hidden_size", "d_model", "n_embd", "dim"}, ShapeLimits::kHidden);
  shape.vocab = config.size({"vocab_size", "n_vocab"}, ShapeLimits::kVocab);
  shape.tied_embeddings = config.flag_or({"tie_word_embeddings"}, false);
  shape.max_positions =
      config.size_or({"max_position_embeddings", "max_seq_len", "n_positions"}, 0, ShapeLimits::kPositions);
  const std::int64_t layers =
      config.size({"num_hidden_layers", "n_layers", "num_layers", "n_layer"}, ShapeLimits::kLayers);
  LayerShape layer;
  layer.attention = read_attention(config, shape.hidden);
  const std::optional<MoeShape> moe = read_moe(config);
  const std::vector<bool> sparse =
      moe ? read_pattern(config, layers) : std::vector<bool>(static_cast<std::size_t>(layers), false);
  FfnShape dense;
  if (any_dense(sparse))
    dense.width = config.size({"intermediate_size", "inter_dim", "ffn_hidden_size", "n_inner"}, ShapeLimits::kWidth);
  shape.mtp_layers = static_cast<int>(config.size_or({"num_nextn_predict_layers"}, 0, 100));
  MOESIM_TRY(config.finish());
  if (config.has("index_topk"))
    config.note("index_* keys: the indexer of sparse attention is not counted, and attention is taken as full");
  config.note("FFNs are taken as gated (three matrices) without biases");
  config.note(fmt::format("filled from these keys: {}", fmt::join(config.used(), ", ")));
  append_layers(shape, layer, sparse, dense, moe.value_or(MoeShape{}));
  return shape;
}

}  // namespace moesim
