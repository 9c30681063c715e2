// Which two numbers of pieces, one for the forward and one for the backward pass, may be faster than the best that is the same for
// both.
//
// A backward pass in other pieces than the forward pass does what it does in pieces of its own, and cuts again what the forward pass
// has kept. So two numbers are no faster than the forward pass played with the one and the backward pass played with the other, and a
// pair for which that is no better than what is known need not be played.
//
// Example: (forward, backward) 4 and 9 ms in two pieces, 3 and 11 ms in four. Best alike: 13 ms. Four forward and two backward may take
// 12 ms, two and four would take 15.
#pragma once

#include <algorithm>
#include <vector>

#include "base/units.hpp"

namespace moesim {

struct AlikeTimes {
  int degree = 1;
  Seconds forward, backward;
};

struct DegreePair {
  int forward = 1;
  int backward = 1;
  Seconds least;  // that it can take
};

// Those that can take less than `best`, the most promising first.
[[nodiscard]] inline std::vector<DegreePair> promising_pairs(const std::vector<AlikeTimes>& alike, Seconds best) {
  std::vector<DegreePair> pairs;
  for (const AlikeTimes& f : alike)
    for (const AlikeTimes& b : alike)
      if (f.degree != b.degree && f.forward + b.backward < best)
        pairs.push_back({f.degree, b.degree, f.forward + b.backward});
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const DegreePair& x, const DegreePair& y) { return x.least < y.least; });
  return pairs;
}

}  // namespace moesim
