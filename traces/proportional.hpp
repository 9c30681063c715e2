// Sharing a whole number out in proportion to weights, exactly and the same way everywhere.
//
// Largest remainder (Hamilton): every entry gets the whole part of its quota target * w[e] / sum(w); what is left goes
// one each to the largest fractions, the lower index first among equals. No entry exceeds `cap`; what a capped entry
// cannot take is shared among the others in the same way.
// Worked: target 8, weights {5, 3, 2}, cap 8: quotas 4, 2.4, 1.6 -> {4, 2, 2}.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moesim {

class ProportionalRounder {
 public:
  // Writes out[e] with sum exactly `target`. Needs 0 <= target <= cap * out.size(), target < 2^31, and a positive sum of
  // weights. `carry` (empty, or one entry per expert, zero at first) takes what rounding gave too little or too much
  // over to the next call with the same weights and target, so that totals over many rows keep the proportions.
  // Returns true when too few entries have weight to take the target under the cap, so that others were given some.
  bool round(std::span<const std::uint64_t> weights, std::int64_t target, std::int64_t cap,
             std::span<std::int64_t> carry, std::span<std::int32_t> out);

 private:
  void share(std::int64_t target, std::span<std::int64_t> carry, std::span<std::int32_t> out);

  std::vector<std::uint64_t> weights_;  // scaled to a sum below 2^31
  std::vector<std::int64_t> remainders_;
  std::vector<std::int32_t> order_;
};

}  // namespace moesim
