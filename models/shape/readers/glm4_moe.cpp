// GLM-4.5 and later MoE: DeepSeek's routing and layer pattern over grouped attention. attention_bias puts biases on q, k
// and v but not on the output; head_dim is never hidden / heads (5120 / 96 has a remainder).
#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

Result<ModelShape> read(ConfigReader& config) {
  ModelShape shape = read_trunk(config);
  const std::int64_t layers = read_layer_count(config);
  LayerShape layer;
  layer.attention = read_grouped_attention(config, shape.hidden, KvHeads::kRequired, HeadDim::kRequired);
  layer.attention.out_bias = false;
  layer.attention.qk_norm = config.flag_or({"use_qk_norm"}, false);
  MoeShape moe = read_routed_experts(config, "moe_intermediate_size");
  moe.shared = {.width = moe.expert.width * config.size_or_null({"n_shared_experts", "num_shared_experts"}, 1000)};
  moe.score = RouterScore::kSigmoid;
  moe.score_correction_bias = true;
  read_groups(config, moe);
  const std::vector<bool> sparse = read_sparse_layers(config, layers, read_first_sparse_layer(config), 1);
  FfnShape dense;
  if (any_dense(sparse)) dense.width = config.size({"intermediate_size"}, ShapeLimits::kWidth);
  shape.mtp_layers = static_cast<int>(config.size_or({"num_nextn_predict_layers"}, 0, 100));
  MOESIM_TRY(config.finish());
  append_layers(shape, layer, sparse, dense, moe);
  return shape;
}

constexpr std::string_view kTypes[] = {"glm4_moe", "glm4v_moe_text"};

}  // namespace

const ModelReader kGlm4MoeReader = {kTypes, read};

}  // namespace moesim
