#include "sim/search/candidates.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "sim/engine/op_cost.hpp"
#include "sim/pipeline/schedules.hpp"

namespace moesim {
namespace {

constexpr ZeroStage kZeroStages[] = {ZeroStage::kNone, ZeroStage::kOptimizer, ZeroStage::kGradients,
                                     ZeroStage::kParameters};

double smallest_device_memory(const ClusterView& view) {
  double smallest = view.devices().front().memory.value();
  for (const DeviceSpec& device : view.devices()) smallest = std::min(smallest, device.memory.value());
  return smallest;
}

}  // namespace

// What keeping `elements` parameters in step costs on one group, whatever the ZeRO stage.
struct GroupSync {
  double all_reduce = 0;
  double reduce_scatter = 0;
  double all_gather = 0;
  double step_whole = 0;  // optimizer over all of them, and over one shard
  double step_shard = 0;
};

// What the plans of a cell share.
struct CandidateMaker::CellContext {
  Plan base;
  PrecisionRecipe recipe;
  const CostModel* costs;
  const GroupTopology* dense;
  const GroupTopology* expert;
  double grad_norm = 0;
  double transfer = 0;
  double drag = 0;

  // Few different sizes occur in a cell, so a list is the fastest table.
  [[nodiscard]] const GroupSync& sync(const GroupTopology& group, std::int64_t elements) {
    auto& known = &group == dense ? dense_syncs : expert_syncs;
    for (const auto& [size, times] : known)
      if (size == elements) return times;
    GroupSync times;
    if (group.size() > 1 && elements > 0) {
      const Bytes gradients = storage(elements, recipe.gradient);
      times.all_reduce = costs->collective(CollectiveKind::kAllReduce, group, gradients).time.value();
      times.reduce_scatter = costs->collective(CollectiveKind::kReduceScatter, group, gradients).time.value();
      times.all_gather =
          costs->collective(CollectiveKind::kAllGather, group, storage(elements, recipe.weight)).time.value();
    }
    times.step_whole = step(elements);
    times.step_shard = step(elements / group.size());
    known.emplace_back(elements, times);
    return known.back().second;
  }

  // Fills `times` for one choice of ZeRO stages.
  void sync_times(const CutModel& cut, ZeroStage zero_dense, ZeroStage zero_expert, SyncTimes& times) {
    times.grad_norm = grad_norm;
    times.drag = drag;
    for (std::size_t stage = 0; stage < cut.parameters.size(); ++stage) {
      times.reduce_once[stage] = times.reduce_each[stage] = 0;
      times.gather_once[stage] = times.gather_each[stage] = times.optimizer[stage] = times.copy_sums[stage] = 0;
      const auto add = [&](const GroupSync& sync, ZeroStage zero) {
        (zero >= ZeroStage::kGradients ? times.reduce_each : times.reduce_once)[stage] +=
            zero == ZeroStage::kNone ? sync.all_reduce : sync.reduce_scatter;
        if (zero != ZeroStage::kNone)
          (zero == ZeroStage::kParameters ? times.gather_each : times.gather_once)[stage] += sync.all_gather;
        times.optimizer[stage] += zero == ZeroStage::kNone ? sync.step_whole : sync.step_shard;
      };
      add(sync(*dense, cut.parameters[stage].dense), zero_dense);
      add(sync(*expert, cut.parameters[stage].expert), zero_expert);
      if (cut.copies == 1) continue;
      const auto sum_copies = [&](const GroupTopology& replicas, std::int64_t elements, ZeroStage zero) {
        const std::int64_t shards = zero == ZeroStage::kNone ? 1 : replicas.size();
        times.copy_sums[stage] += copy_sum(static_cast<int>(stage), (elements + shards - 1) / shards);
      };
      sum_copies(*dense, cut.parameters[stage].dense, zero_dense);
      sum_copies(*expert, cut.parameters[stage].expert, zero_expert);
    }
  }

  // The all-reduce of so many gradients between a stage and the one that mirrors it.
  [[nodiscard]] double copy_sum(int stage, std::int64_t elements) {
    const ParallelSizes& sizes = base.layout.sizes;
    const int other = sizes.pp - 1 - stage;
    if (other == stage || elements == 0) return 0;
    const std::pair<int, std::int64_t> key{std::min(stage, other), elements};
    for (const auto& [known, time] : copy_sums)
      if (known == key) return time;
    const int stride = costs->view().ranks() / sizes.pp;
    const std::array<RankId, 2> pair = {RankId(stage * stride), RankId(other * stride)};
    const double time =
        costs->collective(CollectiveKind::kAllReduce, costs->topology(pair), storage(elements, recipe.gradient))
            .time.value();
    copy_sums.emplace_back(key, time);
    return time;
  }

