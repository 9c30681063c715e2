// DBRX: its own words, and the sizes of FFN and attention one level down (`ffn_config`, `attn_config`).
#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

Result<ModelShape> read(ConfigReader& config) {
  ModelShape shape;
  shape.hidden = config.size({"d_model"}, ShapeLimits::kHidden);
  shape.vocab = config.size({"vocab_size"}, ShapeLimits::kVocab);
  shape.tied_embeddings = config.flag_or({"tie_word_embeddings"}, false);
  shape.max_positions = config.size_or({"max_seq_len"}, 0, ShapeLimits::kPositions);
  const std::int64_t layers = config.size({"n_layers"}, ShapeLimits::kLayers);
  LayerShape layer;
  layer.attention.heads = config.size({"n_heads"}, ShapeLimits::kHeads);
  layer.attention.kv_heads = config.size({"attn_config.kv_n_heads"}, ShapeLimits::kHeads);
  MoeShape moe;
  moe.experts = config.size({"ffn_config.moe_num_experts"}, ShapeLimits::kExperts);
  moe.top_k = config.size({"ffn_config.moe_top_k"}, ShapeLimits::kExperts);
  moe.expert = {.width = config.size({"ffn_config.ffn_hidden_size"}, ShapeLimits::kWidth)};
  layer.moe = moe;
  MOESIM_TRY(config.finish());
  layer.attention.head_dim = derived_head_dim(config, shape.hidden, layer.attention.heads);
  layer.attention.value_head_dim = layer.attention.head_dim;
  MOESIM_TRY(config.finish());
  append_alike(shape, layer, layers);
  return shape;
}

constexpr std::string_view kTypes[] = {"dbrx"};

}  // namespace

const ModelReader kDbrxReader = {kTypes, read};

}  // namespace moesim
