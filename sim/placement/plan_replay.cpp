#include "sim/placement/plan_replay.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/precision.hpp"
#include "sim/pipeline/schedules.hpp"
#include "sim/placement/layer_laws.hpp"
#include "sim/plan/layer_slots.hpp"

namespace moesim {
namespace {

// The largest divisor of `micro_batches` that is not above `recorded`.
int replayed_micro_batches(int micro_batches, int recorded) {
  int count = std::min({micro_batches, recorded, kMostReplayedMicroBatches});
  while (micro_batches % count != 0) --count;
  return count;
}

// Of the plan's first EP group; `largest_rows` as in LayerLawRequest.
Result<LayerTimeModel> layer_model_of(const Plan& plan, const ModelShape& model, const CostModel& costs,
                                      std::int64_t largest_rows) {
  MOESIM_ASSIGN(const Layout layout, Layout::make(plan.layout, costs.view().ranks()));
  const int esp = plan.sizes().esp;
  LayerLawRequest laws;
  laws.hidden = model.hidden;
  laws.moe = *model.first_moe();
  laws.moe.expert.width /= esp;
  MOESIM_ASSIGN(laws.precision, find_precision(plan.precision));
  laws.largest_rows = largest_rows;
  MOESIM_ASSIGN(LayerTimeModel result, layer_time_model(costs, layout.group_at(GroupKind::kEp, 0), laws));
  result.row = Bytes(result.row.count() / esp);
  if (plan.sizes().edp == 1 || plan.zero_expert == ZeroStage::kNone) return result;
  std::vector<RankId> ranks;
  for (const RankId replica : layout.group(GroupKind::kEdp, layout.group_at(GroupKind::kEp, 0).front())) {
    const auto group = layout.group(GroupKind::kEp, replica);
    ranks.insert(ranks.end(), group.begin(), group.end());
  }
  result.cut = cut_replicas(costs, ranks, plan.sizes().edp, laws);
  return result;
}

// Homes alone, in the places of a device that have a state: what moves when slots change.
Result<ExpertPlacement> homes_of(const LayerSlots& slots, const PlacementSizes& sizes) {
  std::vector<std::int32_t> experts(static_cast<std::size_t>(sizes.slots()), kEmptySlot);
  for (std::int32_t expert = 0; expert < sizes.experts; ++expert) {
    const std::int64_t home = slots.home(expert);
    experts[static_cast<std::size_t>(slots.device_of(home) * sizes.slots_per_device + slots.place_of(home))] = expert;
  }
  return ExpertPlacement::make(sizes, std::move(experts));
}

}  // namespace

void PlanReplay::put_into(PlacementReplayOptions& options) const {
  options.start = start;
  options.spare_slots = std::max(options.spare_slots, spare_slots);
  options.repeats = repeats;
  options.expert_groups = expert_groups;
}

Result<PlanReplay> replay_of_plan(const Plan& plan, const ModelShape& model, const CostModel& costs,
                                  const SelectionTrace& recording) {
  const MoeShape* moe = model.first_moe();
  if (moe == nullptr) return invalid_input("the model has no experts to place", model.name);
  if (recording.experts() != moe->experts)
    return invalid_input(fmt::format("the recording has {} experts, the model {}", recording.experts(), moe->experts),
                         recording.info.source, "which expert is hot cannot be made up for another number of them");
  const ParallelSizes& sizes = plan.sizes();
  PlanReplay result;
  const int micro_batches = replayed_micro_batches(plan.micro_batches(), recording.dims().micro_batches);
  result.repeats = plan.micro_batches() / micro_batches;
  MOESIM_ASSIGN(result.trace,
                ReplayTrace::map(recording, {.devices = sizes.ep,
                                             .moe_layers = model.moe_layer_count(),
                                             .top_k = moe->top_k,
                                             .tokens_per_device = plan.tokens_per_micro_batch() / sizes.tp * sizes.esp,
                                             .micro_batches = micro_batches}));
  MOESIM_ASSIGN(result.model,
                layer_model_of(plan, model, costs, result.trace.tokens_per_device() * moe->top_k * sizes.ep));
  result.start = plan.expert_slots;
  result.spare_slots = static_cast<int>((plan.expert_slots.slots(moe->experts) - moe->experts) / sizes.ep);
  result.expert_groups = static_cast<int>(moe->groups);
  return result;
}

Result<std::vector<std::vector<double>>> layers_of_stages(const Plan& plan, const ModelShape& model) {
  MOESIM_ASSIGN(const std::vector<int> split, split_layers(plan, model));
  MOESIM_ASSIGN(const PipelineSchedule* schedule, find_pipeline_schedule(plan.pipeline));
  const PipelineShape shape{plan.sizes().pp, plan.micro_batches(), plan.sizes().vpp};
  const auto moe_layers = static_cast<std::size_t>(model.moe_layer_count());
  std::vector<std::vector<double>> stages(static_cast<std::size_t>(shape.stages), std::vector<double>(moe_layers, 0.0));
  const auto chunks = static_cast<int>(split.size());
  for (int copy = 0; copy < schedule->model_copies(); ++copy) {
    int layer = 0;
    std::size_t moe_layer = 0;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const int stage = schedule->stage_of(copy * chunks + chunk, shape);
      for (const int end = layer + split[static_cast<std::size_t>(chunk)]; layer < end; ++layer)
        if (model.layer(LayerId(layer)).moe)
          stages[static_cast<std::size_t>(stage)][moe_layer++] += 1.0 / schedule->model_copies();
    }
  }
  return stages;
}

