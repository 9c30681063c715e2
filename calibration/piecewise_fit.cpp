#include "calibration/piecewise_fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "base/error.hpp"

namespace moesim {
namespace {

constexpr std::size_t kMostPieces = 5;
constexpr double kNoise = 0.01;
constexpr double kPricePerPiece = 3 * 3;  // alpha, per_byte and where it begins

struct Line {
  double alpha = 0;
  double per_byte = 0;
  double squares = 0;  // of the relative errors
};

double squares_of(std::span<const TimePoint> points, double alpha, double per_byte) {
  double sum = 0;
  for (const TimePoint& point : points) {
    const double error = (alpha + point.bytes * per_byte) / point.seconds - 1;
    sum += error * error;
  }
  return sum;
}

// Where the piece that starts with point `first` begins.
double begin_of(const std::vector<TimePoint>& points, std::size_t first) {
  return first == 0 ? 0 : std::sqrt(points[first - 1].bytes * points[first].bytes);
}

// Least squares of alpha / t + per_byte * bytes / t = 1, with per_byte and the time at `from` not below 0.
Line fit_line(std::span<const TimePoint> points, double from) {
  double aa = 0, ab = 0, bb = 0, a1 = 0, b1 = 0;  // b: bytes beyond `from`
  for (const TimePoint& point : points) {
    const double a = 1 / point.seconds;
    const double b = (point.bytes - from) / point.seconds;
    aa += a * a, ab += a * b, bb += b * b, a1 += a, b1 += b;
  }
  std::vector<Line> candidates = {{a1 / aa, 0, 0}};
  if (bb > 0) candidates.push_back({0, b1 / bb, 0});
  const double determinant = aa * bb - ab * ab;
  if (points.size() > 1 && determinant > 1e-12 * aa * bb) {
    const Line both{(a1 * bb - b1 * ab) / determinant, (b1 * aa - a1 * ab) / determinant, 0};
    if (both.alpha >= 0 && both.per_byte >= 0) candidates.push_back(both);
  }
  for (Line& line : candidates) {
    line.alpha -= from * line.per_byte;  // back to a line over all bytes
    line.squares = squares_of(points, line.alpha, line.per_byte);
  }
  return *std::min_element(candidates.begin(), candidates.end(),
                           [](const Line& a, const Line& b) { return a.squares < b.squares; });
}

// lines[first][last]: of the points from first to last, both included.
using Lines = std::vector<std::vector<Line>>;

// Where the pieces of the best cut into `pieces` begin.
std::vector<std::size_t> best_cut(const Lines& lines, std::size_t points, std::size_t pieces, double& squares) {
  constexpr double kImpossible = std::numeric_limits<double>::infinity();
  // best[p][end]: the least squares of the first `end` points in p pieces; from[p][end]: where the last of them begins.
  std::vector<std::vector<double>> best(pieces + 1, std::vector<double>(points + 1, kImpossible));
  std::vector<std::vector<std::size_t>> from(pieces + 1, std::vector<std::size_t>(points + 1, 0));
  best[0][0] = 0;
  const std::size_t fewest = std::min<std::size_t>(2, points);
  for (std::size_t p = 1; p <= pieces; ++p)
    for (std::size_t end = fewest; end <= points; ++end)
      for (std::size_t begin = 0; begin + fewest <= end; ++begin) {
        const double sum = best[p - 1][begin] + lines[begin][end - 1].squares;
        if (sum < best[p][end]) best[p][end] = sum, from[p][end] = begin;
      }
  squares = best[pieces][points];
  std::vector<std::size_t> begins;
  if (std::isinf(squares)) return begins;
  for (std::size_t p = pieces, end = points; p > 0; end = from[p][end], --p) begins.push_back(from[p][end]);
  std::reverse(begins.begin(), begins.end());
  return begins;
}

}  // namespace

TimePiece fit_one_piece(const std::vector<TimePoint>& points) {
  MOESIM_ASSERT(!points.empty());
  const Line line = fit_line(points, 0);
  return {0, line.alpha, line.per_byte};
}

PiecewiseTime fit_pieces(const std::vector<TimePoint>& points) {
  MOESIM_ASSERT(!points.empty());
  const std::size_t n = points.size();
  const std::span<const TimePoint> all(points);
  Lines lines(n, std::vector<Line>(n));
  for (std::size_t first = 0; first < n; ++first)
    for (std::size_t last = first; last < n; ++last)
      lines[first][last] = fit_line(all.subspan(first, last - first + 1), begin_of(points, first));

  std::vector<std::size_t> begins = {0};
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t pieces = 1; pieces <= std::min(kMostPieces, std::max<std::size_t>(1, n / 2)); ++pieces) {
    double squares = 0;
    std::vector<std::size_t> cut = best_cut(lines, n, pieces, squares);
    const auto count = static_cast<double>(n);
    const double price =
        count * std::log(squares / count + kNoise * kNoise) + kPricePerPiece * static_cast<double>(pieces);
    if (!cut.empty() && price < least) least = price, begins = std::move(cut);
  }

  PiecewiseTime time{.pieces = {}, .smallest_bytes = points.front().bytes, .largest_bytes = points.back().bytes};
  for (std::size_t i = 0; i < begins.size(); ++i) {
    const std::size_t last = (i + 1 < begins.size() ? begins[i + 1] : n) - 1;
    const Line& line = lines[begins[i]][last];
    time.pieces.push_back({begin_of(points, begins[i]), line.alpha, line.per_byte});
  }
  return time;
}

}  // namespace moesim
