#include "models/cost/log_surface.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace moesim {
namespace {

constexpr double kFarOctaves = 3;       // a place so far from every measured one is outside, whatever the range
constexpr double kSlopeDamping = 1e-3;  // keeps the plane flat where the measured places do not tell its slope

template <std::size_t N>
std::array<double, N> octaves(const std::array<double, N>& sizes) {
  std::array<double, N> place{};
  for (std::size_t i = 0; i < N; ++i) place[i] = std::log2(sizes[i]);
  return place;
}

// A constant and N slopes, with the right-hand side.
template <std::size_t N>
using System = std::array<std::array<double, N + 2>, N + 1>;

// The first unknown of a symmetric positive definite system, by elimination from the last one upwards.
template <std::size_t N>
double first_unknown(System<N> a) {
  for (std::size_t pivot = N; pivot > 0; --pivot)
    for (std::size_t row = 0; row < pivot; ++row) {
      const double factor = a[row][pivot] / a[pivot][pivot];
      for (std::size_t column = 0; column < N + 2; ++column) a[row][column] -= factor * a[pivot][column];
    }
  return a[0][N + 1] / a[0][0];
}

}  // namespace

template <std::size_t N>
LogSurface<N>::LogSurface(std::span<const Point> points) {
  std::map<Place, std::pair<double, int>> sums;
  for (const Point& point : points) {
    auto& [sum, count] = sums[octaves<N>(point.sizes)];
    sum += std::log(point.ratio);
    ++count;
  }
  for (const auto& [place, sum] : sums) nodes_.push_back({place, sum.first / sum.second});
  if (nodes_.empty()) return;
  lowest_ = highest_ = nodes_.front().place;
  for (const Node& node : nodes_)
    for (std::size_t i = 0; i < N; ++i) {
      lowest_[i] = std::min(lowest_[i], node.place[i]);
      highest_[i] = std::max(highest_[i], node.place[i]);
    }
}

template <std::size_t N>
SurfaceCorrection LogSurface<N>::at(const Sizes& sizes) const {
  Place place = octaves<N>(sizes);
  SurfaceCorrection correction;
  for (std::size_t i = 0; i < N; ++i) {
    const double moved = std::clamp(place[i], lowest_[i], highest_[i]);
    if (std::abs(moved - place[i]) > 1e-9) correction.inside = false;
    place[i] = moved;
  }
  System<N> system{};
  double nearest = kFarOctaves * kFarOctaves;
  for (const Node& node : nodes_) {
    std::array<double, N + 1> terms{1};
    double squared = 0;
    for (std::size_t i = 0; i < N; ++i) {
      terms[i + 1] = node.place[i] - place[i];
      squared += terms[i + 1] * terms[i + 1];
    }
    nearest = std::min(nearest, squared);
    const double weight = 1 / ((squared + 1e-4) * (squared + 1e-4));
    for (std::size_t row = 0; row <= N; ++row) {
      for (std::size_t column = 0; column <= N; ++column) system[row][column] += weight * terms[row] * terms[column];
      system[row][N + 1] += weight * terms[row] * node.log_ratio;
    }
  }
  for (std::size_t i = 1; i <= N; ++i) system[i][i] += kSlopeDamping;
  if (nearest >= kFarOctaves * kFarOctaves) correction.inside = false;
  correction.factor = std::exp(first_unknown<N>(system));
  return correction;
}

template class LogSurface<3>;
template class LogSurface<5>;

}  // namespace moesim
