// Layers as the compact strings that Megatron-LM reads.
#include <fmt/format.h>

#include "sim/plan/export/export.hpp"

namespace moesim {
namespace {

// The last virtual stage carries the loss, the first the embedding; the others are only layers.
std::string stage_text(const std::vector<int>& layers, std::size_t stage) {
  std::string text = stage == 0 ? "E" : "";
  text += std::string(static_cast<std::size_t>(layers[stage]), 't');
  if (stage + 1 == layers.size()) text += 'L';
  return text;
}

}  // namespace

std::string pipeline_layout_text(const std::vector<int>& stage_layers) {
  std::string text;
  for (std::size_t stage = 0; stage < stage_layers.size();) {
    const std::string part = stage_text(stage_layers, stage);
    if (stage + 1 == stage_layers.size()) return text + part;
    std::size_t next = stage + 1;
    while (next + 1 < stage_layers.size() && stage_text(stage_layers, next) == part) ++next;
    const std::size_t repeats = next - stage;
    text += repeats > 1 ? fmt::format("({}|)*{}", part, repeats) : part + "|";
    stage = next;
  }
  return text;
}

std::string moe_layer_pattern(const ModelShape& model) {
  const auto is_moe = [&model](int layer) { return model.layer(LayerId(layer)).moe.has_value(); };
  std::string text;
  int first = 0;
  for (int layer = 0; layer < model.layer_count(); layer = first) {
    while (first < model.layer_count() && is_moe(first) == is_moe(layer)) ++first;
    text += fmt::format("{}[{}]*{}", text.empty() ? "" : "+", is_moe(layer) ? 1 : 0, first - layer);
    if (layer == 0 && first == model.layer_count() && is_moe(0)) return "1";
  }
  return "(" + text + ")";
}

}  // namespace moesim
