// Dense models of the Llama line: Llama 2 and 3, Mistral (sliding window), Qwen2 (biases on q, k, v), Qwen3 (query and
// key norms). Kept apart by type because two of their differences have no key.
#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

Result<ModelShape> read(ConfigReader& config) {
  ModelShape shape = read_trunk(config);
  const std::int64_t layers = read_layer_count(config);
  const std::string type = config.text_or("model_type", "");
  LayerShape layer;
  layer.attention = read_grouped_attention(config, shape.hidden, KvHeads::kAsManyAsHeads, HeadDim::kHiddenOverHeads);
  layer.attention.qk_norm = type == "qwen3";
  if (type == "qwen2") {
    layer.attention.qkv_bias = true;
    layer.attention.out_bias = false;
  }
  const bool windowed = type == "mistral" || config.flag_or({"use_sliding_window"}, false);
  if (windowed) layer.attention.window = config.size_or({"sliding_window"}, 0, ShapeLimits::kPositions);
  layer.dense = FfnShape{.width = config.size({"intermediate_size"}, ShapeLimits::kWidth),
                         .bias = config.flag_or({"mlp_bias"}, false)};
  MOESIM_TRY(config.finish());
  append_alike(shape, layer, layers);
  return shape;
}

constexpr std::string_view kTypes[] = {"llama", "mistral", "qwen2", "qwen3"};

}  // namespace

const ModelReader kLlamaReader = {kTypes, read};

}  // namespace moesim
