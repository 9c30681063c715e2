// How much longer GEMMs take than the law says, interpolated between measured shapes over m, n and k (log_surface.hpp).
// Worked: measured 2x the law at m = 64 and 4x at m = 256, n and k the same: 2.83x at m = 128.
#pragma once

#include <functional>
#include <span>

#include "models/cost/log_surface.hpp"
#include "models/cost/measured_laws.hpp"

namespace moesim {

class GemmSurface {
 public:
  GemmSurface() = default;
  // `law` gives the seconds of a shape without this correction. Points of other formats are passed over.
  GemmSurface(std::span<const GemmPoint> points, DType type,
              const std::function<double(double m, double n, double k)>& law);

  [[nodiscard]] bool empty() const { return surface_.empty(); }
  [[nodiscard]] SurfaceCorrection at(double m, double n, double k) const { return surface_.at({m, n, k}); }

 private:
  LogSurface<3> surface_;
};

}  // namespace moesim
