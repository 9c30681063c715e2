// How little a dispatcher that sends a token once to each node can send, whatever permutation the experts stand in: counted from the
// token rows, without looking at any placement.
//
// Who stays at home: a token stays on a side with room for n experts only if all of its experts are among those n. The n experts that
// stand there are named at most as often as the n that are named most, and a token that stays takes as many of these as it has experts.
//
// Who visits how much: a token of x experts that visits v parts has at least q(v) = r C(a + 1, 2) + (v - r) C(a, 2) pairs of them
// in one part, a = floor(x / v), r = x mod v (an even division has the fewest). An expert shares its part with at most n - 1 others, so
// no more pairs stand together, over all tokens, than half the sum over experts of the n - 1 others that are named with it most often.
// q is convex in v, because an even division of 2 x into 2 v parts is two of x into v; so the fewest visits for so many pairs are found by
// spending them where a visit less costs fewest.
// Worked, 4 experts, 10 tokens {0, 1}, 10 {2, 3} and 2 {0, 2}, parts of 2: experts 0 and 1 share 10 tokens, 2 and 3 ten, 0 and 2 two:
// at most (10 + 10 + 10 + 10) / 2 = 20 pairs stand together, each spares a token of two experts its second visit: 44 - 20 = 24 visits.
// Of all 22 tokens on one side with room for 2: experts 0 and 2 are named 12 times each, 24 / 2 = 12 tokens may stay, 10 leave.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "traces/token_sample.hpp"

namespace moesim {

// Tokens of some sources, an expert that one names twice counted once, a dropped choice not at all.
class NamedExperts {
 public:
  // `counts_source[s]`: whether tokens of source s are looked at.
  NamedExperts(const TokenSet& tokens, int experts, const std::vector<bool>& counts_source);
  [[nodiscard]] double tokens() const { return tokens_; }  // that name any
  // Copies for the experts that are named most; `experts` of any number.
  [[nodiscard]] double most_named(std::size_t experts) const;
  // Tokens that any `experts` leave with an expert elsewhere, at least.
  [[nodiscard]] double least_leaving(std::size_t experts) const;
  // Tokens that have an expert among any `experts`, at most.
  [[nodiscard]] double most_touching(std::size_t experts) const;

 private:
  double tokens_ = 0;
  std::vector<double> of_size_;  // [number of experts that a token names]
  std::vector<double> named_;    // [n - 1]: tokens by the n experts that are named most, added up
};

// Visits of all tokens together to parts with room for `part` experts, at least.
[[nodiscard]] double least_visits(const TokenSet& tokens, int experts, std::size_t part);

}  // namespace moesim