Result<PlanSwitch> switch_of_plan(const Plan& plan, const ExpertSlots& next, const ModelShape& model,
                                  const CostModel& costs) {
  const MoeShape* moe = model.first_moe();
  if (moe == nullptr) return invalid_input("the model has no experts to move", model.name);
  MOESIM_ASSIGN(const auto stages, layers_of_stages(plan, model));
  MOESIM_ASSIGN(const LayerTimeModel times, layer_model_of(plan, model, costs, 1));
  const int ep = plan.sizes().ep;
  PlanSwitch result;
  for (const std::vector<double>& shares : stages) {
    std::vector<Bytes> sent(static_cast<std::size_t>(ep) *
                            static_cast<std::size_t>(times.cut ? times.cut->replicas : 1));
    Seconds time;
    for (std::size_t layer = 0; layer < shares.size(); ++layer) {
      if (shares[layer] == 0) continue;
      const LayerSlots now(plan.expert_slots, static_cast<int>(layer), moe->experts, ep);
      const LayerSlots then(next, static_cast<int>(layer), moe->experts, ep);
      const PlacementSizes sizes{ep, static_cast<int>(moe->experts),
                                 static_cast<int>(std::max(now.places_with_state(), then.places_with_state()))};
      MOESIM_ASSIGN(const ExpertPlacement before, homes_of(now, sizes));
      MOESIM_ASSIGN(const ExpertPlacement after, homes_of(then, sizes));
      const SwitchPlan change = plan_switch(times, before, first_homes(before), after, OptimizerState::kMoves);
      time += switch_seconds(times, change, SwitchOrder::kBatched);
      for (const ExpertTransfer& transfer : change.transfers)
        sent[static_cast<std::size_t>(transfer.from)] += transfer.size;
    }
    result.time = std::max(result.time, time);
    result.sent = std::max(result.sent, *std::ranges::max_element(sent));
  }
  return result;
}

Result<ExpertSlots> slots_after(const PolicyReplay& replay) {
  ExpertSlots slots;
  for (std::size_t layer = 0; layer < replay.layers.size(); ++layer) {
    const PlacementDecision& last = replay.layers[layer].last;
    const auto refuse = [&](std::string_view reason) {
      return invalid_input(
          fmt::format("{} ends with {} in MoE layer {}, which a plan cannot say", replay.policy, reason, layer), {},
          "take a policy that moves experts, such as greedy, or deals tokens out evenly, such as eplb-global");
    };
    if (!last.shadowed.empty()) return refuse("shadowed experts");
    const ExpertPlacement& placement = last.placement;
    if (!placement.is_permutation() && last.split != TokenSplit::kEven)
      return refuse("copies that do not get equal shares of an expert's tokens");
    if (std::ssize(placement.expert_of_slot()) == placement.experts()) {
      slots.expert_at.emplace_back(placement.expert_of_slot().begin(), placement.expert_of_slot().end());
    } else {
      slots.expert_at.push_back(homes_first(placement.expert_of_slot(), placement.experts(), placement.devices()));
    }
  }
  return slots;
}

}  // namespace moesim
