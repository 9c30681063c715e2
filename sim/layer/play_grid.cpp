#include "sim/layer/play_grid.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/layer/compare_layers.hpp"
#include "sim/layer/degree_pairs.hpp"
#include "sim/layer/play_layer.hpp"
#include "sim/lower/ep_nodes.hpp"
#include "sim/memory/memory_walk.hpp"
#include "sim/search/parallel.hpp"

namespace moesim {
namespace {

// What the layers of one cluster and pair share.
struct GridCell {
  const CostModel* costs = nullptr;
  Bytes device_memory;
  ParallelSizes sizes;  // but for EP where the experts are given
  std::shared_ptr<const Layout> layout;
  std::optional<ParmRule> rule;
};

ParallelSizes cell_sizes(int tp, int esp, int world, std::int64_t experts) {
  ParallelSizes sizes;
  sizes.tp = tp;
  sizes.esp = esp;
  sizes.dp = std::max(1, world / tp);
  const int ranks = std::max(1, world / esp);
  sizes.ep = experts == 0 ? ranks : static_cast<int>(std::gcd(experts, std::int64_t{ranks}));
  sizes.edp = std::max(1, ranks / sizes.ep);
  return sizes;
}

Bytes least_memory(const ClusterView& view) {
  Bytes least = view.devices().front().memory;
  for (const DeviceSpec& device : view.devices()) least = std::min(least, device.memory);
  return least;
}

Result<GridCell> make_cell(const CostModel& costs, const ParallelSizes& sizes) {
  GridCell cell;
  cell.costs = &costs;
  cell.device_memory = least_memory(costs.view());
  cell.sizes = sizes;
  LayoutSpec spec;
  spec.sizes = sizes;
  MOESIM_ASSIGN(Layout layout, Layout::make(spec, costs.view().ranks()));
  cell.sizes.ep_on_node = spec.sizes.ep_on_node = ep_members_on_node(layout, costs.view());
  MOESIM_ASSIGN(layout, Layout::make(spec, costs.view().ranks()));
  cell.layout = std::make_shared<const Layout>(std::move(layout));
  cell.rule.emplace(costs, *cell.layout);
  return cell;
}

Result<LayerCase> case_of(const LayerGrid& grid, const GridPoint& point, const GridCell& cell) {
  MoeShape moe;
  moe.experts = point.experts_are_per_rank ? point.experts * cell.sizes.ep : point.experts;
  moe.top_k = point.top_k;
  moe.expert = {.width = point.expert_width, .gated = point.gated};
  if (moe.top_k > moe.experts)
    return invalid_input(fmt::format("{} experts for a token, but there are {}", moe.top_k, moe.experts));
  Plan plan;
  plan.layout.sizes = cell.sizes;
  plan.micro_batch = static_cast<int>(point.batch);
  plan.seq_length = point.seq;
  plan.precision = grid.precision;
  plan.capacity_factor = point.capacity_factor;
  plan.pad_to_capacity = point.capacity_factor > 0;
  plan.zero_dense = plan.zero_expert = ZeroStage::kNone;
  return make_layer_case(one_layer_model(point.hidden, moe), std::move(plan), {}, cell.layout);
}

class GridPlayer {
 public:
  GridPlayer(const LayerGrid& grid, std::span<const MoeSchedule* const> schedules, const LayerOptions& options)
      : grid_(grid), options_(options) {
    times_.schedules.assign(schedules.begin(), schedules.end());
    times_.outcomes.assign(grid.size() * schedules.size(), GridOutcome::kRefused);
    times_.seconds.assign(grid.size() * schedules.size(), Seconds(0));
    times_.passes_apart.assign(grid.size() * schedules.size(), Seconds(0));
    times_.degrees.assign(grid.size() * schedules.size(), 1);
    times_.backward_degrees.assign(grid.size() * schedules.size(), 1);
    times_.alike.assign(grid.size() * schedules.size(), Seconds(0));
    times_.rule.assign(grid.size(), ParmChoice::kS1);
  }

  // Cells by cluster, pair and number of experts.
  Status prepare(std::span<const CostModel* const> clusters) {
    const std::vector<std::int64_t> given = grid_.experts.empty() ? std::vector<std::int64_t>{0} : grid_.experts;
    for (const CostModel* costs : clusters)
      for (const auto& [tp, esp] : grid_.tp_esp)
        for (const std::int64_t experts : given) {
          Result<GridCell> cell = make_cell(*costs, cell_sizes(tp, esp, costs->view().ranks(), experts));
          if (!cell)
            return invalid_input(
                fmt::format("TP {} and ESP {} on {} ranks: {}", tp, esp, costs->view().ranks(), cell.error().what),
                grid_.name, cell.error().hint);
          cells_.push_back(std::move(*cell));
        }
    return {};
  }

  Result<GridTimes> run(int threads) {
    std::vector<Status> done(grid_.size());
    parallel_for(grid_.size(), threads, [&](std::size_t i) { done[i] = play(i); });
    for (const Status& status : done) {
      MOESIM_TRY(status);
    }
    return std::move(times_);
  }

 private:
  [[nodiscard]] const GridCell& cell_of(const GridPoint& point) const {
    const auto pair = static_cast<std::size_t>(
        std::find(grid_.tp_esp.begin(), grid_.tp_esp.end(), std::pair(point.tp, point.esp)) - grid_.tp_esp.begin());
    std::size_t experts = 0;
    std::size_t lists = 1;
    if (!grid_.experts.empty()) {
      lists = grid_.experts.size();
      experts = static_cast<std::size_t>(std::find(grid_.experts.begin(), grid_.experts.end(), point.experts) -
                                         grid_.experts.begin());
    }
    return cells_[(point.cluster * grid_.tp_esp.size() + pair) * lists + experts];
  }

