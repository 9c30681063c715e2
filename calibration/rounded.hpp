// Numbers as files keep them: as many digits as a measurement is worth.
#pragma once

#include <cmath>

namespace moesim {

// To so many significant digits. Of 0.0123456 with 3: 0.0123.
[[nodiscard]] inline double rounded(double value, int digits) {
  if (value == 0) return 0;
  const double scale = std::pow(10.0, digits - std::ceil(std::log10(std::abs(value))));
  return std::round(value * scale) / scale;
}

}  // namespace moesim
