// A time as a function of an amount, in straight pieces between points that a law was asked for.
//
// Worked: points (0, 1 us), (10, 3 us): 5 takes 2 us; beyond the last point the last piece goes on: 20 takes 5 us.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/units.hpp"

namespace moesim {

struct TimeCurve {
  std::vector<double> amounts;  // ascending
  std::vector<double> seconds;

  // Two points of alpha + beta * amount.
  [[nodiscard]] static TimeCurve line(Seconds alpha, Seconds per_unit) {
    return {{0, 1}, {alpha.value(), alpha.value() + per_unit.value()}};
  }
  [[nodiscard]] double at(double amount) const {
    std::size_t next = 1;
    if (amounts.size() > 2) {
      const auto above = std::upper_bound(amounts.begin() + 1, amounts.end() - 1, amount);
      next = static_cast<std::size_t>(above - amounts.begin());
    }
    const double share = (amount - amounts[next - 1]) / (amounts[next] - amounts[next - 1]);
    return seconds[next - 1] + share * (seconds[next] - seconds[next - 1]);
  }
};

}  // namespace moesim
