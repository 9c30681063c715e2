// A played grid in figures: speed-ups over a baseline by cell (cluster, TP, ESP) and schedule, who wins how often, and what
// Parm's rule was worth.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "sim/layer/play_grid.hpp"

namespace moesim {

struct SpeedUps {
  int layers = 0;  // that both the baseline and the schedule have a time for
  double least = 0;
  double mean = 0;
  double most = 0;
  int wins = 0;
  int does_not_fit = 0;  // of the layers that were not dropped
};

struct CellSummary {
  std::size_t cluster = 0;
  int tp = 0;
  int esp = 0;
  int layers = 0;
  int dropped = 0;                  // the baseline has no time
  std::vector<SpeedUps> schedules;  // as GridTimes::schedules
};

// Of how many layers numbers of pieces are a schedule's best.
struct DegreeCount {
  std::size_t schedule = 0;
  int degree = 1;
  int backward_degree = 1;
  int layers = 0;
};

// Layers for which two numbers of pieces are faster than one.
struct TwoNumbers {
  int layers = 0;
  double mean_gain = 0;  // of these: time with one number over that with two, less 1
  double most_gain = 0;
};

// Of a schedule, whether forward and backward pass want the same.
struct ApartSummary {
  std::size_t schedule = 0;
  int layers = 0;       // that it has a time for
  TwoNumbers differ;    // as they are
  TwoNumbers for_free;  // if nothing had to be cut again between the passes
};

// Over the layers that S1 and S2 both have a time for.
struct RuleSummary {
  int layers = 0;
  int right = 0;         // it named the faster one, or they are equal
  double mean_loss = 0;  // of the wrong picks: time over that of the other, less 1
  double most_loss = 0;
};

struct GridSummary {
  std::vector<CellSummary> cells;
  CellSummary all;
  std::vector<DegreeCount> degrees;  // over layers that a schedule has a time for; by schedule, then number
  std::vector<ApartSummary> apart;
  std::optional<RuleSummary> rule;  // nullopt: S1 and S2 are not both there
};

// `baseline` is a place in times.schedules.
[[nodiscard]] GridSummary summarize_grid(const LayerGrid& grid, const GridTimes& times, std::size_t baseline);

// Speed-ups of a schedule over the baseline, layer by layer of a cell, where both have a time.
[[nodiscard]] std::vector<double> cell_speedups(const LayerGrid& grid, const GridTimes& times, std::size_t cell,
                                                std::size_t baseline, std::size_t schedule);

}  // namespace moesim
