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
  MoeShape moe = read_routed_experts(config, "intermediate_size");
  moe.score = RouterScore::kSoftmaxOfTopk;
  layer.moe = moe;
  MOESIM_TRY(config.finish());
  append_alike(shape, layer, layers);
  return shape;
}

constexpr std::string_view kTypes[] = {"mixtral"};

}  // namespace

const ModelReader kMixtralReader = {kTypes, read};

}  // namespace moesim
