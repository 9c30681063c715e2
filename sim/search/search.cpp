#include "sim/search/search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <optional>
#include <queue>
#include <utility>

#include "base/text.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/pipeline/schedules.hpp"
#include "sim/search/candidates.hpp"
#include "sim/search/cells.hpp"
#include "sim/search/parallel.hpp"
#include "sim/search/reasons.hpp"

namespace moesim {
namespace {

// A bound above its replay by more than rounding would make the certificate wrong, so every replay checks its bound.
constexpr double kBoundTolerance = 1e-6;

constexpr double kLongestReplay = 9e18;  // picoseconds

// Plans prepared at once, and the least that are then replayed at once. Fixed, so that the result does not depend on the number of threads.
constexpr std::size_t kReplayBatch = 8;

struct PrunedText {
  std::string_view name;
  std::string_view description;
};
constexpr std::array<PrunedText, static_cast<std::size_t>(Pruned::kCount)> kPrunedTexts = {{
    {"world_not_divisible", "the world size is not a multiple of tp*cp*pp or of esp*ep*pp"},
    {"meshes_disagree", "tp*cp*dp is not a multiple of esp*ep"},
    {"heads", "attention heads do not divide by tp"},
    {"experts", "experts do not divide by ep"},
    {"expert_width", "expert width does not divide by esp, or FFN width by tp"},
    {"layers", "fewer layers than virtual pipeline stages"},
    {"sequence", "the sequence does not divide by 2*cp or tp"},
    {"batch", "the global batch is not a multiple of micro_batch*dp"},
    {"pipeline_shape", "the schedule does not exist for these stages, micro-batches and chunks"},
    {"moe_schedule", "the MoE schedule does not run under this layout"},
    {"equivalent", "the same as another plan of the space"},
    {"memory", "does not fit into the device's memory"},
    {"bound", "a bound proves it slower than the plans listed"},
    {"memory_walked", "does not fit once every tensor is followed"},
}};

std::vector<ScheduleChoice> schedule_choices(const SearchSpace& space, std::vector<const PipelineSchedule*>& known) {
  std::vector<ScheduleChoice> choices;
  for (const PipelineSchedule* schedule : known) {
    // A schedule whose number of chunks depends on vpp takes each value of the space.
    if (schedule->chunks_per_stage(1) == schedule->chunks_per_stage(4)) {
      choices.push_back({schedule, schedule->chunks_per_stage(1)});
      continue;
    }
    for (const int vpp : space.vpp) choices.push_back({schedule, vpp});
  }
  return choices;
}

class Ranker {
 public:
  Ranker(const ModelShape& model, const CostModel& costs, const LoadMapper* trace, const SearchSpace& space,
         const SearchOptions& options, std::vector<ScheduleChoice> schedules)
      : model_(model),
        costs_(costs),
        trace_(trace),
        space_(space),
        options_(options),
        maker_(model, costs, trace, space, std::move(schedules)) {}

  Result<RankResult> run() {
    MOESIM_TRY(bound_everything());
    if (candidates_.empty()) return nothing_fits();
    MOESIM_TRY(replay_best_first());
    if (best_.empty()) {
      if (stopped()) return fail(ErrorKind::kInterrupted, "interrupted before the first plan was replayed");
      return nothing_fits();
    }
    finish();
    return std::move(result_);
  }

 private:
  [[nodiscard]] std::int64_t& pruned(Pruned reason) {
    return result_.certificate.pruned[static_cast<std::size_t>(reason)];
  }
  [[nodiscard]] bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }
  // From any thread.
  void report(std::int64_t done, std::int64_t total, std::string_view stage) {
    if (!options_.progress) return;
    const std::scoped_lock lock(report_mutex_);
    options_.progress(done, total, stage);
  }

