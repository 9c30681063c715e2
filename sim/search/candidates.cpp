#include "sim/search/candidates.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "sim/engine/op_cost.hpp"
#include "sim/pipeline/slot_check.hpp"
#include "sim/pipeline/schedules.hpp"

namespace moesim {
namespace {

constexpr ZeroStage kZeroStages[] = {ZeroStage::kNone, ZeroStage::kOptimizer, ZeroStage::kGradients, ZeroStage::kParameters};

double smallest_device_memory(const ClusterView& view) {
  double smallest = view.devices().front().memory.value();
  for (const DeviceSpec& device : view.devices()) smallest = std::min(smallest, device.memory.value());
  return smallest;
}

}  // namespace

// What the ZeRO stages of a cell share.
struct CandidateMaker::CellContext {
  Plan base;
  PrecisionRecipe recipe;
  GroupTopology dense;
  GroupTopology expert;
  double grad_norm = 0;
  double transfer = 0;
};

Plan CandidateMaker::plan_of(const Cell& cell, const Candidate& candidate) const {
  Plan plan;
  plan.layout.sizes = cell.sizes;
  plan.micro_batch = cell.micro_batch;
  plan.seq_length = space_.seq_length;
  plan.global_batch = space_.global_batch;
  plan.precision = space_.precision;
  plan.capacity_factor = space_.capacity_factor;
  plan.pad_to_capacity = space_.pad_to_capacity;
  const ScheduleChoice& choice = schedules_[static_cast<std::size_t>(candidate.schedule)];
  plan.pipeline = choice.schedule->name();
  plan.layout.sizes.vpp = choice.vpp;
  plan.recompute = static_cast<Recompute>(candidate.recompute);
  plan.zero_dense = kZeroStages[candidate.zero_dense];
  plan.zero_expert = kZeroStages[candidate.zero_expert];
  return plan;
}

CandidateMaker::Need CandidateMaker::table_needs(const std::vector<Cell>& cells) const {
  Need need;
  const int world = costs_.view().ranks();
  std::map<std::array<int, 6>, std::int32_t> known;
  for (const Cell& cell : cells) {
    const ParallelSizes& s = cell.sizes;
    // Loads repeat after kMostSources sources, so stages that are multiples of it see the same.
    const int stage_ranks = world / s.pp;
    const bool repeats = stage_ranks % kMostSources == 0 && world % kMostSources == 0;
    const int pp = repeats ? 1 : s.pp;
    const auto [entry, fresh] = known.try_emplace({s.tp, s.cp, s.ep, s.esp, cell.micro_batch, pp}, static_cast<std::int32_t>(need.tables.size()));
    if (fresh) {
      Plan plan = plan_of(cell, {});
      plan.layout.sizes.pp = pp;
      plan.layout.sizes.vpp = 1;
      plan.layout.sizes.dp = world / (s.tp * s.cp * pp);
      plan.layout.sizes.edp = world / (s.ep * s.esp * pp);
      need.tables.push_back(std::move(plan));
    }
    need.of_cell.push_back(entry->second);
  }
  return need;
}

Result<LayerTable> CandidateMaker::make_table(const Plan& plan) {
  const std::int64_t tokens = plan.tokens_per_micro_batch() / plan.sizes().tp;
  const int sources = std::min(kMostSources, plan.sizes().world() / plan.sizes().pp);
  std::shared_ptr<const RoutedLoads> loads;
  {
    const std::scoped_lock lock(mutex_);
    loads = loads_[{tokens, sources}];
  }
  if (!loads) {
    MOESIM_ASSIGN(loads, loads_for(plan, model_, trace_, 1));
    const std::scoped_lock lock(mutex_);
    loads_[{tokens, sources}] = loads;
  }
  return LayerTable::make(plan, model_, costs_, loads);
}

const CandidateMaker::Shape& CandidateMaker::shape_of(const Plan& plan, const ScheduleChoice& choice) {
  const PipelineShape shape{plan.sizes().pp, plan.micro_batches(), choice.vpp};
  const std::scoped_lock lock(mutex_);
  const auto [entry, fresh] = shapes_.try_emplace({choice.schedule, shape.stages, shape.micro_batches, shape.chunks_per_stage});
  if (!fresh) return entry->second;
  if (!choice.schedule->check(shape)) return entry->second;
  auto pipeline = compile_pipeline(*choice.schedule, shape);
  auto layers = split_layers(plan, model_);
  if (!pipeline || !layers) return entry->second;
  entry->second.pipeline = std::make_shared<const CompiledPipeline>(std::move(*pipeline));
  entry->second.layers_per_chunk = std::move(*layers);
  entry->second.paired = std::any_of(entry->second.pipeline->slots.begin(), entry->second.pipeline->slots.end(),
                                     [](const Slot& slot) { return slot.kind == SlotKind::kForwardBackward; });
  return entry->second;
}

double CandidateMaker::transfer_time(const Cell& cell) const {
  if (cell.sizes.pp == 1) return 0;
  const int stride = costs_.view().ranks() / cell.sizes.pp;
  const Bytes size = storage(cell.micro_batch * space_.seq_length / cell.sizes.cp / cell.sizes.tp * model_.hidden, DType::kBf16);
  double least = 1e300;
  for (int stage = 0; stage + 1 < cell.sizes.pp; ++stage) {
    const std::array<RankId, 2> pair = {RankId(stage * stride), RankId((stage + 1) * stride)};
    least = std::min(least, costs_.collective(CollectiveKind::kSendRecv, GroupTopology(costs_.view(), pair), size).time.value());
  }
  return least;
}

SyncTimes CandidateMaker::sync_times(const CellContext& context, const CutModel& cut, ZeroStage dense, ZeroStage expert) const {
  SyncTimes times(cut.parameters.size());
  times.grad_norm = context.grad_norm;
  const auto reduce = [&](const GroupTopology& group, ZeroStage zero, std::int64_t elements) {
    if (group.size() == 1 || elements == 0) return 0.0;
    const auto kind = zero == ZeroStage::kNone ? CollectiveKind::kAllReduce : CollectiveKind::kReduceScatter;
    return costs_.collective(kind, group, storage(elements, context.recipe.gradient)).time.value();
  };
  const auto gather = [&](const GroupTopology& group, ZeroStage zero, std::int64_t elements) {
    if (group.size() == 1 || elements == 0 || zero == ZeroStage::kNone) return 0.0;
    return costs_.collective(CollectiveKind::kAllGather, group, storage(elements, context.recipe.weight)).time.value();
  };
  const auto step = [&](const GroupTopology& group, ZeroStage zero, std::int64_t elements) {
    Op op;
    op.kind = OpKind::kOptimizerStep;
    op.payload_elements = zero == ZeroStage::kNone ? elements : elements / group.size();
    return compute_cost(costs_, 0, op, Chunk{}, context.recipe, {}).time.value();
  };
  for (std::size_t stage = 0; stage < cut.parameters.size(); ++stage) {
    const PartParameters& held = cut.parameters[stage];
    const std::pair<ZeroStage, double> reductions[] = {{dense, reduce(context.dense, dense, held.dense)},
                                                       {expert, reduce(context.expert, expert, held.expert)}};
    const std::pair<ZeroStage, double> gathers[] = {{dense, gather(context.dense, dense, held.dense)},
                                                    {expert, gather(context.expert, expert, held.expert)}};
    for (const auto& [zero, time] : reductions)
      (zero >= ZeroStage::kGradients ? times.reduce_each : times.reduce_once)[stage] += time;
    for (const auto& [zero, time] : gathers)
      (zero == ZeroStage::kParameters ? times.gather_each : times.gather_once)[stage] += time;
    times.optimizer[stage] = step(context.dense, dense, held.dense) + step(context.expert, expert, held.expert);
  }
  return times;
}

namespace {

// Bytes a stage holds for good; shards are rounded down, so it is never above the memory walk's figure.
std::int64_t static_bytes(const PartParameters& held, const PrecisionRecipe& recipe, const ParallelSizes& sizes,
                          ZeroStage dense, ZeroStage expert) {
  const auto part = [&](std::int64_t elements, std::int64_t weight_bytes, ZeroStage zero, std::int64_t replicas) {
    const std::int64_t states = (recipe.weight != recipe.master ? storage(elements, recipe.master).count() : 0) +
                                2 * storage(elements, recipe.moment).count();
    const std::int64_t gradients = storage(elements, recipe.gradient).count();
    return weight_bytes / (zero >= ZeroStage::kParameters ? replicas : 1) +
           gradients / (zero >= ZeroStage::kGradients ? replicas : 1) + states / (zero >= ZeroStage::kOptimizer ? replicas : 1);
  };
  return part(held.dense, held.weight_bytes_dense, dense, std::int64_t{sizes.dp} * sizes.cp) +
         part(held.expert, held.weight_bytes_expert, expert, sizes.edp);
}

}  // namespace

Result<CandidateMaker::CellContext> CandidateMaker::context_of(const Cell& cell) const {
  const Plan base = plan_of(cell, {});
  MOESIM_ASSIGN(const PrecisionRecipe recipe, find_precision(base.precision));
  MOESIM_ASSIGN(const Layout layout, Layout::make(base.layout, costs_.view().ranks()));
  CellContext context{base, recipe, GroupTopology(costs_.view(), layout.group(GroupKind::kDpCp, RankId(0))),
                      GroupTopology(costs_.view(), layout.group(GroupKind::kEdp, RankId(0))), 0, transfer_time(cell)};
  if (costs_.view().ranks() > 1) {
    const GroupTopology world(costs_.view(), layout.group(GroupKind::kWorld, RankId(0)));
    context.grad_norm = costs_.collective(CollectiveKind::kAllReduce, world, storage(1, DType::kFp32)).time.value();
  }
  return context;
}

CandidateMaker::CellResult CandidateMaker::bound_cell(const Cell& cell, std::int32_t index, const LayerTable& table) {
  CellResult result;
  const Result<CellContext> made = context_of(cell);
  MOESIM_ASSERT(made.has_value());  // the enumeration lets only whole layouts through
  const CellContext& context = *made;
  const Plan& base = context.base;
  const PrecisionRecipe& recipe = context.recipe;
  const auto zero_choices = static_cast<std::int64_t>(space_.zero_dense.size() * space_.zero_expert.size());
  const double capacity = smallest_device_memory(costs_.view());
  std::vector<std::int64_t> peaks;
  for (std::size_t choice = 0; choice < schedules_.size(); ++choice) {
    const ScheduleChoice& schedule = schedules_[choice];
    Plan plan = base;
    plan.pipeline = schedule.schedule->name();
    plan.layout.sizes.vpp = schedule.vpp;
    const auto plans = zero_choices * static_cast<std::int64_t>(space_.recompute.size());
    const PipelineShape shape{cell.sizes.pp, plan.micro_batches(), schedule.vpp};
    // With one stage all schedules are 1F1B.
    if ((cell.sizes.pp == 1 && plan.pipeline != "1f1b") || !schedule.schedule->check(shape)) {
      result.impossible_shape += plans;
      continue;
    }
    const Shape& compiled = shape_of(plan, schedule);
    if (!compiled.pipeline) {
      result.too_few_layers += plans;
      continue;
    }
    for (const Recompute recompute : space_.recompute) {
      const CutModel cut = cut_model(table, recompute, model_, *schedule.schedule, shape, compiled.layers_per_chunk, context.transfer);
      ActivationBytes bytes;
      for (const PassTimes& pass : cut.passes) {
        bytes.forward.push_back(pass.saved_bytes);
        bytes.weight_part.push_back(pass.saved_for_weight);
      }
      peaks.assign(static_cast<std::size_t>(shape.stages), 0);
      activation_peaks(*compiled.pipeline, bytes, peaks);
      // Once most is in flight, the next thing a stage does is the backward pass of one of its chunks.
      for (int stage = 0; stage < shape.stages; ++stage) {
        std::int64_t working = std::int64_t{1} << 62;
        for (std::size_t chunk = 0; chunk < cut.passes.size(); ++chunk)
          if (cut.stage_of[chunk] == stage) working = std::min(working, cut.passes[chunk].backward_working);
        peaks[static_cast<std::size_t>(stage)] += working;
      }
      for (const ZeroStage dense : space_.zero_dense)
        for (const ZeroStage expert : space_.zero_expert) {
          std::int64_t peak = 0;
          for (std::size_t stage = 0; stage < peaks.size(); ++stage)
            peak = std::max(peak, peaks[stage] + static_bytes(cut.parameters[stage], recipe, cell.sizes, dense, expert));
          result.smallest_peak = std::min(result.smallest_peak, Bytes(peak));
          if (static_cast<double>(peak) + kFrameworkReserve.value() > capacity) {
            ++result.too_large;
            continue;
          }
          const SyncTimes sync = sync_times(context, cut, dense, expert);
          Candidate candidate;
          candidate.cell = index;
          candidate.schedule = static_cast<std::int16_t>(choice);
          candidate.recompute = static_cast<std::int8_t>(recompute);
          candidate.zero_dense = static_cast<std::int8_t>(dense);
          candidate.zero_expert = static_cast<std::int8_t>(expert);
          candidate.bound = step_time_bound({&cut, &sync, plan.micro_batches(), schedule.schedule->splits_backward(),
                                             compiled.paired});
          result.candidates.push_back(candidate);
        }
    }
  }
  return result;
}

double CandidateMaker::play(const Cell& cell, const Candidate& candidate, const LayerTable& table, SlotPlayer& player) {
  const Plan plan = plan_of(cell, candidate);
  const ScheduleChoice& choice = schedules_[static_cast<std::size_t>(candidate.schedule)];
  const Shape& compiled = shape_of(plan, choice);
  const PipelineShape shape{cell.sizes.pp, plan.micro_batches(), choice.vpp};
  const Result<CellContext> context = context_of(cell);
  MOESIM_ASSERT(context.has_value());
  const CutModel cut = cut_model(table, plan.recompute, model_, *choice.schedule, shape, compiled.layers_per_chunk, context->transfer);
  const SyncTimes sync = sync_times(*context, cut, plan.zero_dense, plan.zero_expert);
  const BoundInput input{&cut, &sync, plan.micro_batches(), choice.schedule->splits_backward(), compiled.paired};
  return std::max(candidate.bound, played_bound(input, *compiled.pipeline, context->transfer, player));
}

}  // namespace moesim
