// OLMoE: every layer is MoE, `intermediate_size` is the width of one expert, and the query and key norms span all heads.
#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

Result<ModelShape> read(ConfigReader& config) {
  ModelShape shape = read_trunk(config);
  const std::int64_t layers = read_layer_count(config);
  LayerShape layer;
  layer.attention = read_grouped_attention(config, shape.hidden, KvHeads::kAsManyAsHeads, HeadDim::kHiddenOverHeads);
  layer.attention.qk_norm = true;
  layer.attention.qk_norm_wide = true;
  MoeShape moe;
  moe.experts = read_experts(config);
  moe.top_k = read_top_k(config);
  moe.expert = {.width = config.size({"intermediate_size"}, ShapeLimits::kWidth)};
  layer.moe = moe;
  MOESIM_TRY(config.finish());
  for (std::int64_t i = 0; i < layers; ++i) append_layer(shape, layer);
  return shape;
}

constexpr std::string_view kTypes[] = {"olmoe"};

}  // namespace

const ModelReader kOlmoeReader = {kTypes, read};

}  // namespace moesim
