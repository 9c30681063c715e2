// Token copies by source device and expert, of one MoE layer in one micro-batch: N[source][expert], what everything in this
// folder is decided and judged on.
//
// Recorded counts are whole numbers; predicted ones (predictor.hpp) are means over micro-batches and iterations.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moesim {

template <class Count>
struct CountsView {
  std::span<const Count> counts;  // [source][expert]
  int devices = 0;                // sources: the devices of the EP group
  int experts = 0;

  [[nodiscard]] std::span<const Count> of(int source) const {
    return counts.subspan(static_cast<std::size_t>(source) * static_cast<std::size_t>(experts),
                          static_cast<std::size_t>(experts));
  }
  [[nodiscard]] Count at(int source, int expert) const {
    return counts[static_cast<std::size_t>(source) * static_cast<std::size_t>(experts) +
                  static_cast<std::size_t>(expert)];
  }
};
using RecordedCounts = CountsView<std::int32_t>;
using PredictedCounts = CountsView<double>;

// Copies by expert, summed over sources: h[e].
template <class Count>
[[nodiscard]] std::vector<double> expert_totals(const CountsView<Count>& counts) {
  std::vector<double> totals(static_cast<std::size_t>(counts.experts), 0.0);
  for (int source = 0; source < counts.devices; ++source) {
    const auto row = counts.of(source);
    for (std::size_t e = 0; e < totals.size(); ++e) totals[e] += static_cast<double>(row[e]);
  }
  return totals;
}

// The least max/mean device load that any permutation of experts can reach: one expert cannot be divided, and the mean cannot be
// undercut. Worked: the hottest of 4 experts has 60 % of all copies, 4 devices: 2.4.
[[nodiscard]] inline double hot_expert_bound(std::span<const double> totals, int devices) {
  double sum = 0;
  double hottest = 0;
  for (const double total : totals) {
    sum += total;
    hottest = hottest < total ? total : hottest;
  }
  if (sum <= 0) return 1;
  const double bound = hottest * devices / sum;
  return bound < 1 ? 1 : bound;
}

}  // namespace moesim
