// Order statistics of a handful of numbers.
#pragma once

#include <vector>

namespace moesim {

// The q-quantile by linear interpolation; 0 for an empty list. Of (1, 2, 4): the median 2, the third quartile 3.
[[nodiscard]] double quantile(std::vector<double> values, double q);

}  // namespace moesim
