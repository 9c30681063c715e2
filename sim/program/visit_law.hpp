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
//
// Parts are many and their answers alike, so Z without a part is not multiplied out for each: what stands before the part is the
// product `before`, and of what stands behind it is kept what each power of x (and y) is worth, the Z that it would become. With k 2
// and weights a, b, c behind each other Z = ab + ac + bc; behind a, 1 is worth bc, x is worth b + c and x^2 is worth 1, so that Z
// without a is bc, and behind b and with `before` 1 + a x, where 1 is worth 0 and x is worth c, it is ac. With k 8,
// 256 parts of one expert take 25 multiplications each, and the product of all others would take 2000.
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

  // What visits() tells of: the choices of `tokens` tokens by slot, which stay where they are as long.
  void choose(std::span<const std::int32_t> counts, std::int64_t tokens);
  // Tokens that visit each of `parts` runs of as many slots. Whole numbers: at least the largest count of the part, at most the sum
  // of them and all tokens.
  void visits(int parts, std::vector<std::int32_t>& result);

 private:
  using Series = std::vector<double>;  // coefficients of x^0 to x^k
  // How so many parts lie in the groups.
  struct Cut {
    struct Inside {                       // of a group
      std::vector<std::size_t> parts;     // that have slots of no other, ascending
      std::vector<std::int32_t> further;  // its slots in other parts
    };
    std::vector<Inside> inside;  // by group
    // Parts with slots of several groups, and which: few where experts stand in order.
    std::vector<std::size_t> across;
    std::vector<std::size_t> set_of_across;       // into `sets`
    std::vector<std::vector<std::int32_t>> sets;  // ascending
  };
  [[nodiscard]] std::size_t width() const { return static_cast<std::size_t>(top_k_) + 1; }
  [[nodiscard]] const Cut& cut_of(int parts);
  void value_groups();
  void miss_parts_inside(const Cut::Inside& inside, const double* worth, std::size_t slots_of_part);
  void miss_parts_across(const Cut& cut, std::size_t slots_of_part);
  // The product over a group's slots outside [first, last), less 1.
  void group_series(std::int32_t group, std::size_t first, std::size_t last, Series& result) const;
  // Times 1 + y * factor, in coefficients of y^j x^i at [j * (k + 1) + i].
  void multiply_group(double* series, const Series& factor) const;

  std::int64_t top_k_;
  GateGroups groups_;
  std::vector<std::int32_t> group_of_slot_;                // without groups all are of one
  std::vector<std::vector<std::int32_t>> slots_of_group_;  // ascending
  std::vector<double> ways_;                               // C(n - j, t - j) by j; empty: without groups
  std::map<int, Cut> cuts_;                                // by number of parts

  std::span<const std::int32_t> counts_;
  std::int64_t tokens_ = 0;
  std::vector<double> weights_;    // by slot
  std::vector<Series> whole_;      // by group, less 1
  std::vector<double> worth_;      // [group][k + 1], of the powers of x in a group's product
  double all_ = 0;                 // Z
  std::vector<double> misses_;     // P(miss) by part; negative: not known
  Series before_, behind_;         // room for a product, and by place
  std::vector<Series> untouched_;  // by set of groups, the product of all others
};

}  // namespace moesim
