// Qwen3-Next: three of four layers are gated delta nets (linear attention), the fourth is grouped attention with an
// output gate; all layers are MoE with one gated shared expert.
//
// Which layers: `layer_types` where present, else every full_attention_interval-th. Some published tables count every
// layer as plain grouped attention; a note gives that figure beside the true one (80B-A3B: 79 039 236 096).
#include <fmt/format.h>

#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

AttentionShape read_delta_net(ConfigReader& config) {
  AttentionShape attention;
  attention.kind = AttentionKind::kLinear;
  attention.heads = config.size({"linear_num_value_heads"}, ShapeLimits::kHeads);
  attention.kv_heads = config.size({"linear_num_key_heads"}, ShapeLimits::kHeads);
  attention.head_dim = config.size({"linear_key_head_dim"}, ShapeLimits::kHeadDim);
  attention.value_head_dim = config.size({"linear_value_head_dim"}, ShapeLimits::kHeadDim);
  attention.conv_kernel = config.size({"linear_conv_kernel_dim"}, 1024);
  return attention;
}

// True per layer where the attention is full; empty after a problem.
std::vector<bool> full_layers(ConfigReader& config, std::int64_t layers) {
  std::vector<bool> full;
  if (config.has("layer_types")) {
    for (const std::string& type :
         read_layer_names(config, "layer_types", layers, {"linear_attention", "full_attention"}))
      full.push_back(type == "full_attention");
    return full;
  }
  const std::int64_t interval = config.size({"full_attention_interval"}, ShapeLimits::kLayers);
  for (std::int64_t i = 0; i < layers; ++i) full.push_back((i + 1) % interval == 0);
  return full;
}

void note_plain_count(ConfigReader& config, const ModelShape& shape, AttentionShape plain) {
  plain.output_gate = false;
  ModelShape copy = shape;
  for (LayerShape& kind : copy.kinds) kind.attention = plain;
  const ParameterCounts counts = count_parameters(copy);
  config.note(
      fmt::format("linear attention layers are counted as such; with plain grouped attention on every layer the "
                  "total would be {} and the active parameters {}",
                  counts.total, counts.active));
}

Result<ModelShape> read(ConfigReader& config) {
  ModelShape shape = read_trunk(config);
  const std::int64_t layers = read_layer_count(config);
  AttentionShape full = read_grouped_attention(config, shape.hidden, KvHeads::kRequired, HeadDim::kRequired);
  full.qk_norm = true;
  full.output_gate = true;
  const AttentionShape linear = read_delta_net(config);
  const std::vector<bool> is_full = full_layers(config, layers);

  MoeShape moe = read_routed_experts(config, "moe_intermediate_size");
  moe.shared = {.width = config.size_or_null({"shared_expert_intermediate_size"}, ShapeLimits::kWidth)};
  moe.shared_gate = moe.shared.width > 0;
  const std::vector<bool> sparse = read_sparse_steps(config, layers);
  FfnShape dense;
  if (any_dense(sparse)) dense.width = config.size({"intermediate_size"}, ShapeLimits::kWidth);
  MOESIM_TRY(config.finish());

  for (std::size_t i = 0; i < sparse.size(); ++i) {
    LayerShape layer;
    layer.attention = is_full[i] ? full : linear;
    append_layers(shape, layer, {sparse[i]}, dense, moe);
  }
  MOESIM_TRY(check(shape));
  note_plain_count(config, shape, full);
  return shape;
}

constexpr std::string_view kTypes[] = {"qwen3_next"};

}  // namespace

const ModelReader kQwen3NextReader = {kTypes, read};

}  // namespace moesim
