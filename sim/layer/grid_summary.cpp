#include "sim/layer/grid_summary.hpp"

#include <algorithm>
#include <map>
#include <string_view>

#include "sim/layer/compare_layers.hpp"

namespace moesim {
namespace {

void add_speedup(SpeedUps& sum, double speedup) {
  sum.least = sum.layers == 0 ? speedup : std::min(sum.least, speedup);
  sum.most = std::max(sum.most, speedup);
  sum.mean += speedup;  // divided at the end
  ++sum.layers;
}

void add_layer_to(CellSummary& cell, const GridTimes& times, std::size_t layer, std::size_t baseline) {
  ++cell.layers;
  if (!times.timed(layer, baseline)) {
    ++cell.dropped;
    return;
  }
  const Seconds base = times.seconds[times.place(layer, baseline)];
  const std::optional<std::size_t> winner = times.winner(layer);
  for (std::size_t s = 0; s < times.schedules.size(); ++s) {
    SpeedUps& sum = cell.schedules[s];
    if (times.outcomes[times.place(layer, s)] == GridOutcome::kDoesNotFit) ++sum.does_not_fit;
    if (times.timed(layer, s)) add_speedup(sum, base / times.seconds[times.place(layer, s)]);
    if (winner == s) ++sum.wins;
  }
}

void finish_means(CellSummary& cell) {
  for (SpeedUps& sum : cell.schedules)
    if (sum.layers > 0) sum.mean /= sum.layers;
}

std::optional<std::size_t> schedule_named(const GridTimes& times, std::string_view name) {
  for (std::size_t s = 0; s < times.schedules.size(); ++s)
    if (times.schedules[s]->name() == name) return s;
  return std::nullopt;
}

std::optional<RuleSummary> summarize_rule(const GridTimes& times) {
  const std::optional<std::size_t> s1 = schedule_named(times, kParmS1);
  const std::optional<std::size_t> s2 = schedule_named(times, kParmS2);
  if (!s1 || !s2) return std::nullopt;
  RuleSummary rule;
  for (std::size_t layer = 0; layer < times.layers(); ++layer) {
    if (!times.timed(layer, *s1) || !times.timed(layer, *s2)) continue;
    ++rule.layers;
    const Seconds first = times.seconds[times.place(layer, *s1)];
    const Seconds second = times.seconds[times.place(layer, *s2)];
    const double loss = (times.rule[layer] == ParmChoice::kS1 ? first / second : second / first) - 1;
    if (loss <= 0) {
      ++rule.right;
    } else {
      rule.mean_loss += loss;
      rule.most_loss = std::max(rule.most_loss, loss);
    }
  }
  if (rule.right < rule.layers) rule.mean_loss /= rule.layers - rule.right;
  return rule;
}

std::vector<DegreeCount> count_degrees(const GridTimes& times) {
  std::vector<DegreeCount> counts;
  for (std::size_t s = 0; s < times.schedules.size(); ++s) {
    std::map<std::pair<int, int>, int> layers;
    for (std::size_t layer = 0; layer < times.layers(); ++layer)
      if (const std::size_t place = times.place(layer, s); times.timed(layer, s))
        ++layers[{times.degrees[place], times.backward_degrees[place]}];
    for (const auto& [degrees, count] : layers) counts.push_back({s, degrees.first, degrees.second, count});
  }
  return counts;
}

// Over all layers that the schedule has a time for.
TwoNumbers gain_of(const GridTimes& times, std::size_t schedule, const std::vector<Seconds>& with_two) {
  TwoNumbers sum;
  for (std::size_t layer = 0; layer < times.layers(); ++layer) {
    const std::size_t place = times.place(layer, schedule);
    if (!times.timed(layer, schedule) || with_two[place] >= times.alike[place]) continue;
    const double gain = times.alike[place] / with_two[place] - 1;
    ++sum.layers;
    sum.mean_gain += gain;
    sum.most_gain = std::max(sum.most_gain, gain);
  }
  if (sum.layers > 0) sum.mean_gain /= sum.layers;
  return sum;
}

std::vector<ApartSummary> summarize_apart(const GridTimes& times) {
  std::vector<ApartSummary> all;
  for (std::size_t s = 0; s < times.schedules.size(); ++s) {
    ApartSummary& sum = all.emplace_back();
    sum.schedule = s;
    for (std::size_t layer = 0; layer < times.layers(); ++layer) sum.layers += times.timed(layer, s) ? 1 : 0;
    sum.differ = gain_of(times, s, times.seconds);
    sum.for_free = gain_of(times, s, times.passes_apart);
  }
  return all;
}

}  // namespace

GridSummary summarize_grid(const LayerGrid& grid, const GridTimes& times, std::size_t baseline) {
  GridSummary summary;
  summary.all.schedules.resize(times.schedules.size());
  const std::size_t per_cell = grid.layers_per_cell();
  for (std::size_t c = 0; c < grid.cells(); ++c) {
    CellSummary cell;
    cell.cluster = c / grid.tp_esp.size();
    cell.tp = grid.tp_esp[c % grid.tp_esp.size()].first;
    cell.esp = grid.tp_esp[c % grid.tp_esp.size()].second;
    cell.schedules.resize(times.schedules.size());
    for (std::size_t layer = c * per_cell; layer < (c + 1) * per_cell; ++layer) {
      add_layer_to(cell, times, layer, baseline);
      add_layer_to(summary.all, times, layer, baseline);
    }
    finish_means(cell);
    summary.cells.push_back(std::move(cell));
  }
  finish_means(summary.all);
  summary.degrees = count_degrees(times);
  summary.apart = summarize_apart(times);
  summary.rule = summarize_rule(times);
  return summary;
}

std::vector<double> cell_speedups(const LayerGrid& grid, const GridTimes& times, std::size_t cell, std::size_t baseline,
                                  std::size_t schedule) {
  std::vector<double> speedups;
  const std::size_t per_cell = grid.layers_per_cell();
  for (std::size_t layer = cell * per_cell; layer < (cell + 1) * per_cell; ++layer)
    if (times.timed(layer, baseline) && times.timed(layer, schedule))
      speedups.push_back(times.seconds[times.place(layer, baseline)] / times.seconds[times.place(layer, schedule)]);
  return speedups;
}

}  // namespace moesim
