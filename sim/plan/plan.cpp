#include "sim/plan/plan.hpp"

#include <fmt/format.h>

#include <array>

#include "base/text.hpp"
#include "sim/pipeline/schedules.hpp"

namespace moesim {
namespace {

Status check_own_split(const std::vector<int>& layers, int stages, int model_layers) {
  if (static_cast<int>(layers.size()) != stages)
    return invalid_input(fmt::format("stage_layers has {} numbers for {} virtual stages", layers.size(), stages), {},
                         "one number per virtual stage, in model order");
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const bool holds_embedding_or_head = i == 0 || i + 1 == layers.size();
    if (layers[i] < 0 || (layers[i] == 0 && !holds_embedding_or_head))
      return invalid_input(
          fmt::format("stage_layers gives {} layers to virtual stage {}", layers[i], i), {},
          "only the first and the last virtual stage may have none: they hold the embedding and the head");
    sum += layers[i];
  }
  if (sum != model_layers)
    return invalid_input(fmt::format("stage_layers has {} layers in total, the model has {}", sum, model_layers), {},
                         sum < model_layers ? "layers would silently be lost" : "layers would be counted twice");
  return {};
}

}  // namespace

std::string_view grad_placement_name(GradPlacement placement) {
  return placement == GradPlacement::kAsReady ? "as-ready" : "between-exchanges";
}

std::string_view wire_format_name(WireFormat format) {
  switch (format) {
    case WireFormat::kAsComputed: return "";
    case WireFormat::kBf16: return "bf16";
    case WireFormat::kFp8: return "fp8";
  }
  return "";
}

Result<WireFormat> find_wire_format(std::string_view name) {
  if (name.empty() || name == "none") return WireFormat::kAsComputed;
  const std::vector<std::string> names = {"bf16", "fp8"};
  for (const WireFormat format : {WireFormat::kBf16, WireFormat::kFp8})
    if (wire_format_name(format) == name) return format;
  return usage_error(fmt::format("unknown format '{}' of rows on the wire{}", name, did_you_mean(name, names)),
                     "one of none, bf16, fp8");
}

std::string_view recompute_name(Recompute recompute) {
  switch (recompute) {
    case Recompute::kNone: return "none";
    case Recompute::kSelective: return "selective";
    case Recompute::kFull: return "full";
  }
  return "none";
}

std::span<const CollectiveAlgorithm> all_reduce_algorithms() {
  static constexpr std::array kAlgorithms = {CollectiveAlgorithm::kAuto, CollectiveAlgorithm::kRing,
                                             CollectiveAlgorithm::kTree, CollectiveAlgorithm::kSwitch,
                                             CollectiveAlgorithm::kNetwork};
  return kAlgorithms;
}

std::int64_t padded_vocab(std::int64_t vocab, int tp) {
  const std::int64_t unit = 128LL * tp;
  return (vocab + unit - 1) / unit * unit;
}

Result<int> virtual_stages(const Plan& plan) {
  MOESIM_ASSIGN(const PipelineSchedule* schedule, find_pipeline_schedule(plan.pipeline));
  return virtual_stages(*schedule, {plan.sizes().pp, 1, plan.sizes().vpp});
}

Result<std::vector<int>> split_layers(const Plan& plan, const ModelShape& model) {
  MOESIM_ASSIGN(const int stages, virtual_stages(plan));
  const int layers = model.layer_count();
  if (!plan.stage_layers.empty()) {
    MOESIM_TRY(check_own_split(plan.stage_layers, stages, layers));
    return plan.stage_layers;
  }
  if (layers < stages)
    return invalid_input(fmt::format("{} layers cannot fill {} virtual stages", layers, stages), {}, "lower pp or vpp");
  std::vector<int> split(static_cast<std::size_t>(stages), layers / stages);
  if (layers % stages == 0) return split;
  // The short stages: the last (the head), the first (the embedding), then from the front, where memory is tightest.
  int longer = layers % stages;
  for (std::size_t i = split.size() - 1; i-- > 1 && longer > 0; --longer) ++split[i];
  if (longer > 0) ++split.front();
  return split;
}

std::string run_name(const Plan& plan) {
  const ParallelSizes& s = plan.sizes();
  const std::string expert_tp = s.esp > 1 ? fmt::format("ETP{}", s.esp) : std::string();
  return fmt::format("TP{}PP{}EP{}CP{}VPP{}{}-MBS{}GBS{}", s.tp, s.pp, s.ep, s.cp, s.vpp, expert_tp, plan.micro_batch,
                     plan.global_batch);
}

}  // namespace moesim
