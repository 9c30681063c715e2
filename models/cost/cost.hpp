// The price of one operation, and what set it.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.hpp"

namespace moesim {

enum class Bound : std::uint8_t { kMath, kMemory, kLatency, kNetwork };

struct Cost {
  Seconds time;
  Bound bound = Bound::kMath;
  bool extrapolated = false;  // outside the range its law was fitted on
};

constexpr int kMaxTiers = 8;

// A communication operation also says how hard it presses on the ports of its ranks while it runs: the share of the
// port's capacity at each tier that its busiest rank uses (0: untouched, 1: saturated). The engine slows operations
// down when the shares of those that run together on a port exceed one.
struct CommCost {
  Seconds time;
  Bound bound = Bound::kNetwork;
  bool extrapolated = false;
  std::array<float, kMaxTiers> port_share{};
  std::array<double, kMaxTiers> busiest_rank_bytes{};  // bytes the busiest rank sends at each meeting tier
};

}  // namespace moesim
