#include "models/cost/gemm_surface.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace moesim {
namespace {

constexpr std::size_t kTerms = 4;       // a constant and three slopes
constexpr double kFarOctaves = 3;       // a shape so far from every measured one is outside, whatever the range
constexpr double kSlopeDamping = 1e-3;  // keeps the plane flat where the measured shapes do not tell its slope

using Matrix = std::array<std::array<double, kTerms + 1>, kTerms>;  // with the right-hand side

// The first unknown of a symmetric positive definite system, by elimination from the last one upwards.
double first_unknown(Matrix a) {
  for (std::size_t pivot = kTerms - 1; pivot > 0; --pivot)
    for (std::size_t row = 0; row < pivot; ++row) {
      const double factor = a[row][pivot] / a[pivot][pivot];
      for (std::size_t column = 0; column <= kTerms; ++column) a[row][column] -= factor * a[pivot][column];
    }
  return a[0][kTerms] / a[0][0];
}

}  // namespace

GemmSurface::GemmSurface(std::span<const GemmPoint> points, DType type,
                         const std::function<double(double m, double n, double k)>& law) {
  std::map<Place, std::pair<double, int>> sums;
  for (const GemmPoint& point : points) {
    if (point.type != type) continue;
    auto& [sum, count] = sums[{std::log2(point.m), std::log2(point.n), std::log2(point.k)}];
    sum += std::log(point.seconds / law(point.m, point.n, point.k));
    ++count;
  }
  for (const auto& [place, sum] : sums) nodes_.push_back({place, sum.first / sum.second});
  if (nodes_.empty()) return;
  lowest_ = highest_ = nodes_.front().place;
  for (const Node& node : nodes_)
    for (std::size_t i = 0; i < node.place.size(); ++i) {
      lowest_[i] = std::min(lowest_[i], node.place[i]);
      highest_[i] = std::max(highest_[i], node.place[i]);
    }
}

GemmSurface::Correction GemmSurface::at(double m, double n, double k) const {
  Place place{std::log2(m), std::log2(n), std::log2(k)};
  Correction correction;
  for (std::size_t i = 0; i < place.size(); ++i) {
    const double moved = std::clamp(place[i], lowest_[i], highest_[i]);
    if (std::abs(moved - place[i]) > 1e-9) correction.inside = false;
    place[i] = moved;
  }
  Matrix system{};
  double nearest = kFarOctaves * kFarOctaves;
  for (const Node& node : nodes_) {
    std::array<double, kTerms> terms{1, 0, 0, 0};
    double squared = 0;
    for (std::size_t i = 0; i < place.size(); ++i) {
      terms[i + 1] = node.place[i] - place[i];
      squared += terms[i + 1] * terms[i + 1];
    }
    nearest = std::min(nearest, squared);
    const double weight = 1 / ((squared + 1e-4) * (squared + 1e-4));
    for (std::size_t row = 0; row < kTerms; ++row) {
      for (std::size_t column = 0; column < kTerms; ++column)
        system[row][column] += weight * terms[row] * terms[column];
      system[row][kTerms] += weight * terms[row] * node.log_ratio;
    }
  }
  for (std::size_t i = 1; i < kTerms; ++i) system[i][i] += kSlopeDamping;
  if (nearest >= kFarOctaves * kFarOctaves) correction.inside = false;
  correction.factor = std::exp(first_unknown(system));
  return correction;
}

}  // namespace moesim
