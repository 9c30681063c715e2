// Phi-3.5-MoE: Mixtral's spelling, LayerNorms with bias, and a router that samples (SparseMixer) for its two experts.
#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

Result<ModelShape> read(ConfigReader& config) {
  ModelShape shape = read_trunk(config);
  shape.norm_bias = true;
  shape.lm_head_bias = config.flag_or({"lm_head_bias"}, false);
  const std::int64_t layers = read_layer_count(config);
  LayerShape layer;
  layer.attention = read_grouped_attention(config, shape.hidden, KvHeads::kRequired, HeadDim::kHiddenOverHeads);
  layer.attention.window = config.size_or({"sliding_window"}, 0, ShapeLimits::kPositions);
  // The published file sets the window to the whole 131072 positions, which is no window.
  if (shape.max_positions > 0 && layer.attention.window >= shape.max_positions) layer.attention.window = 0;
  MoeShape moe = read_routed_experts(config, "intermediate_size");
  moe.score = RouterScore::kSparsemixer;
  layer.moe = moe;
  MOESIM_TRY(config.finish());
  append_alike(shape, layer, layers);
  return shape;
}

constexpr std::string_view kTypes[] = {"phimoe"};

}  // namespace

const ModelReader kPhimoeReader = {kTypes, read};

}  // namespace moesim
