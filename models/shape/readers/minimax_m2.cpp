// MiniMax-M2: Mixtral's spelling with sigmoid scores and a balance bias; the query and key norms span all heads.
#include <algorithm>

#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

Result<ModelShape> read(ConfigReader& config) {
  ModelShape shape = read_trunk(config);
  const std::int64_t layers = read_layer_count(config);
  LayerShape layer;
  layer.attention = read_grouped_attention(config, shape.hidden, KvHeads::kRequired, HeadDim::kRequired);
  layer.attention.qk_norm = config.flag_or({"use_qk_norm"}, true);
  layer.attention.qk_norm_wide = layer.attention.qk_norm && config.text_or("qk_norm_type", "per_layer") == "per_layer";
  // The family's earlier models mark linear attention layers with 0 here; this one has none.
  const std::vector<std::int64_t> kinds = config.sizes("attn_type_list", 1);
  if (std::find(kinds.begin(), kinds.end(), 0) != kinds.end())
    config.problem("attn_type_list", "marks linear attention layers, which this architecture does not have");
  MoeShape moe = read_routed_experts(config, "intermediate_size");
  moe.shared = {.width = config.size_or({"shared_intermediate_size"}, 0, ShapeLimits::kWidth)};
  moe.score = config.text_or("scoring_func", "sigmoid") == "softmax" ? RouterScore::kSoftmax : RouterScore::kSigmoid;
  moe.score_correction_bias = config.flag_or({"use_routing_bias"}, true);
  layer.moe = moe;
  if (config.flag_or({"use_mtp"}, true))
    shape.mtp_layers = static_cast<int>(config.size_or({"num_mtp_modules"}, 0, 100));
  MOESIM_TRY(config.finish());
  append_alike(shape, layer, layers);
  return shape;
}

constexpr std::string_view kTypes[] = {"minimax_m2"};

}  // namespace

const ModelReader kMinimaxM2Reader = {kTypes, read};

}  // namespace moesim