  std::vector<std::pair<std::int64_t, GroupSync>> dense_syncs;
  std::vector<std::pair<std::int64_t, GroupSync>> expert_syncs;
  std::vector<std::pair<std::pair<int, std::int64_t>, double>> copy_sums;

  [[nodiscard]] double step(std::int64_t elements) const {
    Op op;
    op.kind = OpKind::kOptimizerStep;
    op.payload_elements = elements;
    return compute_cost(*costs, 0, op, Chunk{}, recipe, {}).time.value();
  }
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
  plan.moe_dispatch_format = space_.moe_dispatch_format;
  plan.moe_combine_format = space_.moe_combine_format;
  plan.comm_sm_share = space_.comm_sm_share;
  plan.moe_schedule = cell.moe_schedule->name();
  plan.moe_degree = cell.moe_degree;
  plan.moe_backward_degree = cell.moe_backward_degree;
  plan.moe_shadows = cell.moe_shadows;
  plan.all_to_all = cell.all_to_all;
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
  std::map<std::pair<const MoeSchedule*, std::array<int, 10>>, std::int32_t> known;
  std::map<std::array<std::int64_t, 9>, std::size_t> groups;
  for (const Cell& cell : cells) {
    const ParallelSizes& s = cell.sizes;
    // Loads repeat after kMostSources sources, so stages that are multiples of it see the same.
    const int stage_ranks = world / s.pp;
    const bool repeats = stage_ranks % kMostSources == 0 && world % kMostSources == 0;
    const int pp = repeats ? 1 : s.pp;
    const int algorithm = static_cast<int>(cell.all_to_all);
    const auto [entry, fresh] = known.try_emplace({cell.moe_schedule,
                                                   {cell.moe_degree, cell.moe_backward_degree, cell.moe_shadows, s.tp,
                                                    s.cp, s.ep, s.esp, cell.micro_batch, pp, algorithm}},
                                                  static_cast<std::int32_t>(need.tables.size()));
    if (fresh) {
      Plan plan = plan_of(cell, {});
      plan.layout.sizes.pp = pp;
      plan.layout.sizes.vpp = 1;
      plan.layout.sizes.dp = world / (s.tp * s.cp * pp);
      plan.layout.sizes.edp = world / (s.ep * s.esp * pp);
      const std::int64_t tokens = plan.tokens_per_micro_batch() / s.tp;
      const CopyDivision division = cell.moe_schedule->division(plan);
      const std::int64_t sharers = division == CopyDivision::kOwnTokens ? 1 : s.tp;
      const MoeShape* moe = model_.first_moe();
      const int shadows = moe != nullptr ? cell.moe_schedule->shadows(plan, *moe) : 0;
      const std::int64_t visits = cell.moe_schedule->visits() ? s.ep_on_node : 0;
      const auto [group, first] = groups.try_emplace(
          {tokens, s.ep, s.esp, pp, static_cast<std::int64_t>(division), sharers, shadows, algorithm, visits},
          need.groups.size());
      if (first) need.groups.emplace_back();
      need.groups[group->second].push_back(entry->second);
      need.tables.push_back(std::move(plan));
    }
    need.of_cell.push_back(entry->second);
  }
  return need;
}

Status CandidateMaker::make_tables(const Need& need, std::size_t group,
                                   std::vector<std::optional<LayerTable>>& tables) {
  std::optional<RoutingPrices> routing;
  for (const std::int32_t index : need.groups[group]) {
    const Plan& plan = need.tables[static_cast<std::size_t>(index)];
    MOESIM_ASSIGN(Layout made, Layout::make(plan.layout, costs_.view().ranks()));
    const auto layout = std::make_shared<const Layout>(std::move(made));
    if (!routing) {
      MOESIM_ASSIGN(auto loads, loads_of(plan));
      MOESIM_ASSIGN(const MoeSchedule* schedule, find_moe_schedule(plan.moe_schedule));
      auto divided = model_.first_moe() == nullptr ? loads : loads_of_schedule(*schedule, loads, plan, model_, *layout);
      routing.emplace(*layout, std::move(loads), std::move(divided));
    }
    MOESIM_ASSIGN(tables[static_cast<std::size_t>(index)], LayerTable::make(plan, layout, model_, costs_, *routing));
  }
  return {};
}

Result<std::shared_ptr<const RoutedLoads>> CandidateMaker::loads_of(const Plan& plan) {
  const std::int64_t tokens = plan.tokens_per_micro_batch() / plan.sizes().tp;
  const int sources = std::min(kMostSources, plan.sizes().world() / plan.sizes().pp);
  {
    const std::scoped_lock lock(mutex_);
    if (const auto known = loads_.find({tokens, sources}); known != loads_.end()) return known->second;
  }
  MOESIM_ASSIGN(auto loads, loads_for(plan, model_, trace_, 1));
  const std::scoped_lock lock(mutex_);
  return loads_.try_emplace({tokens, sources}, std::move(loads)).first->second;
}

const CandidateMaker::Shape& CandidateMaker::shape_of(const Plan& plan, const ScheduleChoice& choice) {
  const PipelineShape shape{plan.sizes().pp, plan.micro_batches(), choice.vpp};
  ShapeEntry* entry = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    entry = &shapes_[{choice.schedule, shape.stages, shape.micro_batches, shape.chunks_per_stage}];
  }
  // Other threads wait for this shape alone.
  std::call_once(entry->made, [&] {
    if (!choice.schedule->check(shape)) return;
    auto pipeline = compile_pipeline(*choice.schedule, shape);
    auto layers = split_layers(plan, model_);
    if (!pipeline || !layers) return;
    Shape& made = entry->shape;
    made.pipeline = std::make_shared<const CompiledPipeline>(std::move(*pipeline));
    made.activations = std::make_shared<const ActivationFront>(*made.pipeline);
    made.layers_per_chunk = std::move(*layers);
    made.pairs = chunk_pairs(*made.pipeline);
  });
  return entry->shape;
}

