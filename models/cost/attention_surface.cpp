#include "models/cost/attention_surface.hpp"

#include <vector>

namespace moesim {
namespace {

LogSurface<5>::Sizes sizes_of(const AttentionWork& work) {
  const auto queries = static_cast<double>(work.query_length);
  return {static_cast<double>(work.sequences), queries, static_cast<double>(work.key_length) / queries,
          static_cast<double>(work.heads), static_cast<double>(work.qk_dim + work.v_dim)};
}

bool is_plain(const AttentionWork& work) {
  const bool positive = work.sequences > 0 && work.query_length > 0 && work.key_length > 0 && work.heads > 0 &&
                        work.qk_dim > 0 && work.v_dim > 0;
  return positive && work.causal && !work.linear && work.window == 0;
}

}  // namespace

AttentionSurface::AttentionSurface(std::span<const AttentionPoint> points, DType type,
                                   const std::function<double(const AttentionWork& work)>& law) {
  std::array<std::vector<LogSurface<5>::Point>, 2> places;
  for (const AttentionPoint& point : points)
    if (point.work.type == type && is_plain(point.work))
      places[point.work.backward ? 1 : 0].push_back({sizes_of(point.work), point.seconds / law(point.work)});
  for (std::size_t i = 0; i < places.size(); ++i) surface_[i] = LogSurface<5>(places[i]);
}

SurfaceCorrection AttentionSurface::at(const AttentionWork& work) const {
  if (!is_plain(work)) return {.factor = 1, .inside = false};
  return surface_[work.backward ? 1 : 0].at(sizes_of(work));
}

}  // namespace moesim
