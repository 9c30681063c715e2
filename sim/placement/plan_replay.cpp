#include "sim/placement/plan_replay.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/precision.hpp"
#include "sim/placement/layer_laws.hpp"

namespace moesim {
namespace {

// The largest divisor of `micro_batches` that is not above `recorded`.
int replayed_micro_batches(int micro_batches, int recorded) {
  int count = std::min({micro_batches, recorded, kMostReplayedMicroBatches});
  while (micro_batches % count != 0) --count;
  return count;
}

}  // namespace

void PlanReplay::put_into(PlacementReplayOptions& options) const {
  options.start = start;
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
  MOESIM_ASSIGN(const Layout layout, Layout::make(plan.layout, costs.view().ranks()));
  PlanReplay result;
  const int micro_batches = replayed_micro_batches(plan.micro_batches(), recording.dims().micro_batches);
  result.repeats = plan.micro_batches() / micro_batches;
  MOESIM_ASSIGN(result.trace,
                ReplayTrace::map(recording, {.devices = sizes.ep,
                                             .moe_layers = model.moe_layer_count(),
                                             .top_k = moe->top_k,
                                             .tokens_per_device = plan.tokens_per_micro_batch() / sizes.tp * sizes.esp,
                                             .micro_batches = micro_batches}));
  LayerLawRequest laws;
  laws.hidden = model.hidden;
  laws.moe = *moe;
  laws.moe.expert.width /= sizes.esp;
  MOESIM_ASSIGN(laws.precision, find_precision(plan.precision));
  laws.largest_rows = result.trace.tokens_per_device() * moe->top_k * sizes.ep;
  MOESIM_ASSIGN(result.model, layer_time_model(costs, layout.group_at(GroupKind::kEp, 0), laws));
  result.model.row = Bytes(result.model.row.count() / sizes.esp);
  result.start = plan.expert_slots;
  result.expert_groups = static_cast<int>(moe->groups);
  return result;
}

Result<ExpertSlots> slots_after(const PolicyReplay& replay) {
  ExpertSlots slots;
  for (std::size_t layer = 0; layer < replay.layers.size(); ++layer) {
    const PlacementDecision& last = replay.layers[layer].last;
    const auto refuse = [&](std::string_view reason) {
      return invalid_input(
          fmt::format("{} ends with {} in MoE layer {}, a plan has each expert once", replay.policy, reason, layer), {},
          "take a policy that only moves experts, such as greedy, and no spare slots");
    };
    if (!last.shadowed.empty()) return refuse("shadowed experts");
    if (!last.placement.is_permutation()) return refuse("copies of experts");
    const auto experts = last.placement.expert_of_slot();
    if (std::ssize(experts) != last.placement.experts()) return refuse("empty slots");
    slots.expert_at.emplace_back(experts.begin(), experts.end());
  }
  return slots;
}

}  // namespace moesim
