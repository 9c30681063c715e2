// Kimi Linear: Kimi delta attention on the layers listed (counted from 1) in linear_attn_config.kda_layers, MLA without
// query latent on those in full_attn_layers; MoE after first_k_dense_replace, with DeepSeek-V3 style routing.
//
// Spellings of its own: num_experts_per_token, num_shared_experts, num_expert_group.
#include <fmt/format.h>

#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

// Later models of this type put the experts into a narrower space and widen the gates; their layers are not these.
void refuse_later_variants(ConfigReader& config) {
  if (config.has("routed_expert_hidden_size"))
    config.problem("routed_expert_hidden_size", "experts that work in a space of their own width are not covered");
  if (config.flag_or({"linear_attn_config.use_full_rank_gate"}, false) ||
      config.flag_or({"mla_use_output_gate"}, false))
    config.problem("linear_attn_config", "full-rank or output gates are not covered");
}

AttentionShape read_delta(ConfigReader& config) {
  AttentionShape attention;
  attention.kind = AttentionKind::kLinear;
  attention.heads = config.size({"linear_attn_config.num_heads"}, ShapeLimits::kHeads);
  attention.kv_heads = attention.heads;
  attention.head_dim = config.size({"linear_attn_config.head_dim"}, ShapeLimits::kHeadDim);
  attention.value_head_dim = attention.head_dim;
  attention.conv_kernel = config.size({"linear_attn_config.short_conv_kernel_size"}, 1024);
  attention.gate_rank = attention.head_dim;  // the bottleneck of both gates is one head wide
  return attention;
}

AttentionShape read_latent(ConfigReader& config) {
  AttentionShape attention;
  attention.kind = AttentionKind::kMla;
  attention.heads = config.size({"num_attention_heads"}, ShapeLimits::kHeads);
  attention.kv_heads = attention.heads;
  attention.q_lora = config.size_or({"q_lora_rank"}, 0, ShapeLimits::kHidden);
  attention.kv_lora = config.size({"kv_lora_rank"}, ShapeLimits::kHidden);
  attention.qk_nope = config.size({"qk_nope_head_dim"}, ShapeLimits::kHeadDim);
  attention.qk_rope = config.size({"qk_rope_head_dim"}, ShapeLimits::kHeadDim);
  attention.head_dim = attention.qk_nope + attention.qk_rope;
  attention.value_head_dim = config.size({"v_head_dim"}, ShapeLimits::kHeadDim);
  return attention;
}

MoeShape read_moe(ConfigReader& config) {
  MoeShape moe = read_routed_experts(config, "moe_intermediate_size");
  moe.shared = {.width = moe.expert.width * config.size_or_null({"num_shared_experts", "n_shared_experts"}, 1000)};
  moe.score = config.text_or("moe_router_activation_func", "sigmoid") == "softmax" ? RouterScore::kSoftmax
                                                                                   : RouterScore::kSigmoid;
  moe.score_correction_bias = true;
  read_groups(config, moe);
  return moe;
}

Result<ModelShape> read(ConfigReader& config) {
  ModelShape shape = read_trunk(config);
  const std::int64_t layers = read_layer_count(config);
  refuse_later_variants(config);
  const AttentionShape delta = read_delta(config);
  const AttentionShape latent = read_latent(config);
  const MoeShape moe = read_moe(config);
  const std::int64_t first = read_first_sparse_layer(config);
  const std::int64_t every = config.has("moe_layer_freq") ? config.size({"moe_layer_freq"}, ShapeLimits::kLayers) : 1;
  const std::vector<bool> sparse = read_sparse_layers(config, layers, first, every);
  FfnShape dense;
  if (any_dense(sparse)) dense.width = config.size({"intermediate_size"}, ShapeLimits::kWidth);
  if (!config.has("linear_attn_config.full_attn_layers")) config.missing("linear_attn_config.full_attn_layers");
  const std::vector<std::int64_t> listed = config.sizes("linear_attn_config.full_attn_layers", ShapeLimits::kLayers);
  shape.mtp_layers = static_cast<int>(config.size_or({"num_nextn_predict_layers"}, 0, 100));
  MOESIM_TRY(config.finish());

  std::vector<bool> full(static_cast<std::size_t>(layers), false);
  for (const std::int64_t number : listed) {
    if (number < 1 || number > layers)
      return config.object().error(
          fmt::format("linear_attn_config.full_attn_layers names layer {} of 1 to {}", number, layers));
    full[static_cast<std::size_t>(number - 1)] = true;
  }
  for (std::size_t i = 0; i < sparse.size(); ++i) {
    LayerShape layer;
    layer.attention = full[i] ? latent : delta;
    append_layers(shape, layer, {sparse[i]}, dense, moe);
  }
  return shape;
}

constexpr std::string_view kTypes[] = {"kimi_linear"};

}  // namespace

const ModelReader kKimiLinearReader = {kTypes, read};

}  // namespace moesim
