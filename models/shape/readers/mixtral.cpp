// Mixtral: every layer is MoE, and `intermediate_size` is the width of one expert.
#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

Result<ModelShape> read(ConfigReader& config) {
  ModelShape shape = read_trunk(config);
  const std::int64_t layers = read_layer_count(config);
  LayerShape layer;
  layer.attention = read_grouped_attention(config, shape.hidden, KvHeads::kRequired, HeadDim::kHiddenOverHeads);
  layer.attention.window = config.size_or({"sliding_window"}, 0, ShapeLimits::kPositions);
  MoeShape moe;
  moe.experts = read_experts(config);
  moe.top_k = read_top_k(config);
  moe.expert = {.width = config.size({"intermediate_size"}, ShapeLimits::kWidth)};
  moe.score = RouterScore::kSoftmaxOfTopk;
  layer.moe = moe;
  MOESIM_TRY(config.finish());
  for (std::int64_t i = 0; i < layers; ++i) append_layer(shape, layer);
  return shape;
}

constexpr std::string_view kTypes[] = {"mixtral"};

}  // namespace

const ModelReader kMixtralReader = {kTypes, read};

}  // namespace moesim
