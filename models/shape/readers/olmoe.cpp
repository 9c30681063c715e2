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
  layer.moe = read_routed_experts(config, "intermediate_size");
  MOESIM_TRY(config.finish());
  append_alike(shape, layer, layers);
  return shape;
}

constexpr std::string_view kTypes[] = {"olmoe"};

}  // namespace

const ModelReader kOlmoeReader = {kTypes, read};

}  // namespace moesim
