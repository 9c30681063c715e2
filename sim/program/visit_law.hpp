// How many tokens of a source visit a part of the experts: chose at least one of it, and so travel there once, however many of its
// experts they chose. A recording of counts says how often each expert was chosen, not together with which others, so this is
// an expectation under the choice with the most entropy among those with these counts.
//
// With p_e = count_e / tokens and weights w_e = p_e / (1 - p_e), a set of k experts is chosen with a probability in proportion to
// the product of its weights (conditional Poisson sampling; Hajek 1964, Chen, Dempster and Liu 1994). Then
//   P(a token misses R) = Z(without R) / Z,   Z = [x^k] product over e of (1 + w_e x).
// With equal counts that is C(E - |R|, k) / C(E, k): of 8 experts, k 2, a part of 4 is missed by 6 of 28 tokens.
//
// Where a gate takes t of n groups of experts first (DeepSeek-V2, arXiv 2405.04434, 2.2.2) a set that touches j groups can come of
// C(n - j, t - j) choices of groups:
//   Z = sum over j of C(n - j, t - j) [x^k y^j] product over groups g of (1 + y (product over e of g of (1 + w_e x) - 1)),
// which with equal weights is exact for groups drawn first and experts of theirs then. 4 experts in 2 groups, t 1, k 2: a token
// takes one group's two experts, so that a part of one expert of each group is visited by all, and a group by half.
//
// With k = 1 nothing is estimated: the visits are the counts.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "sim/program/gate_groups.hpp"

namespace moesim {

class VisitLaw {
 public:
  // `expert_of_slot`: which expert stands in each slot; empty: in order.
  VisitLaw(std::int64_t experts, std::int64_t top_k, const GateGroups& groups,
           std::span<const std::int32_t> expert_of_slot);

  // Of `tokens` tokens whose choices are `counts` by slot, those that visit each of `parts` runs of as many slots. Whole numbers:
  // at least the largest count of the part, at most the sum of them and all tokens.
  void visits(std::span<const std::int32_t> counts, std::int64_t tokens, int parts, std::vector<std::int32_t>& result);

 private:
  using Series = std::vector<double>;  // coefficients of x^0 to x^k
  // How so many parts lie in the groups: which each part touches, and which sets of groups there are.
  struct Cut {
    std::vector<std::vector<std::int32_t>> sets;  // ascending
    std::vector<std::size_t> set_of_part;
  };
  void set_weights(std::span<const std::int32_t> counts, std::int64_t tokens);
  void misses_without_groups(int parts);
  void misses_with_groups(int parts);
  [[nodiscard]] const Cut& cut_of(int parts);
  // The product over a group's slots outside [first, last), less 1.
  void group_series(std::int32_t group, std::size_t first, std::size_t last, Series& result) const;
  // Times 1 + y * factor, in coefficients of y^j x^i at [j * (k + 1) + i].
  void multiply_group(Series& product, const Series& factor) const;
  // Sum over j of C(n - j, t - j) [x^k y^j] of series * (1 + y * factor).
  [[nodiscard]] double finish(const Series& series, const Series& factor) const;

  std::int64_t top_k_;
  GateGroups groups_;
  std::vector<std::int32_t> group_of_slot_;                // where groups limit
  std::vector<std::vector<std::int32_t>> slots_of_group_;  // ascending
  std::vector<double> ways_;                               // C(n - j, t - j) by j
  std::map<int, Cut> cuts_;                                // by number of parts
  std::vector<double> weights_;                            // by slot
  std::vector<double> misses_;                             // P(miss) by part; negative: not known
  Series of_parts_, behind_, before_;                      // [part][k + 1], and of all parts before one
  std::vector<Series> whole_, untouched_;                  // by group, by set of groups
};

}  // namespace moesim
