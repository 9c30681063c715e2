// Figures of layers as SVG text: the schedules of one layer as timelines side by side, a grid as speed-ups and winners.
#pragma once

#include <span>
#include <string>

#include "sim/layer/compare_layers.hpp"
#include "sim/layer/grid_summary.hpp"

namespace moesim {

// One block per schedule that can run the layer, one lane per stream that it uses, all on one time axis; boxes are coloured by
// category and carry their operation's name and duration. A line parts forward from backward.
[[nodiscard]] std::string timelines_figure(const std::string& title, std::span<const ScheduleOutcome> outcomes);

// Above: per cell and schedule the speed-ups over the baseline, a line from the least to the most, a box over the middle half, a
// mark at the median. Below: per cell the winner of every layer, a square each, widths from left to right and tokens downwards.
[[nodiscard]] std::string grid_figure(const LayerGrid& grid, const GridTimes& times, const GridSummary& summary,
                                      std::size_t baseline);

}  // namespace moesim
