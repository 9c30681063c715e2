#include "sim/layer/compare_layers.hpp"

#include <utility>

#include "calibration/piecewise_fit.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kFitStep = std::int64_t{1} << 20;  // 2^18 numbers of four bytes
constexpr int kFitSteps = 24;

LinearTime line_through_law(const CostModel& costs, CollectiveKind kind, std::span<const RankId> ranks) {
  if (ranks.size() < 2) return {};
  const GroupTopology& group = costs.topology(ranks);
  std::vector<TimePoint> points;
  for (int step = 1; step <= kFitSteps; ++step) {
    const Bytes size(step * kFitStep);
    points.push_back({size.value(), costs.collective(kind, group, size).time.value()});
  }
  const TimePiece line = fit_one_piece(points);
  return {Seconds(line.alpha_s), line.s_per_byte};
}

}  // namespace

Result<std::vector<ScheduleOutcome>> compare_schedules(const LayerCase& layer, const CostModel& costs,
                                                       std::span<const MoeSchedule* const> schedules,
                                                       const LayerOptions& options) {
  std::vector<ScheduleOutcome> outcomes;
  for (const MoeSchedule* schedule : schedules) {
    ScheduleOutcome& outcome = outcomes.emplace_back();
    outcome.schedule = schedule;
    if (const Result<Plan> plan = plan_of_schedule(layer, schedule->name(), options.boundary); plan) {
      outcome.same_as = schedule->same_as(*plan);
    } else {
      outcome.refused = plan.error().what;
      continue;
    }
    MOESIM_ASSIGN(outcome.program, lower_layer(layer, schedule->name(), options));
    MOESIM_ASSIGN(outcome.result, play_layer(outcome.program, costs));
  }
  return outcomes;
}

Result<std::vector<ExchangeOutcome>> compare_exchanges(const LayerCase& layer, const CostModel& costs,
                                                       std::span<const ScheduleOutcome> outcomes,
                                                       const LayerOptions& options) {
  std::vector<ExchangeOutcome> exchanges;
  if (layer.plan.sizes().ep * layer.plan.sizes().esp == 1) return exchanges;
  LayerCase other = layer;
  for (std::size_t s = 0; s < outcomes.size(); ++s) {
    if (!outcomes[s].refused.empty()) continue;
    for (const ExchangeAlgorithm algorithm : exchange_algorithms()) {
      other.plan.all_to_all = algorithm;
      MOESIM_ASSIGN(const Program program, lower_layer(other, outcomes[s].schedule->name(), options));
      MOESIM_ASSIGN(const LayerResult result, play_layer(program, costs));
      exchanges.push_back({s, algorithm, result.times, result.exposed_communication()});
    }
  }
  return exchanges;
}

ParmLayer parm_layer_of(const LayerCase& layer) {
  const ParallelSizes& sizes = layer.plan.sizes();
  const MoeShape& moe = *layer.model.first_moe();
  const auto recipe = find_precision(layer.plan.precision);
  MOESIM_ASSERT(recipe.has_value());
  const std::int64_t tokens = layer.plan.tokens_per_micro_batch();
  const std::int64_t copies =
      layer.plan.capacity_factor > 0
          ? moe.experts * expert_capacity(layer.plan.capacity_factor, tokens, moe.top_k, moe.experts)
          : tokens * moe.top_k;
  ParmLayer parm;
  parm.mp = sizes.tp;
  parm.esp = sizes.esp;
  parm.input = storage(tokens * layer.model.hidden, recipe->activation);
  parm.dispatched = storage(copies * layer.model.hidden, recipe->activation);
  const double products = moe.expert.gated ? 3 : 2;
  parm.multiply_adds =
      products * static_cast<double>(copies) * static_cast<double>(layer.model.hidden * moe.expert.width);
  return parm;
}

ParmRule::ParmRule(const CostModel& costs, const Layout& layout) {
  const auto line = [&](CollectiveKind kind, GroupKind group) {
    return line_through_law(costs, kind, layout.group(group, RankId(0)));
  };
  lines_.all_to_all_ep = line(CollectiveKind::kAllToAll, GroupKind::kEp);
  lines_.all_to_all_all = line(CollectiveKind::kAllToAll, GroupKind::kEpEsp);
  lines_.gather_mp = line(CollectiveKind::kAllGather, GroupKind::kTp);
  lines_.gather_esp = line(CollectiveKind::kAllGather, GroupKind::kEsp);
  lines_.reduce_scatter_esp = line(CollectiveKind::kReduceScatter, GroupKind::kEsp);
  lines_.all_reduce_esp = line(CollectiveKind::kAllReduce, GroupKind::kEsp);
  ranks_ = layout.group_size(GroupKind::kEpEsp);
}

ParmTimes ParmRule::times(const LayerCase& layer, LayerPasses passes) const {
  const ParmLayer parm = parm_layer_of(layer);
  return passes == LayerPasses::kForward ? parm_forward(parm, lines_, ranks_)
                                         : parm_forward_and_backward(parm, lines_, ranks_);
}

}  // namespace moesim
