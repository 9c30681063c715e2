// Qwen2-MoE and Qwen3-MoE; `intermediate_size` belongs to the dense layers only.
//
// Qwen2: biases on q, k and v, one gated shared expert whose key gives the total width. Qwen3: query and key norms, no
// biases, no shared expert.
#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

enum class Generation : std::uint8_t { kQwen2, kQwen3 };

void read_shared(ConfigReader& config, MoeShape& moe, Generation generation) {
  if (generation == Generation::kQwen2) {
    moe.shared = {.width = config.size_or_null({"shared_expert_intermediate_size"}, ShapeLimits::kWidth)};
    moe.shared_gate = moe.shared.width > 0;
  } else if (config.size_or({"shared_expert_intermediate_size"}, 0, ShapeLimits::kWidth) > 0) {
    config.note("shared_expert_intermediate_size is ignored: the Qwen3-MoE architecture has no shared expert");
  }
}

AttentionShape read_attention(ConfigReader& config, std::int64_t hidden, Generation generation) {
  AttentionShape attention = read_grouped_attention(config, hidden, KvHeads::kRequired, HeadDim::kHiddenOverHeads);
  if (generation == Generation::kQwen2) {
    attention.qkv_bias = config.flag_or({"qkv_bias"}, true);
    attention.out_bias = false;
  } else {
    attention.qk_norm = true;
  }
  if (config.flag_or({"use_sliding_window"}, false)) {
    attention.window = config.size({"sliding_window"}, ShapeLimits::kPositions);
    config.note("use_sliding_window is set: the window is counted on every layer");
  }
  return attention;
}

Result<ModelShape> read(ConfigReader& config, Generation generation) {
  ModelShape shape = read_trunk(config);
  const std::int64_t layers = read_layer_count(config);
  LayerShape layer;
  layer.attention = read_attention(config, shape.hidden, generation);
  MoeShape moe = read_routed_experts(config, "moe_intermediate_size");
  read_shared(config, moe, generation);
  const std::vector<bool> sparse = read_sparse_steps(config, layers);
  FfnShape dense;
  if (any_dense(sparse)) dense.width = config.size({"intermediate_size"}, ShapeLimits::kWidth);
  MOESIM_TRY(config.finish());
  append_layers(shape, layer, sparse, dense, moe);
  return shape;
}

Result<ModelShape> read_qwen2(ConfigReader& config) { return read(config, Generation::kQwen2); }
Result<ModelShape> read_qwen3(ConfigReader& config) { return read(config, Generation::kQwen3); }

constexpr std::string_view kQwen2Types[] = {"qwen2_moe"};
constexpr std::string_view kQwen3Types[] = {"qwen3_moe", "qwen3_moe_text", "qwen3_vl_moe_text"};

}  // namespace

const ModelReader kQwen2MoeReader = {kQwen2Types, read_qwen2};
const ModelReader kQwen3MoeReader = {kQwen3Types, read_qwen3};

}  // namespace moesim
