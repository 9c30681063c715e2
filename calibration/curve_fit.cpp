#include "calibration/curve_fit.hpp"

#include <algorithm>
#include <cmath>

#include "calibration/piecewise_fit.hpp"
#include "calibration/quantile.hpp"
#include "calibration/rounded.hpp"

namespace moesim {
namespace {

constexpr std::size_t kFewestSizes = 4;
constexpr int kCurveDigits = 6;  // more than any clock gave

std::vector<TimePoint> points_of(const std::map<std::int64_t, std::vector<double>>& samples) {
  std::vector<TimePoint> points;
  for (const auto& [bytes, seconds] : samples)
    points.push_back({static_cast<double>(bytes), rounded(quantile(seconds, 0.5), kCurveDigits)});
  return points;
}

PiecewiseTime curve_of(const std::vector<TimePoint>& points) {
  PiecewiseTime time = fit_pieces(points);
  for (TimePiece& piece : time.pieces) {
    piece = {std::round(piece.from_bytes), rounded(piece.alpha_s, kCurveDigits),
             rounded(piece.s_per_byte, kCurveDigits)};
    piece.alpha_s =
        std::max(piece.alpha_s, -piece.from_bytes * piece.s_per_byte);  // 0 at its begin, in spite of rounding
  }
  return time;
}

}  // namespace

void CurvePoints::add(const Observation& observation, const std::optional<GroupShape>& shape) {
  if (const auto* gemm = std::get_if<GemmWork>(&observation.work)) {
    if (gemm->m > 0 && gemm->n > 0 && gemm->k > 0 && gemm->batch == 1)
      gemm_[{gemm->type, gemm->m, gemm->n, gemm->k}].push_back(observation.seconds);
  } else if (const auto* attention = std::get_if<AttentionWork>(&observation.work)) {
    if (attention->causal && attention->window == 0 && !attention->linear)
      attention_.push_back({*attention, rounded(observation.seconds, kCurveDigits)});
  } else if (const auto* memory = std::get_if<MemoryWork>(&observation.work)) {
    const std::int64_t bytes = (memory->read + memory->written).count() / memory->kernels;
    memory_[{memory->kernel, memory->type}][bytes].push_back(observation.seconds / memory->kernels);
  } else if (const auto* work = std::get_if<CollectiveWork>(&observation.work); work != nullptr && shape) {
    const GroupKey key{work->kind,          shape->ranks,    shape->nodes,  shape->ranks_per_node,
                       shape->port_sharers, work->algorithm, work->exchange};
    collectives_[key][work->size.count()].push_back(observation.seconds);
  }
}

MeasuredLaws CurvePoints::fit() const {
  MeasuredLaws measured;
  for (const auto& [key, seconds] : gemm_) {
    const auto& [type, m, n, k] = key;
    measured.gemm.push_back({type, static_cast<double>(m), static_cast<double>(n), static_cast<double>(k),
                             rounded(quantile(seconds, 0.5), kCurveDigits)});
  }
  measured.attention = attention_;
  for (const auto& [key, samples] : memory_) {
    if (samples.size() < kFewestSizes) continue;
    const std::vector<TimePoint> points = points_of(samples);
    measured.memory.push_back({key.first, key.second, curve_of(points), points});
  }
  for (const auto& [key, samples] : collectives_) {
    if (samples.size() < kFewestSizes) continue;
    const auto& [kind, ranks, nodes, per_node, sharers, algorithm, exchange] = key;
    const std::vector<TimePoint> points = points_of(samples);
    measured.collectives.push_back(
        {kind, algorithm, {ranks, nodes, per_node, sharers}, curve_of(points), points, exchange});
  }
  return measured;
}

}  // namespace moesim
