// Two ways to take the worst of many: the largest, and a norm that a search can follow, since it also falls when one of several equals is
// relieved. Example, 3 and 3: 3, and 3.27.
#pragma once

#include <algorithm>
#include <cmath>

namespace moesim {

struct LargestOf {
  double value = 0;
  void add(double x) { value = std::max(value, x); }
  [[nodiscard]] double result() const { return value; }
};

struct NormOfOrder8 {
  double sum = 0;
  void add(double x) {
    const double square = x * x;
    const double fourth = square * square;
    sum += fourth * fourth;
  }
  [[nodiscard]] double result() const { return std::sqrt(std::sqrt(std::sqrt(sum))); }
};

}  // namespace moesim
