// How much longer GEMMs take than the law says, interpolated between measured shapes.
//
// In the space of log2 m, log2 n, log2 k: a plane through the logarithms of measured / law, fitted around the asked shape to the
// measured ones near it with weights 1 / distance^4 (moving least squares; Lancaster & Salkauskas 1981). At a measured shape
// it gives back what was measured; trends between shapes are followed, not flattened. Outside of the measured range
// the shape is moved to its border and the answer says so. Several measurements of one shape count as their
// geometric mean.
// Worked: measured 2x the law at m = 64 and 4x at m = 256, n and k the same: 2.83x at m = 128.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <vector>

#include "models/cost/measured_laws.hpp"

namespace moesim {

class GemmSurface {
 public:
  GemmSurface() = default;
  // `law` gives the seconds of a shape without this correction. Points of other formats are passed over.
  GemmSurface(std::span<const GemmPoint> points, DType type,
              const std::function<double(double m, double n, double k)>& law);

  [[nodiscard]] bool empty() const { return nodes_.empty(); }
  struct Correction {
    double factor = 1;
    bool inside = true;  // of the measured range
  };
  [[nodiscard]] Correction at(double m, double n, double k) const;

 private:
  using Place = std::array<double, 3>;
  struct Node {
    Place place{};
    double log_ratio = 0;
  };
  std::vector<Node> nodes_;
  Place lowest_{};
  Place highest_{};
};

}  // namespace moesim
