#include "sim/simulate/step.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/shape/model_flops.hpp"
#include "sim/engine/join_compute.hpp"
#include "sim/lower/lower.hpp"
#include "sim/program/group_loads.hpp"

namespace moesim {
namespace {

Seconds seconds(Picoseconds time) { return Seconds(static_cast<double>(time) / kPicosecondsPerSecond); }

Bytes smallest_memory(const ClusterView& view) {
  Bytes smallest = view.devices().front().memory;
  for (const DeviceSpec& device : view.devices()) smallest = std::min(smallest, device.memory);
  return smallest;
}

FlopsPerSecond gemm_peak(const DeviceSpec& device, const PrecisionRecipe& recipe) {
  return device.peak(device.computing_format(recipe.compute));
}

double expert_imbalance(const Program& program) {
  const RoutedLoads& routed = *program.loads;
  if (routed.moe_layers == 0) return 1;
  const ParallelSizes& sizes = program.plan.sizes();
  const LoadClass worst = load_classes(*program.layout, routed).front();
  const GroupLoads loads(routed, worst.sources, sizes.ep, sizes.esp);
  double sum = 0;
  for (int layer = 0; layer < routed.moe_layers; ++layer)
    for (int variant = 0; variant < routed.variants; ++variant) {
      std::int64_t busiest = 0;
      std::int64_t total = 0;
      for (int i = 0; i < sizes.ep; ++i) {
        const std::int64_t rows = loads.computed(layer, variant, i);
        busiest = std::max(busiest, rows);
        total += rows;
      }
      sum += total == 0 ? 1 : static_cast<double>(busiest) * sizes.ep / static_cast<double>(total);
    }
  return sum / (routed.moe_layers * routed.variants);
}

StepBreakdown breakdown_of(StageId stage, const EntityStatistics& statistics, Picoseconds end) {
  StepBreakdown breakdown;
  breakdown.stage = stage;
  Picoseconds accounted = 0;
  for (std::size_t c = 0; c < static_cast<std::size_t>(kCategories); ++c) {
    const Picoseconds compute = c < statistics.compute_by_category.size() ? statistics.compute_by_category[c] : 0;
    const Picoseconds exposed = c < statistics.exposed_by_category.size() ? statistics.exposed_by_category[c] : 0;
    breakdown.compute[c] = seconds(compute);
    breakdown.exposed[c] = seconds(exposed);
    accounted += compute + exposed;
  }
  breakdown.other = seconds(std::max<Picoseconds>(0, end - accounted));
  return breakdown;
}

std::string describe_waiting(const Program& program, const PricedProgram& priced, const ReplayResult& replay) {
  std::string text = "the step cannot finish; waiting:";
  for (std::size_t i = 0; i < replay.waiting.size() && i < 4; ++i) {
    const WaitingOp& waiting = replay.waiting[i];
    const PricedEntity& entity = priced.entities[waiting.entity];
    const Call& call = program.stages[entity.stage.index()].calls[waiting.call];
    const Op& op = program.blocks[static_cast<std::size_t>(call.block)].ops[waiting.op];
    text += fmt::format(" stage {} (rank {}) at {} of micro-batch {}: {};", entity.stage.value(),
                        entity.representative.value(), op.name, call.micro_batch, waiting.reason);
  }
  return text;
}

}  // namespace

Result<std::shared_ptr<const RoutedLoads>> loads_for(const Plan& plan, const ModelShape& model, const LoadMapper* trace,
                                                     int micro_batch_variants) {
  const MoeShape* moe = model.first_moe();
  if (moe == nullptr) return std::make_shared<const RoutedLoads>();
  const std::int64_t tokens = plan.tokens_per_micro_batch() / plan.sizes().tp;
  const int sources = plan.sizes().world() / plan.sizes().pp;
  RoutedLoads loads;
  if (trace == nullptr) {
    loads = balanced_routed_loads(model.moe_layer_count(), static_cast<int>(moe->experts), static_cast<int>(moe->top_k),
                                  tokens);
  } else {
    MOESIM_ASSIGN(loads, routed_loads_from(*trace, model.moe_layer_count(), static_cast<int>(moe->experts),
                                           static_cast<int>(moe->top_k), tokens, sources,
                                           std::clamp(plan.micro_batches(), 1, micro_batch_variants)));
  }
  if (plan.capacity_factor > 0) {
    const std::int64_t dropped = apply_capacity(loads, plan.capacity_factor, plan.pad_to_capacity);
    const double all = static_cast<double>(tokens) * static_cast<double>(moe->top_k) * loads.moe_layers *
                       loads.variants * loads.sources;
    loads.notes.push_back(fmt::format("the capacity factor {} drops {:.2f} % of the token copies", plan.capacity_factor,
                                      100 * static_cast<double>(dropped) / all));
  }
  return std::make_shared<const RoutedLoads>(std::move(loads));
}

std::vector<std::string> precision_notes(const ClusterView& view, const PrecisionRecipe& recipe) {
  std::vector<std::string> notes;
  for (const DeviceSpec& device : view.devices()) {
    const DType computed = device.computing_format(recipe.compute);
    if (computed == recipe.compute) continue;
    notes.push_back(fmt::format("{} has no unit for {}: its matrix products are priced as {}", device.name,
                                dtype_name(recipe.compute), dtype_name(computed)));
  }
  return notes;
}

StepMetrics summarize(const Program& program, const PricedProgram& priced, const ReplayResult& replay,
                      const MemoryReport& memory, const CostModel& costs) {
  const Plan& plan = program.plan;
  StepMetrics metrics;
  metrics.step_time = seconds(replay.end);
  const double tokens = static_cast<double>(plan.global_batch) * static_cast<double>(plan.seq_length);
  const double gpus = program.layout->world();
  metrics.tokens_per_second_per_gpu = tokens / metrics.step_time.value() / gpus;
  const double flops = model_flops_per_token(program.model, plan.seq_length).value();
  metrics.model_flops_per_second_per_gpu = metrics.tokens_per_second_per_gpu * flops;
  double peak = 0;
  // Of every rank: a role may stand for devices of several kinds.
  for (int rank = 0; rank < costs.view().ranks(); ++rank)
    peak += gemm_peak(costs.view().device(RankId(rank)), program.recipe).value() / gpus;
  metrics.mfu = peak > 0 ? metrics.model_flops_per_second_per_gpu / peak : 0;
  metrics.peak_memory = memory.worst().peak;
  metrics.fits = fits(metrics.peak_memory, smallest_memory(costs.view()));
  metrics.expert_imbalance = expert_imbalance(program);
  metrics.extrapolated_fraction =
      static_cast<double>(priced.extrapolated_ops) / static_cast<double>(std::max<std::int64_t>(1, priced.priced_ops));

  const auto pipeline = static_cast<std::size_t>(Category::kPpComm);
  std::size_t busiest = 0;
  Picoseconds busiest_wait = -1;
  double bubble = 0;
  for (std::size_t e = 0; e < replay.entities.size(); ++e) {
    const auto& exposed = replay.entities[e].exposed_by_category;
    const Picoseconds wait = pipeline < exposed.size() ? exposed[pipeline] : 0;
    bubble += static_cast<double>(wait) / static_cast<double>(replay.end);
    // The stage that waits least for its neighbours is the one that sets the pace.
    if (busiest_wait < 0 || wait < busiest_wait) {
      busiest_wait = wait;
      busiest = e;
    }
  }
  metrics.bubble_fraction = bubble / static_cast<double>(replay.entities.size());
  metrics.breakdown = breakdown_of(priced.entities[busiest].stage, replay.entities[busiest], replay.end);
  return metrics;
}

Result<SimulatedStep> prepare_step(const Plan& plan, const ModelShape& model, const CostModel& costs,
                                   const LoadMapper* trace, const StepOptions& options) {
  MOESIM_TRY(check_plan(plan, model, costs.view().ranks()));
  MOESIM_ASSIGN(Layout made, Layout::make(plan.layout, costs.view().ranks()));
  std::shared_ptr<const RoutedLoads> loads = options.loads;
  if (!loads) {
    MOESIM_ASSIGN(loads, loads_for(plan, model, trace, options.micro_batch_variants));
  }
  SimulatedStep step;
  step.notes = loads->notes;
  MOESIM_ASSIGN(const PrecisionRecipe recipe, find_precision(plan.precision));
  for (std::string& note : precision_notes(costs.view(), recipe)) step.notes.push_back(std::move(note));
  MOESIM_ASSIGN(step.program, lower(plan, model, std::make_shared<const Layout>(std::move(made)), loads));
  if (step.program.loads && step.program.loads->visits) step.notes.emplace_back(kVisitsNote);
  step.memory = walk_memory(step.program);
  step.metrics.peak_memory = step.memory.worst().peak;
  step.metrics.fits = fits(step.metrics.peak_memory, smallest_memory(costs.view()));
  return step;
}

Status play_step(SimulatedStep& step, const CostModel& costs, const StepOptions& options) {
  step.priced = price(step.program, costs, options.price);
  step.replay = replay_joined(step.priced.replay, options.replay);
  if (step.replay.outlasted) return {};
  if (!step.replay.finished)
    return fail(ErrorKind::kInternal, describe_waiting(step.program, step.priced, step.replay));
  step.metrics = summarize(step.program, step.priced, step.replay, step.memory, costs);
  return {};
}

Result<SimulatedStep> simulate_step(const Plan& plan, const ModelShape& model, const CostModel& costs,
                                    const LoadMapper* trace, const StepOptions& options) {
  MOESIM_ASSIGN(SimulatedStep step, prepare_step(plan, model, costs, trace, options));
  MOESIM_TRY(play_step(step, costs, options));
  return step;
}

}  // namespace moesim
