// gpt-oss: sliding and full attention by turns, one learned sink per head, biases on attention, router and experts.
#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

Result<ModelShape> read(ConfigReader& config) {
  ModelShape shape = read_trunk(config);
  const std::int64_t layers = read_layer_count(config);
  LayerShape layer;
  layer.attention = read_grouped_attention(config, shape.hidden, KvHeads::kRequired, HeadDim::kRequired);
  layer.attention.qkv_bias = layer.attention.out_bias = config.flag_or({"attention_bias"}, true);
  layer.attention.sinks = true;
  const std::int64_t window = config.size({"sliding_window"}, ShapeLimits::kPositions);
  std::vector<std::string> types =
      read_layer_names(config, "layer_types", layers, {"sliding_attention", "full_attention"});
  if (!config.has("layer_types")) {
    config.note("layer_types is not given: sliding and full attention by turns, as the architecture has it");
    for (std::int64_t i = 0; i < layers; ++i) types.emplace_back(i % 2 == 0 ? "sliding_attention" : "full_attention");
  }
  MoeShape moe = read_routed_experts(config, "intermediate_size");
  moe.expert.bias = true;
  moe.score = RouterScore::kSoftmaxOfTopk;
  moe.router_bias = true;
  layer.moe = moe;
  MOESIM_TRY(config.finish());
  for (const std::string& type : types) {
    layer.attention.window = type == "sliding_attention" ? window : 0;
    append_layer(shape, layer);
  }
  return shape;
}

constexpr std::string_view kTypes[] = {"gpt_oss"};

}  // namespace

const ModelReader kGptOssReader = {kTypes, read};

}  // namespace moesim
