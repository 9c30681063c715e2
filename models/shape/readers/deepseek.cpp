// DeepSeek-V2 and V3, and Kimi K2 (the V3 code with other sizes): MLA, shared experts, dense layers first.
//
// q_lora_rank null means that queries are projected directly (V2-Lite); an absent one is an error, since the classes of
// the transformers library would stand in 1536. V3 routes by sigmoid scores with a balance bias (arXiv 2412.19437,
// section 2.1.2), V2 by softmax (arXiv 2405.04434); files saved by the library leave scoring_func and topk_method out.
#include <fmt/format.h>

#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

enum class Generation : std::uint8_t { kV2, kV3 };

AttentionShape read_mla(ConfigReader& config) {
  AttentionShape attention;
  attention.kind = AttentionKind::kMla;
  attention.heads = config.size({"num_attention_heads"}, ShapeLimits::kHeads);
  attention.kv_heads = attention.heads;  // num_key_value_heads says nothing here: keys come out of the latent per head
  attention.q_lora = config.size_or_null({"q_lora_rank"}, ShapeLimits::kHidden);
  attention.kv_lora = config.size({"kv_lora_rank"}, ShapeLimits::kHidden);
  attention.qk_nope = config.size({"qk_nope_head_dim"}, ShapeLimits::kHeadDim);
  attention.qk_rope = config.size({"qk_rope_head_dim"}, ShapeLimits::kHeadDim);
  attention.head_dim = attention.qk_nope + attention.qk_rope;
  attention.value_head_dim = config.size({"v_head_dim"}, ShapeLimits::kHeadDim);
  attention.qkv_bias = config.flag_or({"attention_bias"}, false);
  attention.out_bias = attention.qkv_bias;
  return attention;
}

Result<RouterScore> read_score(ConfigReader& config, Generation generation) {
  const std::string name = config.text_or("scoring_func", generation == Generation::kV3 ? "sigmoid" : "softmax");
  if (name == "sigmoid") return RouterScore::kSigmoid;
  if (name == "softmax") return RouterScore::kSoftmax;
  return config.object().error_at("scoring_func", fmt::format("unknown scoring function '{}'", name),
                                  "one of sigmoid, softmax");
}

Result<ModelShape> read(ConfigReader& config, Generation generation) {
  ModelShape shape = read_trunk(config);
  const std::int64_t layers = read_layer_count(config);
  LayerShape layer;
  layer.attention = read_mla(config);

  MoeShape moe = read_routed_experts(config, "moe_intermediate_size");
  moe.shared = {.width = moe.expert.width * config.size_or_null({"n_shared_experts", "num_shared_experts"}, 1000)};
  const std::string method = config.text_or("topk_method", generation == Generation::kV3 ? "noaux_tc" : "");
  moe.score_correction_bias = method == "noaux_tc";
  if (method != "greedy") read_groups(config, moe);

  const std::int64_t first = read_first_sparse_layer(config);
  const std::int64_t every = config.has("moe_layer_freq") ? config.size({"moe_layer_freq"}, ShapeLimits::kLayers) : 1;
  const std::vector<bool> sparse = read_sparse_layers(config, layers, first, every);
  FfnShape dense;
  if (any_dense(sparse)) dense.width = config.size({"intermediate_size"}, ShapeLimits::kWidth);
  shape.mtp_layers = static_cast<int>(config.size_or({"num_nextn_predict_layers"}, 0, 100));
  MOESIM_TRY(config.finish());
  MOESIM_ASSIGN(moe.score, read_score(config, generation));

  append_layers(shape, layer, sparse, dense, moe);
  return shape;
}

Result<ModelShape> read_v2(ConfigReader& config) { return read(config, Generation::kV2); }
Result<ModelShape> read_v3(ConfigReader& config) { return read(config, Generation::kV3); }

constexpr std::string_view kV2Types[] = {"deepseek_v2"};
constexpr std::string_view kV3Types[] = {"deepseek_v3", "kimi_k2"};

}  // namespace

const ModelReader kDeepseekV2Reader = {kV2Types, read_v2};
const ModelReader kDeepseekV3Reader = {kV3Types, read_v3};

}  // namespace moesim
