// Llama 4, text tower: MoE layers from `moe_layers` or interleave_moe_layer_step (the last of every n), each with one
// shared expert as wide as a routed one; `intermediate_size_mlp` is the dense layers'.
//
// Three of four layers attend within chunks of attention_chunk_size tokens; the fourth sees everything and has no rotary
// embedding. The query and key norms have no weights.
#include <fmt/format.h>

#include "models/shape/readers/common.hpp"
#include "models/shape/readers/readers.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kFullEvery = 4;  // the architecture's own period (no_rope_layer_interval)

std::vector<bool> read_moe_layers(ConfigReader& config, std::int64_t layers) {
  std::vector<bool> sparse(static_cast<std::size_t>(layers), false);
  const std::vector<std::int64_t> listed = config.sizes("moe_layers", ShapeLimits::kLayers);
  for (const std::int64_t i : listed) {
    if (i < layers)
      sparse[static_cast<std::size_t>(i)] = true;
    else
      config.problem("moe_layers", fmt::format("names layer {} of 0 to {}", i, layers - 1));
  }
  if (!listed.empty()) return sparse;
  if (!config.has("interleave_moe_layer_step")) {
    config.missing("moe_layers (or interleave_moe_layer_step)");
    return sparse;
  }
  const std::int64_t step = config.size({"interleave_moe_layer_step"}, ShapeLimits::kLayers);
  for (std::int64_t i = step - 1; i < layers; i += step) sparse[static_cast<std::size_t>(i)] = true;
  return sparse;
}

std::vector<bool> read_chunked_layers(ConfigReader& config, std::int64_t layers) {
  std::vector<bool> chunked;
  for (const std::string& type :
       read_layer_names(config, "layer_types", layers, {"chunked_attention", "full_attention"}))
    chunked.push_back(type == "chunked_attention");
  if (!chunked.empty()) return chunked;
  const std::vector<std::int64_t> rotary = config.sizes("no_rope_layers", 1);  // 1: rotary, thus chunked
  if (!rotary.empty() && static_cast<std::int64_t>(rotary.size()) != layers)
    config.problem("no_rope_layers", fmt::format("lists {} layers of {}", rotary.size(), layers));
  for (std::int64_t i = 0; i < layers; ++i) {
    const bool listed = static_cast<std::size_t>(i) < rotary.size();
    chunked.push_back(listed ? rotary[static_cast<std::size_t>(i)] == 1 : (i + 1) % kFullEvery != 0);
  }
  return chunked;
}

Result<ModelShape> read(ConfigReader& config) {
  ModelShape shape = read_trunk(config);
  const std::int64_t layers = read_layer_count(config);
  AttentionShape attention = read_grouped_attention(config, shape.hidden, KvHeads::kRequired, HeadDim::kRequired);
  MoeShape moe = read_routed_experts(config, "intermediate_size");
  moe.shared = moe.expert;
  moe.score = RouterScore::kSigmoid;
  const std::vector<bool> sparse = read_moe_layers(config, layers);
  FfnShape dense;
  if (any_dense(sparse)) dense.width = config.size({"intermediate_size_mlp"}, ShapeLimits::kWidth);
  const std::int64_t chunk = config.size_or({"attention_chunk_size"}, 0, ShapeLimits::kPositions);
  const std::vector<bool> chunked = read_chunked_layers(config, layers);
  MOESIM_TRY(config.finish());

  for (std::size_t i = 0; i < sparse.size(); ++i) {
    LayerShape layer;
    layer.attention = attention;
    layer.attention.chunked = chunk > 0 && chunked[i];
    layer.attention.window = layer.attention.chunked ? chunk : 0;
    append_layers(shape, layer, {sparse[i]}, dense, moe);
  }
  return shape;
}

constexpr std::string_view kTypes[] = {"llama4", "llama4_text"};

}  // namespace

const ModelReader kLlama4Reader = {kTypes, read};

}  // namespace moesim