std::vector<CandidateMaker::ShapeNeed> CandidateMaker::shape_needs(const std::vector<Cell>& cells) const {
  std::map<std::tuple<std::size_t, int, int>, ShapeNeed> needs;  // by schedule, stages and micro-batches
  for (const Cell& cell : cells)
    for (std::size_t choice = 0; choice < schedules_.size(); ++choice) {
      Plan plan = plan_of(cell, {});
      plan.pipeline = schedules_[choice].schedule->name();
      plan.layout.sizes.vpp = schedules_[choice].vpp;
      if (cell.sizes.pp == 1 && schedules_[choice].schedule->name() != "1f1b") continue;
      needs.try_emplace({choice, cell.sizes.pp, plan.micro_batches()}, ShapeNeed{plan, schedules_[choice]});
    }
  std::vector<ShapeNeed> list;
  for (const auto& [key, need] : needs) list.push_back(need);
  const auto slots = [](const ShapeNeed& need) {
    return std::int64_t{need.plan.sizes().pp} * need.plan.micro_batches();
  };
  std::stable_sort(list.begin(), list.end(),
                   [&slots](const ShapeNeed& a, const ShapeNeed& b) { return slots(a) > slots(b); });
  return list;
}

const GroupTopology& CandidateMaker::strided_group(int stride, int count) const {
  std::vector<RankId> ranks;
  for (int i = 0; i < count; ++i) ranks.emplace_back(i * stride);
  return costs_.topology(ranks);
}

double CandidateMaker::transfer_time(const Cell& cell) {
  if (cell.sizes.pp == 1) return 0;
  const int stride = costs_.view().ranks() / cell.sizes.pp;
  const Bytes size =
      storage(cell.micro_batch * space_.seq_length / cell.sizes.cp / cell.sizes.tp * model_.hidden, DType::kBf16);
  // The nearest pair of neighbouring stages: a whole node or more apart, all are alike.
  double least = costs_.collective(CollectiveKind::kSendRecv, strided_group(stride, 2), size).time.value();
  for (int stage = 1; stage + 1 < cell.sizes.pp && stride < costs_.view().domain_size(RankId(0)); ++stage) {
    const std::array<RankId, 2> pair = {RankId(stage * stride), RankId((stage + 1) * stride)};
    least = std::min(least, costs_.collective(CollectiveKind::kSendRecv, costs_.topology(pair), size).time.value());
  }
  return least;
}

CandidateMaker::CellContext CandidateMaker::context_of(const Cell& cell) {
  // Groups of the default rank order (layout.hpp): the innermost dimension is the stride.
  const ParallelSizes& s = cell.sizes;
  CellContext context{plan_of(cell, {}),
                      *find_precision(space_.precision),
                      &costs_,
                      &strided_group(s.tp, s.cp * s.dp),
                      &strided_group(s.esp * s.ep, s.edp),
                      0,
                      transfer_time(cell),
                      0,
                      {},
                      {},
                      {}};
  context.drag = communication_drag(costs_, plan_of(cell, {}));
  if (costs_.view().ranks() > 1)
    context.grad_norm =
        costs_.collective(CollectiveKind::kAllReduce, strided_group(1, costs_.view().ranks()), storage(1, DType::kFp32))
            .time.value();
  return context;
}

