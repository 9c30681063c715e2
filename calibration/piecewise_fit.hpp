// Fits pieces of alpha + bytes * per_byte (models/cost/piecewise_time.hpp) to measured times.
//
// Each piece is the least-squares line of its points in relative error, rising, and not below 0 where it begins (its alpha may be:
// when a cache overflows, times rise faster than sizes). Where the pieces
// begin, and how many of at most five there are, is the choice of all with the least  n ln(mean squared error) + 3 per number
// chosen, by dynamic programming; errors below 1 % count as 1 %, so that noise is not followed. A piece has two
// points at least; breakpoints lie midway (in the logarithm) between the points they part.
// Example: times of exactly 5 us + 1 ns/B below 4 KiB and 20 us + 0.1 ns/B above give those two pieces back.
#pragma once

#include <vector>

#include "models/cost/piecewise_time.hpp"

namespace moesim {

// `points` by rising size, not empty, times above 0.
[[nodiscard]] PiecewiseTime fit_pieces(const std::vector<TimePoint>& points);
// All of them as one piece.
[[nodiscard]] TimePiece fit_one_piece(const std::vector<TimePoint>& points);

}  // namespace moesim
