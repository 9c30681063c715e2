// What a law is off by, interpolated between measured places, in the space of the logarithms of N sizes.
//
// A plane through the logarithms of measured / law, fitted around the asked place to the measured ones near it with weights
// 1 / distance^4 (moving least squares; Lancaster & Salkauskas 1981), distances in octaves. At a measured place it gives back
// what was measured; trends between places are followed, not flattened. Outside of the measured range of any size the place is
// moved to its border and the answer says so. Several measurements of one place count as their geometric mean.
// Worked, N = 1: measured 2x the law at 64 and 4x at 256: 2.83x at 128.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace moesim {

struct SurfaceCorrection {
  double factor = 1;
  bool inside = true;  // of the measured range
};

template <std::size_t N>
class LogSurface {
 public:
  using Sizes = std::array<double, N>;  // above 0
  struct Point {
    Sizes sizes{};
    double ratio = 1;  // measured over law
  };

  LogSurface() = default;
  explicit LogSurface(std::span<const Point> points);
  [[nodiscard]] bool empty() const { return nodes_.empty(); }
  [[nodiscard]] SurfaceCorrection at(const Sizes& sizes) const;

 private:
  using Place = std::array<double, N>;  // octaves
  struct Node {
    Place place{};
    double log_ratio = 0;
  };
  std::vector<Node> nodes_;
  Place lowest_{};
  Place highest_{};
};

extern template class LogSurface<3>;
extern template class LogSurface<5>;

}  // namespace moesim