  Status play(std::size_t index) {
    const GridPoint point = grid_point(grid_, index);
    const GridCell& cell = cell_of(point);
    const auto blame = [&](const Error& error) {
      return fail(error.kind, fmt::format("{}: {}", point_text(point), error.what), grid_.name, error.hint);
    };
    const Result<LayerCase> layer = case_of(grid_, point, cell);
    if (!layer) return blame(layer.error());
    times_.rule[index] = choose_schedule(cell.rule->times(*layer, options_.passes));
    std::vector<Played> played;
    for (std::size_t s = 0; s < times_.schedules.size(); ++s) {
      const MoeSchedule& schedule = *times_.schedules[s];
      const std::size_t place = times_.place(index, s);
      const Result<Plan> plan = plan_of_schedule(*layer, schedule.name(), options_.boundary);
      if (!plan) continue;  // refused
      times_.outcomes[place] = GridOutcome::kDoesNotFit;
      const auto play_in = [&](int forward, int backward) -> Result<std::optional<LayerTimes>> {
        Plan in_pieces = *plan;
        in_pieces.moe_degree = forward;
        in_pieces.moe_backward_degree = backward == forward ? 0 : backward;
        MOESIM_ASSIGN(const std::optional<LayerTimes> time, play_pieces(*layer, cell, schedule, in_pieces, played));
        if (time) take(place, *time, forward, backward);
        return time;
      };
      std::vector<AlikeTimes> alike;
      for (const int degree : schedule.degrees(*plan)) {
        const Result<std::optional<LayerTimes>> time = play_in(degree, degree);
        if (!time) return blame(time.error());
        if (*time) alike.push_back({degree, (*time)->forward, (*time)->backward});
      }
      if (alike.empty()) continue;
      times_.alike[place] = times_.seconds[place];
      const auto fastest = [&](Seconds AlikeTimes::*pass) {
        Seconds least = alike.front().*pass;
        for (const AlikeTimes& one : alike) least = std::min(least, one.*pass);
        return least;
      };
      times_.passes_apart[place] = fastest(&AlikeTimes::forward) + fastest(&AlikeTimes::backward);
      for (const DegreePair& pair : promising_pairs(alike, times_.seconds[place])) {
        if (pair.least >= times_.seconds[place]) break;
        const Result<std::optional<LayerTimes>> time = play_in(pair.forward, pair.backward);
        if (!time) return blame(time.error());
      }
    }
    return {};
  }

  void take(std::size_t place, const LayerTimes& times, int forward, int backward) {
    const bool first = times_.outcomes[place] != GridOutcome::kTimed;
    if (!first && times.total() >= times_.seconds[place]) return;
    times_.outcomes[place] = GridOutcome::kTimed;
    times_.seconds[place] = times.total();
    times_.degrees[place] = forward;
    times_.backward_degrees[place] = backward;
  }

  // A layer under one schedule in so many pieces; nullopt: no memory for it.
  struct Played {
    std::string_view schedule;
    int degree = 1;
    int backward_degree = 0;  // as a plan's
    bool sequence_parallel = false;
    std::optional<LayerTimes> time;
  };

  // Where the schedule says that another's program is the same, the other's time is its own.
  Result<std::optional<LayerTimes>> play_pieces(const LayerCase& layer, const GridCell& cell,
                                                const MoeSchedule& schedule, const Plan& plan,
                                                std::vector<Played>& played) const {
    const std::string_view same = schedule.same_as(plan, *layer.model.first_moe());
    std::optional<LayerTimes> time;
    const auto known = std::find_if(played.begin(), played.end(), [&](const Played& one) {
      return one.schedule == same && one.degree == plan.moe_degree && one.backward_degree == plan.moe_backward_degree &&
             one.sequence_parallel == plan.sequence_parallel;
    });
    if (known != played.end()) {
      time = known->time;
    } else {
      MOESIM_ASSIGN(const Program program, lower_layer(layer, plan, options_));
      if (fits(walk_memory(program).worst().peak, cell.device_memory)) {
        MOESIM_ASSIGN(time, time_layer(program, *cell.costs));
      }
    }
    played.push_back({schedule.name(), plan.moe_degree, plan.moe_backward_degree, plan.sequence_parallel, time});
    return time;
  }

  const LayerGrid& grid_;
  LayerOptions options_;
  std::vector<GridCell> cells_;
  GridTimes times_;
};

}  // namespace

std::optional<std::size_t> GridTimes::winner(std::size_t layer) const {
  std::optional<std::size_t> best;
  for (std::size_t s = 0; s < schedules.size(); ++s)
    if (timed(layer, s) && (!best || seconds[place(layer, s)] < seconds[place(layer, *best)])) best = s;
  return best;
}

Result<GridTimes> play_grid(const LayerGrid& grid, std::span<const CostModel* const> clusters,
                            std::span<const MoeSchedule* const> schedules, const LayerOptions& options, int threads) {
  MOESIM_ASSERT(clusters.size() == grid.clusters.size());
  GridPlayer player(grid, schedules, options);
  MOESIM_TRY(player.prepare(clusters));
  return player.run(threads);
}

}  // namespace moesim
