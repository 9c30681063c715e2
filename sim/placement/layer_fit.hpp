// A LayerTimeModel fitted to measured times of a MoE layer whose counts are known: four numbers,
//   T = fixed + per_row * max_d (rows(d) + k * busy experts(d)) + per_copy * sum over rounds of the busiest port's copies
// with a port per device and both orders of rounds tried. Minimises the mean of |T / measured - 1| by weighted least squares that are
// repeated (weights 1 / residual), never below zero, for k on a grid of 0 and 100 to 6400; deterministic. Where placements hardly vary,
// loads and arrivals rise together and the data cannot tell them apart; then it helps to know what computation costs.
//
// The rounds are what tells who sends to whom: with FastMoE's exchange, slot by slot, two hot experts in the same slot of two devices
// arrive at the same time, in different slots one after the other. Figures on the SmartMoE artifact's measurements are in
// docs/placement.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "sim/placement/layer_time.hpp"

namespace moesim {

struct MeasuredLayer {
  RecordedCounts counts;
  const ExpertPlacement* placement = nullptr;  // without copies
  Seconds time;
};

struct LayerFit {
  LayerTimeModel model;   // rates, rounds and k; row, expert bytes and shadows are the caller's to set
  double mean_error = 0;  // of |T / measured - 1| over the rows
  Seconds per_row;        // of the busiest device
  Seconds per_copy;       // of the busiest port, all exchanges together
};

struct LayerFitOptions {
  std::optional<Seconds> per_row;  // known beforehand, from products of the same sizes; empty: fitted
};

// Errors: fewer than 8 rows, sizes that differ, times that are not positive.
[[nodiscard]] Result<LayerFit> fit_layer_time(std::span<const MeasuredLayer> rows,
                                              std::vector<std::int32_t> node_of_device, const LayerFitOptions& options);

}  // namespace moesim
