#include "sim/layer/compare_layers.hpp"

#include <algorithm>
#include <utility>

#include "calibration/piecewise_fit.hpp"
#include "sim/layer/degree_pairs.hpp"
#include "sim/lower/shadow_counts.hpp"

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

bool is_better(const LayerResult& a, const LayerResult& b) {
  return a.fits != b.fits ? a.fits : a.times.total() < b.times.total();
}

Status play_degrees(const LayerCase& layer, Plan plan, int forward, int backward, const CostModel& costs,
                    const LayerOptions& options, ScheduleOutcome& outcome) {
  plan.moe_degree = forward;
  plan.moe_backward_degree = backward == forward ? 0 : backward;
  const bool first = outcome.degrees.empty();
  DegreeOutcome& played = outcome.degrees.emplace_back();
  LayerResult best;
  for (const int shadows : shadow_counts(*outcome.schedule, plan, *layer.model.first_moe(), *layer.loads)) {
    plan.moe_shadows = shadows;
    MOESIM_ASSIGN(Program program, lower_layer(layer, plan, options));
    MOESIM_ASSIGN(LayerResult result, play_layer(program, costs));
    if (shadows > 0 && !is_better(result, best)) continue;
    played = {forward,    backward, shadows, result.times, result.exposed_communication(), result.memory.peak,
              result.fits};
    best = result;
    if (!first && !is_better(result, outcome.result)) continue;
    outcome.degree = forward;
    outcome.backward_degree = backward;
    outcome.shadows = shadows;
    outcome.same_as = outcome.schedule->same_as(plan, *layer.model.first_moe());
    outcome.result = std::move(result);
    outcome.program = std::move(program);
  }
  return {};
}

// In every number of pieces, and in two where they may be faster.
Status play_schedule(const LayerCase& layer, const Plan& plan, const CostModel& costs, const LayerOptions& options,
                     ScheduleOutcome& outcome) {
  for (const int degree : outcome.schedule->degrees(plan)) {
    MOESIM_TRY(play_degrees(layer, plan, degree, degree, costs, options, outcome));
  }
  std::vector<AlikeTimes> alike;
  for (const DegreeOutcome& one : outcome.degrees)
    if (one.fits == outcome.result.fits) alike.push_back({one.degree, one.times.forward, one.times.backward});
  for (const DegreePair& pair : promising_pairs(alike, outcome.result.times.total())) {
    if (pair.least >= outcome.result.times.total()) break;
    MOESIM_TRY(play_degrees(layer, plan, pair.forward, pair.backward, costs, options, outcome));
  }
  return {};
}

bool exchanges_copies(const Program& program) {
  return std::ranges::any_of(program.blocks.front().ops, [](const Op& op) { return op.kind == OpKind::kDispatch; });
}

}  // namespace

Result<std::vector<ScheduleOutcome>> compare_schedules(const LayerCase& layer, const CostModel& costs,
                                                       std::span<const MoeSchedule* const> schedules,
                                                       const LayerOptions& options) {
  std::vector<ScheduleOutcome> outcomes;
  for (const MoeSchedule* schedule : schedules) {
    ScheduleOutcome& outcome = outcomes.emplace_back();
    outcome.schedule = schedule;
    const Result<Plan> plan = plan_of_schedule(layer, schedule->name(), options.boundary);
    if (!plan) {
      outcome.refused = plan.error().what;
      continue;
    }
    MOESIM_TRY(play_schedule(layer, *plan, costs, options, outcome));
  }
  return outcomes;
}

Result<std::vector<ExchangeOutcome>> compare_exchanges(const LayerCase& layer, const CostModel& costs,
                                                       std::span<const ScheduleOutcome> outcomes,
                                                       const LayerOptions& options) {
  std::vector<ExchangeOutcome> exchanges;
  if (layer.plan.sizes().ep * layer.plan.sizes().esp == 1) return exchanges;
  for (std::size_t s = 0; s < outcomes.size(); ++s) {
    if (!outcomes[s].refused.empty() || !exchanges_copies(outcomes[s].program)) continue;
    Plan plan = outcomes[s].program.plan;  // in its best number of pieces, with its shadows
    for (const ExchangeAlgorithm algorithm : exchange_algorithms()) {
      plan.all_to_all = algorithm;
      MOESIM_ASSIGN(const Program program, lower_layer(layer, plan, options));
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
