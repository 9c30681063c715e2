#include "models/cost/gemm_surface.hpp"

#include <vector>

namespace moesim {

GemmSurface::GemmSurface(std::span<const GemmPoint> points, DType type,
                         const std::function<double(double m, double n, double k)>& law) {
  std::vector<LogSurface<3>::Point> places;
  for (const GemmPoint& point : points)
    if (point.type == type)
      places.push_back({{point.m, point.n, point.k}, point.seconds / law(point.m, point.n, point.k)});
  surface_ = LogSurface<3>(places);
}

}  // namespace moesim
