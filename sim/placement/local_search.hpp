// A search among placements without copies: random swaps of two slots, taken when the smoothed time (incremental_time.hpp) falls, or
// stays within a margin of the lowest so far that shrinks to nothing (threshold accepting: Dueck and Scheuer 1990). What it can see
// and greedy cannot is everything but device loads: which node an expert's tokens come from, which port is the narrow one, which experts share a round.
//
// Deterministic: the random numbers are our own, the budget counts candidates and no time.
#pragma once

#include <cstdint>

#include "sim/placement/layer_time.hpp"

namespace moesim {

struct LocalSearchOptions {
  std::int64_t candidates = 0;
  double first_margin = 0.02;  // of the time at the start
  std::uint64_t seed = 1;
};

struct LocalSearchResult {
  ExpertPlacement placement;  // the best seen
  Seconds time;
};

[[nodiscard]] LocalSearchResult search_placement(const LayerTimeModel& model, const PredictedCounts& counts,
                                                 const ExpertPlacement& start, const LocalSearchOptions& options);

// What no placement without copies can beat: the busiest expert is computed on one device, and what that device does not make itself
// for it arrives through its port. Worked, one row 1 s, four exchanges of 1 s a copy, an expert with 6 copies from one device and 3 from
// another, the mean below 9 rows: 9 + 4 * 3 = 21 s.
[[nodiscard]] Seconds least_time_without_copies(const LayerTimeModel& model, const PredictedCounts& counts);

}  // namespace moesim