CutModel CandidateMaker::cut(const CellContext& context, const ScheduleChoice& choice, const Shape& compiled,
                             Recompute recompute, const LayerTable& table, PairDetail detail,
                             SpanPlayer& player) const {
  CutModel cut = cut_model(table, recompute, model_, *choice.schedule, compiled.pipeline->shape,
                           compiled.layers_per_chunk, context.transfer);
  if (!compiled.pairs.empty())
    pair_passes(cut, table, recompute, *choice.schedule, compiled.pairs, detail, compiled.layers_per_chunk,
                context.drag, player);
  return cut;
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
           gradients / (zero >= ZeroStage::kGradients ? replicas : 1) +
           states / (zero >= ZeroStage::kOptimizer ? replicas : 1);
  };
  return part(held.dense, held.weight_bytes_dense, dense, std::int64_t{sizes.dp} * sizes.cp) +
         part(held.expert, held.weight_bytes_expert, expert, sizes.edp);
}

}  // namespace

CandidateMaker::CellResult CandidateMaker::bound_cell(const Cell& cell, std::int32_t index, const LayerTable& table) {
  CellResult result;
  CellContext context = context_of(cell);
  SyncTimes sync(static_cast<std::size_t>(cell.sizes.pp));
  const Plan& base = context.base;
  const PrecisionRecipe& recipe = context.recipe;
  const auto zero_choices = static_cast<std::int64_t>(space_.zero_dense.size() * space_.zero_expert.size());
  const double capacity = smallest_device_memory(costs_.view());
  std::vector<std::int64_t> peaks;
  std::vector<std::int64_t> working;
  SpanPlayer player;
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
      const CutModel cut = this->cut(context, schedule, compiled, recompute, table, PairDetail::kComputation, player);
      ActivationBytes bytes;
      for (const PassTimes& pass : cut.passes) {
        bytes.forward.push_back(pass.saved_bytes);
        bytes.weight_part.push_back(pass.kept_for_weight);
      }
      // Once most is in flight, the next thing a stage does is the backward pass of one of its chunks.
      peaks.assign(static_cast<std::size_t>(shape.stages), 0);
      working.assign(peaks.size(), std::int64_t{1} << 62);
      for (std::size_t chunk = 0; chunk < cut.passes.size(); ++chunk) {
        std::int64_t& least = working[static_cast<std::size_t>(cut.stage_of[chunk])];
        least = std::min(least, cut.passes[chunk].backward_working);
      }
      compiled.activations->peaks(bytes, working, peaks);
      for (const ZeroStage dense : space_.zero_dense)
        for (const ZeroStage expert : space_.zero_expert) {
          // Shards of one replica are the whole: only the first of the stages is another plan.
          if ((context.dense->size() == 1 && dense != space_.zero_dense.front()) ||
              (context.expert->size() == 1 && expert != space_.zero_expert.front())) {
            ++result.equivalent;
            continue;
          }
          std::int64_t peak = 0;
          for (std::size_t stage = 0; stage < peaks.size(); ++stage)
            peak =
                std::max(peak, peaks[stage] + static_bytes(cut.parameters[stage], recipe, cell.sizes, dense, expert));
          result.smallest_peak = std::min(result.smallest_peak, Bytes(peak));
          if (static_cast<double>(peak) + kFrameworkReserve.value() > capacity) {
            ++result.too_large;
            continue;
          }
          context.sync_times(cut, dense, expert, sync);
          Candidate candidate;
          candidate.cell = index;
          candidate.schedule = static_cast<std::int16_t>(choice);
          candidate.recompute = static_cast<std::int8_t>(recompute);
          candidate.zero_dense = static_cast<std::int8_t>(dense);
          candidate.zero_expert = static_cast<std::int8_t>(expert);
          candidate.bound = step_time_bound({&cut, &sync, plan.micro_batches(), schedule.schedule->splits_backward()});
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
  CellContext context = context_of(cell);
  SpanPlayer pairs;
  const CutModel cut = this->cut(context, choice, compiled, plan.recompute, table, PairDetail::kPlayed, pairs);
  SyncTimes sync(cut.parameters.size());
  context.sync_times(cut, plan.zero_dense, plan.zero_expert, sync);
  const BoundInput input{&cut, &sync, plan.micro_batches(), choice.schedule->splits_backward()};
  return std::max(candidate.bound, played_bound(input, *compiled.pipeline, context.transfer, player));
}

}  // namespace moesim
