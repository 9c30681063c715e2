// Groups of a gate, runs of as many consecutive experts each, of which a token may use a few (DeepSeek-V2, arXiv 2405.04434, 2.2.2).
// DeepSeek-V3: 4 of 8.
#pragma once

#include <compare>
#include <cstdint>

namespace moesim {

struct GateGroups {
  std::int64_t groups = 0;      // 0 or 1: the gate has none
  std::int64_t top_groups = 0;  // that a token may use
  auto operator<=>(const GateGroups&) const = default;
  [[nodiscard]] bool limit() const { return groups > 1 && top_groups > 0 && top_groups < groups; }
};

}  // namespace moesim
