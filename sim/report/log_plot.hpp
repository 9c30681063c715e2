// A plot for terminals, both axes logarithmic: what was measured and the curve through it, in plain characters.
//
//   all_gather, 8 ranks on 4 nodes
//   10.0 ms |                                        o
//           |                                   ..o.
//           |                         ...o....
//   10.0 us | o....o....o....o....o..
//           +------------------------------------------
//             256 B                              4.00 MiB
//
// Later series are drawn over earlier ones. Points that are not above 0 are left out.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sim/report/metric.hpp"

namespace moesim {

struct PlotSeries {
  char mark = 'o';
  std::vector<std::pair<double, double>> points;
};

struct LogPlot {
  std::string title;
  MetricUnit x_unit = MetricUnit::kBytes;  // of the labels at the ends of the axes
  MetricUnit y_unit = MetricUnit::kSeconds;
  std::vector<PlotSeries> series;
  int width = 64;  // of the field, characters
  int height = 12;
};

// No lines when there is nothing to draw.
[[nodiscard]] std::vector<std::string> plot_lines(const LogPlot& plot);

}  // namespace moesim
