// How much longer attention takes than the law says, interpolated between measured shapes (log_surface.hpp) over the number of
// sequences, the queries of one, keys per query, heads, and head size (scores and values together).
//
// One surface for each direction. Only causal attention over whole sequences is measured; with a window, without a mask or with
// linear attention the law stands alone, and the answer says that it lies outside. Heads of keys are not a size of their own.
#pragma once

#include <array>
#include <functional>
#include <span>

#include "models/cost/log_surface.hpp"
#include "models/cost/measured_laws.hpp"

namespace moesim {

class AttentionSurface {
 public:
  AttentionSurface() = default;
  // `law` gives the seconds of a shape without this correction. Points of other formats are passed over.
  AttentionSurface(std::span<const AttentionPoint> points, DType type,
                   const std::function<double(const AttentionWork& work)>& law);

  // Whether the direction of this work was measured.
  [[nodiscard]] bool covers(const AttentionWork& work) const { return !surface_[work.backward ? 1 : 0].empty(); }
  [[nodiscard]] SurfaceCorrection at(const AttentionWork& work) const;

 private:
  std::array<LogSurface<5>, 2> surface_;  // forward, backward
};

}  // namespace moesim