  // Groups of tables in an order that leaves no long one for the end: with many exchanges between many ranks.
  static std::vector<std::size_t> longest_first(const CandidateMaker::Need& need) {
    std::vector<std::size_t> order(need.groups.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto work = [&need](std::size_t group) {
      const auto& tables = need.groups[group];
      const std::int64_t ranks = need.tables[static_cast<std::size_t>(tables.front())].sizes().ep;
      return ranks * ranks + 64 * static_cast<std::int64_t>(tables.size());
    };
    std::stable_sort(order.begin(), order.end(), [&work](std::size_t a, std::size_t b) { return work(a) > work(b); });
    return order;
  }

  Status bound_everything() {
    const auto weight = static_cast<std::int64_t>(maker_.schedules().size() * space_.recompute.size() *
                                                  space_.zero_dense.size() * space_.zero_expert.size());
    MOESIM_ASSIGN(CellList list, enumerate_cells(model_, space_, costs_.view(), weight, result_.certificate));
    result_.certificate.considered = list.combinations * weight;
    cells_ = std::move(list.cells);
    const CandidateMaker::Need need = maker_.table_needs(cells_);
    table_of_cell_ = need.of_cell;
    tables_.resize(need.tables.size());
    std::vector<Status> made(need.groups.size());
    std::atomic<std::int64_t> done{0};
    const std::vector<std::size_t> order = longest_first(need);
    parallel_for(order.size(), options_.threads, [&](std::size_t i) {
      if (stopped()) return;
      made[order[i]] = maker_.make_tables(need, order[i], tables_);
      report(++done, static_cast<std::int64_t>(need.groups.size()), "pricing layers");
    });
    for (const Status& status : made) MOESIM_TRY(status);
    if (stopped()) return fail(ErrorKind::kInterrupted, "interrupted while layers were priced");
    report(0, static_cast<std::int64_t>(cells_.size()), "bounding plans");
    const std::vector<CandidateMaker::ShapeNeed> shapes = maker_.shape_needs(cells_);
    parallel_for(shapes.size(), options_.threads, [&](std::size_t i) {
      if (!stopped()) maker_.compile_shape(shapes[i]);
    });
    std::vector<CandidateMaker::CellResult> results(cells_.size());
    parallel_for(cells_.size(), options_.threads, [&](std::size_t i) {
      if (stopped()) return;
      results[i] = maker_.bound_cell(cells_[i], static_cast<std::int32_t>(i),
                                     *tables_[static_cast<std::size_t>(table_of_cell_[i])]);
    });
    if (stopped()) return fail(ErrorKind::kInterrupted, "interrupted while plans were bounded");
    for (const CandidateMaker::CellResult& cell : results) {
      pruned(Pruned::kPipelineShape) += cell.impossible_shape;
      pruned(Pruned::kLayers) += cell.too_few_layers;
      pruned(Pruned::kMemory) += cell.too_large;
      pruned(Pruned::kEquivalent) += cell.equivalent;
      smallest_peak_ = std::min(smallest_peak_, cell.smallest_peak);
      candidates_.insert(candidates_.end(), cell.candidates.begin(), cell.candidates.end());
    }
    result_.certificate.bounded = static_cast<std::int64_t>(candidates_.size());
    return {};
  }

  // By bound, then by place in the space.
  struct Later {
    const std::vector<Candidate>* candidates;
    bool operator()(std::size_t a, std::size_t b) const {
      const double bound_a = (*candidates)[a].bound;
      const double bound_b = (*candidates)[b].bound;
      return bound_a != bound_b ? bound_a > bound_b : a > b;
    }
  };

  using Queue = std::priority_queue<std::size_t, std::vector<std::size_t>, Later>;

  [[nodiscard]] double worst_kept() const {
    return static_cast<int>(best_.size()) < options_.top ? std::numeric_limits<double>::infinity()
                                                         : best_.back().metrics.step_time.value();
  }

  Status replay_best_first() {
    std::vector<std::size_t> order(candidates_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    Queue queue(Later{&candidates_}, std::move(order));
    while (!stopped()) {
      std::vector<Prepared> batch;
      MOESIM_TRY(prepare_batch(queue, batch));
      if (batch.empty()) break;
      MOESIM_TRY(replay_batch(batch));
      report(replays_, replays_ + plans_left(), "replaying plans");
    }
    Certificate& certificate = result_.certificate;
    const bool done = queue.empty() || candidates_[queue.top()].bound >= worst_kept();
    certificate.proven = done && broken_bounds_ == 0;
    pruned(Pruned::kBound) += certificate.bounded - certificate.replayed - pruned(Pruned::kMemoryWalked);
    if (!done && !best_.empty()) {
      const double gain = best_.front().metrics.step_time.value() - candidates_[queue.top()].bound;
      certificate.largest_possible_gain = Seconds(std::max(0.0, gain));
      certificate.gap = certificate.largest_possible_gain / best_.front().metrics.step_time;
    }
    return {};
  }

  // The first plans that may still be among the best, as many as are given or fewer.
  std::vector<std::size_t> take_first(Queue& queue, std::size_t most) {
    std::vector<std::size_t> taken;
    while (!queue.empty() && taken.size() < most && candidates_[queue.top()].bound < worst_kept()) {
      if (!candidates_[queue.top()].played) {
        tighten_first(queue);
        continue;
      }
      candidates_[queue.top()].taken = true;
      taken.push_back(queue.top());
      queue.pop();
    }
    return taken;
  }

  // Gives the first plans that have none yet the tighter bound. Some of them would not have needed it; it changes nothing.
  void tighten_first(Queue& queue) {
    std::vector<std::size_t> first;
    while (!queue.empty() && first.size() < players_.size() && !candidates_[queue.top()].played &&
           candidates_[queue.top()].bound < worst_kept()) {
      first.push_back(queue.top());
      queue.pop();
    }
    parallel_for(first.size(), options_.threads, [&](std::size_t i) {
      Candidate& candidate = candidates_[first[i]];
      const auto cell = static_cast<std::size_t>(candidate.cell);
      const LayerTable& table = *tables_[static_cast<std::size_t>(table_of_cell_[cell])];
      candidate.bound = maker_.play(cells_[cell], candidate, table, players_[i]);
      candidate.played = true;
    });
    for (const std::size_t index : first) queue.push(index);
  }

  // Plans whose bounds leave them a chance. Fewer and fewer, as replays tell how fast the best ones are.
  [[nodiscard]] std::int64_t plans_left() const {
    const double limit = worst_kept();
    return std::count_if(candidates_.begin(), candidates_.end(),
                         [limit](const Candidate& candidate) { return !candidate.taken && candidate.bound < limit; });
  }

  struct Prepared {
    RankedPlan ranked;
    SimulatedStep step;
    std::size_t operations = 0;  // how long it will take to replay
  };

  // The next plans that fit, lowered.
  Status prepare_batch(Queue& queue, std::vector<Prepared>& batch) {
    while (batch.size() < kReplayBatch && !stopped()) {
      const std::vector<std::size_t> taken = take_first(queue, kReplayBatch);
      if (taken.empty()) break;
      std::vector<Result<Prepared>> prepared(taken.size(), fail(ErrorKind::kInternal, "not prepared"));
      parallel_for(taken.size(), options_.threads,
                   [&](std::size_t i) { prepared[i] = prepare_one(candidates_[taken[i]]); });
      replays_ += static_cast<std::int64_t>(taken.size());
      for (Result<Prepared>& one : prepared) {
        if (!one) return tl::unexpected<Error>(one.error());
        smallest_walked_peak_ = std::min(smallest_walked_peak_, one->step.metrics.peak_memory);
        if (one->step.metrics.fits)
          batch.push_back(std::move(*one));
        else
          ++pruned(Pruned::kMemoryWalked);
      }
    }
    return {};
  }

  Result<Prepared> prepare_one(const Candidate& candidate) {
    const auto cell = static_cast<std::size_t>(candidate.cell);
    Prepared prepared;
    prepared.ranked.plan = maker_.plan_of(cells_[cell], candidate);
    prepared.ranked.bound = Seconds(candidate.bound);
    StepOptions options;
    options.loads = tables_[static_cast<std::size_t>(table_of_cell_[cell])]->loads();
    MOESIM_ASSIGN(prepared.step, prepare_step(prepared.ranked.plan, model_, costs_, trace_, options));
    for (const StageProgram& stage : prepared.step.program.stages)
      for (const Call& call : stage.calls)
        prepared.operations += prepared.step.program.blocks[static_cast<std::size_t>(call.block)].ops.size();
    return prepared;
  }

  // Those that take longest begin first, so that no thread has to wait for the last of them.
  Status replay_batch(std::vector<Prepared>& batch) {
    StepOptions options;
    if (const double limit = std::ceil(worst_kept() * kPicosecondsPerSecond); limit < kLongestReplay)
      options.replay.limit = static_cast<Picoseconds>(limit);
    std::vector<std::size_t> order(batch.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&batch](std::size_t a, std::size_t b) { return batch[a].operations > batch[b].operations; });
    std::vector<Status> played(batch.size());
    parallel_for(batch.size(), options_.threads,
                 [&](std::size_t i) { played[order[i]] = play_step(batch[order[i]].step, costs_, options); });
    for (std::size_t i = 0; i < batch.size(); ++i) {
      MOESIM_TRY(played[i]);
      ++result_.certificate.replayed;
      if (!batch[i].step.replay.outlasted) keep(std::move(batch[i].ranked), batch[i].step.metrics);
    }
    return {};
  }

  void keep(RankedPlan plan, const StepMetrics& metrics) {
    plan.metrics = metrics;
    if (plan.bound > metrics.step_time * (1 + kBoundTolerance)) ++broken_bounds_;
    const auto place = std::upper_bound(best_.begin(), best_.end(), plan, [](const RankedPlan& a, const RankedPlan& b) {
      return a.metrics.step_time < b.metrics.step_time;
    });
    best_.insert(place, std::move(plan));
    if (static_cast<int>(best_.size()) > options_.top) best_.pop_back();
  }

  void finish() {
    for (std::size_t i = 0; i < best_.size(); ++i)
      best_[i].reason =
          i == 0 ? reason_of_winner(best_[i].metrics) : reason_against(best_[i].metrics, best_.front().metrics);
    result_.plans = std::move(best_);
    if (!tables_.empty() && tables_.front()) result_.notes = tables_.front()->loads()->notes;
    if (std::ranges::any_of(result_.plans, [](const RankedPlan& ranked) { return visits_are_estimated(ranked.plan); }))
      result_.notes.emplace_back(kVisitsNote);
    for (std::string& note : precision_notes(costs_.view(), *find_precision(space_.precision)))
      result_.notes.push_back(std::move(note));
    if (broken_bounds_ > 0)
      result_.notes.push_back(fmt::format(
          "{} plan(s) replayed faster than their bound, an error of moesim: better plans may be missing; please "
          "report it with this command",
          broken_bounds_));
    if (model_.mtp_layers > 0)
      result_.notes.push_back(
          fmt::format("{} multi-token-prediction module(s) of the model are left out", model_.mtp_layers));
  }

  tl::unexpected<Error> nothing_fits() {
    const auto& counts = result_.certificate.pruned;
    std::string hint;
    const bool memory = pruned(Pruned::kMemory) + pruned(Pruned::kMemoryWalked) > 0;
    // What is possible but too large is what the user can do something about.
    const auto most = memory
                          ? static_cast<std::size_t>(Pruned::kMemory)
                          : static_cast<std::size_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
    if (memory) {
      Bytes needed = std::min(smallest_peak_, smallest_walked_peak_);
      hint = fmt::format(
          "the smallest plan needs {} and {} for the framework, a device has {}: use more nodes, a larger device, "
          "or a smaller micro-batch or sequence",
          humanize(needed), humanize(kFrameworkReserve), humanize(costs_.view().devices().front().memory));
    } else {
      hint = "widen the search space, or change the number of nodes or the global batch";
    }
    return fail(ErrorKind::kNoFeasiblePlan,
                fmt::format("none of {} plans is feasible; {} of them: {}", result_.certificate.considered,
                            counts[most], kPrunedTexts[most].description),
                {}, hint);
  }

  const ModelShape& model_;
  const CostModel& costs_;
  const LoadMapper* trace_;
  const SearchSpace& space_;
  const SearchOptions& options_;
  CandidateMaker maker_;
  std::mutex report_mutex_;
  std::vector<Cell> cells_;
  std::vector<std::int32_t> table_of_cell_;
  std::vector<std::optional<LayerTable>> tables_;
  std::vector<Candidate> candidates_;
  std::vector<RankedPlan> best_;
  std::array<SlotPlayer, 32> players_;  // by place among the plans whose bounds are tightened at once
  std::int64_t broken_bounds_ = 0;
  std::int64_t replays_ = 0;  // of plans that turned out too large as well
  Bytes smallest_peak_{std::int64_t{1} << 62};
  Bytes smallest_walked_peak_{std::int64_t{1} << 62};
  RankResult result_;
};

}  // namespace

std::string_view pruned_name(Pruned reason) { return kPrunedTexts[static_cast<std::size_t>(reason)].name; }
std::string_view pruned_description(Pruned reason) {
  return kPrunedTexts[static_cast<std::size_t>(reason)].description;
}

Result<RankResult> rank_plans(const ModelShape& model, const CostModel& costs, const LoadMapper* trace,
                              const SearchSpace& space, const SearchOptions& options) {
  std::vector<const PipelineSchedule*> schedules;
  for (const std::string& name : space.pipeline) {
    MOESIM_ASSIGN(const PipelineSchedule* schedule, find_pipeline_schedule(name));
    schedules.push_back(schedule);
  }
  MOESIM_TRY(find_precision(space.precision));
  Ranker ranker(model, costs, trace, space, options, schedule_choices(space, schedules));
  return ranker.run();
}

}  // namespace moesim
