#include "sim/placement/online_step.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/memory/memory_walk.hpp"

namespace moesim {
namespace {

std::size_t at(Category category) { return static_cast<std::size_t>(category); }

Seconds moe_time(const StepBreakdown& b, Seconds step) {
  const Seconds bubble = b.exposed[at(Category::kPpComm)];
  const Seconds apart = bubble + b.other + b.exposed[at(Category::kDpComm)] + b.compute[at(Category::kOptimizer)];
  const Seconds busy = step - apart;
  const Seconds own = b.compute[at(Category::kExperts)] + b.exposed[at(Category::kEpComm)];
  return busy > Seconds(0) ? own * (1 + bubble / busy) : own;
}

// The largest over stages of what their layers take together.
template <class TimeOf>
Seconds largest_stage(const std::vector<std::vector<double>>& stages, const PolicyReplay& replay,
                      const TimeOf& time_of) {
  Seconds most;
  for (const std::vector<double>& shares : stages) {
    Seconds sum;
    for (std::size_t layer = 0; layer < shares.size(); ++layer) sum += time_of(replay.layers[layer], shares[layer]);
    most = std::max(most, sum);
  }
  return most;
}

// Weights and gradients of the spare slots on the rank that has most MoE layers.
Bytes spare_bytes(const std::vector<std::vector<double>>& stages, const ExpertBytes& expert, int spare_slots) {
  std::ptrdiff_t layers = 0;
  for (const std::vector<double>& shares : stages)
    layers = std::max(layers, std::ranges::count_if(shares, [](double share) { return share > 0; }));
  return (expert.weights + expert.gradients) * (std::int64_t{spare_slots} * layers);
}

Status check_spare_memory(const StepMetrics& fixed, Bytes spare, const ClusterView& view) {
  Bytes memory = view.device(RankId(0)).memory;
  for (const DeviceSpec& device : view.devices()) memory = std::min(memory, device.memory);
  if (fits(fixed.peak_memory + spare, memory)) return {};
  constexpr double kGiB = 1ULL << 30;
  return fail(ErrorKind::kNoFeasiblePlan,
              fmt::format("its spare slots take {:.1f} GiB beside {:.1f} GiB of the plan and 4 GiB for the framework, "
                          "the device has {:.1f} GiB",
                          spare.value() / kGiB, fixed.peak_memory.value() / kGiB, memory.value() / kGiB));
}

}  // namespace

StageTimes stage_times(const std::vector<std::vector<double>>& stages, const PolicyReplay& still,
                       const PolicyReplay& moving, double iterations) {
  const auto iteration = [](const LayerTotals& layer, double share) { return layer.mean_iteration * share; };
  // Experts move once, however many micro-batches a copy of the model runs.
  const auto switching = [iterations](const LayerTotals& layer, double share) {
    return share > 0 ? layer.switching / iterations : Seconds(0);
  };
  return {largest_stage(stages, still, iteration), largest_stage(stages, moving, iteration),
          largest_stage(stages, moving, switching)};
}

OnlineStep combine(const StepMetrics& fixed, const StageTimes& times) {
  OnlineStep online;
  online.moe = moe_time(fixed.breakdown, fixed.step_time);
  online.moe_ratio = times.start > Seconds(0) ? times.policy / times.start : 1;
  online.switching = times.switching;
  online.step_time = fixed.step_time - online.moe * (1 - online.moe_ratio) + times.switching;
  return online;
}

Result<OnlineStep> online_step(const Plan& plan, const StepMetrics& fixed, const ModelShape& model,
                               const CostModel& costs, const SelectionTrace& recording, const PlacementPolicy& policy,
                               PlacementReplayOptions options) {
  if (plan.sizes().ep == 1) {
    OnlineStep online;
    online.step_time = fixed.step_time;
    online.moe = moe_time(fixed.breakdown, fixed.step_time);
    return online;
  }
  MOESIM_ASSIGN(const auto stages, layers_of_stages(plan, model));
  MOESIM_ASSIGN(const PlanReplay replay, replay_of_plan(plan, model, costs, recording));
  const Bytes spare = spare_bytes(stages, replay.model.expert, options.spare_slots);
  MOESIM_TRY(check_spare_memory(fixed, spare, costs.view()));
  replay.put_into(options);
  const PolicyReplay still = replay_policy(replay.trace, replay.model, *placement_policies().front(), options);
  const PolicyReplay moving = replay_policy(replay.trace, replay.model, policy, options);
  OnlineStep online = combine(fixed, stage_times(stages, still, moving, total_weight(replay.trace)));
  online.spare = spare;
  online.max_over_mean = moving.max_over_mean;
  online.changes = moving.changes;
  online.moves = moving.moves;
  return online;
}

}  // namespace moesim
